# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a process of ours joins a container's cgroup, on each kind of host."""

from __future__ import annotations

from ..cgroup.manager import open_cgroups
from ..linux.cgroupfs import observe_hierarchies, read_value
from .create import Membership

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..cgroup.interface import Cgroups

# cgroup-v2.rst, "Threads": these can be handed on where processes are too.
_THREADED = frozenset(("cpu", "cpuset", "perf_event", "pids"))


def membership_of(cgroups: Cgroups, cgroups_path: str) -> Membership:
    """Of a cgroup that is there."""
    membership = Membership(cgroups.task_files(cgroups_path), cgroups.payload_directory(cgroups_path))
    if cgroups.attaches:
        membership.attach = lambda pid: cgroups.attach(cgroups_path, pid)
    return membership


def find_membership(cgroups_path: str, instance: str, pid: int = 0) -> Membership:
    """The same for one more process of a container whose init is ``pid``, and for whoever has no Cgroups at hand.

    Nothing to join where a container has no cgroup of its own. Where the container divided its cgroup of v2, or left
    it, no process can join that (cgroup-v2.rst, "No Internal Process Constraint"): then it is that of the init.
    """
    if not cgroups_path:
        return Membership()
    membership = membership_of(open_cgroups(instance, cgroups_path), cgroups_path)
    if pid and membership.directory and not membership.task_files and not _takes_processes(membership.directory):
        membership.directory = _directory_of(pid, membership.directory)
    return membership


def _takes_processes(directory: str) -> bool:
    handed_on = read_value(f"{directory}/cgroup.subtree_control")
    return handed_on is not None and _THREADED.issuperset(handed_on.split())


def _directory_of(pid: int, directory: str) -> str:
    """The cgroup of ``pid``; ``directory``, which need not be there any more, is below the same mount point."""
    lines = (read_value(f"/proc/{pid}/cgroup") or "").splitlines()
    path = next((line[3:] for line in lines if line.startswith("0::/")), "")
    mounts = [hierarchy.mount for hierarchy in observe_hierarchies() if directory.startswith(f"{hierarchy.mount}/")]
    return f"{mounts[-1]}{path}" if path and mounts else directory
