# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is mounted in any mount namespace that has a process which this one may see (proc_pid_mountinfo(5))."""

from __future__ import annotations

import os
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class Mounted(NamedTuple):
    """``device`` (major:minor) is one file system's own, in every namespace; ``root`` is what of it is mounted.

    ``root`` and ``options``, those of the file system, are as the kernel shows them: escaped, and as they were given.
    """

    device: str
    root: str
    fstype: str
    options: str


def observe_all_mounts() -> Iterator[Mounted]:
    """Every mount, once for each namespace. A namespace without a process (a descriptor has it) is not seen."""
    seen = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            namespace = os.readlink(f"/proc/{pid}/ns/mnt")
            if namespace in seen:
                continue
            with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
                lines = file.readlines()
        except OSError:  # it has ended meanwhile (ENOENT, ESRCH, EINVAL), or is none of ours (EACCES)
            continue
        seen.add(namespace)
        for line in lines:
            fields = line.rstrip("\n").split(" ")
            end = fields.index("-")
            yield Mounted(fields[2], fields[3], fields[end + 1], fields[-1])
