# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a process of ours joins a container's cgroup, on each kind of host."""

from __future__ import annotations

import os

from ..cgroup.manager import open_cgroups
from .create import Membership

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..cgroup.interface import Cgroups


def membership_of(cgroups: Cgroups, cgroups_path: str) -> Membership:
    """Of a cgroup that is there."""
    fd = cgroups.payload_fd(cgroups_path)
    if fd < 0:
        return Membership(cgroups.task_files(cgroups_path))
    try:
        return Membership(directory=os.readlink(f"/proc/self/fd/{fd}"))
    finally:
        os.close(fd)


def find_membership(cgroups_path: str, instance: str) -> Membership:
    """The same for whoever has no Cgroups at hand; nothing to join where a container has no cgroup of its own."""
    return membership_of(open_cgroups(instance), cgroups_path) if cgroups_path else Membership()
