# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container's own part of the v2 tree given to whom it runs as, to divide further (runtime-spec, config-linux.md,
"Cgroup ownership"; cgroups(7), "Cgroups delegation").

Only the directory and what the kernel names are given: the limits in the other files stay out of reach. On v1 nothing
is ever given, because that is not safe there.
"""

from __future__ import annotations

import os

from ...errors import KernelError
from ...linux.cgroupfs import read_value
from ...linux.lean import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_DELEGATE = "/sys/kernel/cgroup/delegate"
# Before Linux 4.15.
_FILES = "cgroup.procs cgroup.subtree_control cgroup.threads"


def find_owner(spec: Mapping[str, Any]) -> int | None:
    """The user of the host who is to have the container's cgroup; None where it is nobody's but root's.

    It takes a new cgroup namespace, and a cgroup mount on /sys/fs/cgroup that is not read-only.
    """
    linux = spec.get("linux") or {}
    spaces = {entry["type"]: entry.get("path") for entry in linux.get("namespaces") or ()}
    mounts = [entry for entry in spec.get("mounts") or () if entry["destination"] == "/sys/fs/cgroup"]
    writable = [
        entry for entry in mounts if entry.get("source") == "cgroup" and "ro" not in (entry.get("options") or ())
    ]
    if not writable or spaces.get("cgroup", "none"):
        return None
    uid = int(((spec.get("process") or {}).get("user") or {}).get("uid", 0))
    if "user" not in spaces:
        return uid
    for entry in linux.get("uidMappings") or ():
        if entry["containerID"] <= uid < entry["containerID"] + entry["size"]:
            return int(entry["hostID"]) + uid - int(entry["containerID"])
    return None


def give_cgroup(directory: str, uid: int) -> None:
    """Make ``uid`` the owner of a cgroup, as far as a cgroup can be given away. Raises KernelError."""
    try:
        os.chown(directory, uid, -1)
        for name in (read_value(_DELEGATE) or _FILES).split():
            with suppress(FileNotFoundError):  # of a controller that the cgroup does not have
                os.chown(f"{directory}/{name}", uid, -1)
    except OSError as error:
        raise KernelError("giving a container its cgroup", error) from error
