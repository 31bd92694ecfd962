# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The v2 tree: who hands on which controllers, and where a process is in it."""

from __future__ import annotations

from ...errors import KernelError, Unsupported
from ...linux.cgroupfs import read_value, write_value
from ...linux.lean import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

# A container's processes are in this cgroup of its own one. Above it, where no container can write, is its device
# program, and every limit once more.
PAYLOAD = "payload"


def available_controllers(directory: str) -> list[str]:
    """The controllers that a cgroup has."""
    return (read_value(f"{directory}/cgroup.controllers") or "").split()


def hand_on_path(mount: str, relative: str, wanted: Sequence[str], *, required: Collection[str]) -> None:
    """Enable controllers in each cgroup from ``mount`` to the parent of ``relative``, for the next."""
    directory = mount
    for part in relative.split("/"):
        hand_on_controllers(directory, wanted, required=required)
        directory = f"{directory}/{part}"


def hand_on_controllers(directory: str, wanted: Sequence[str], *, required: Collection[str]) -> None:
    """Enable those of ``wanted`` that ``directory`` has for its children. Raises where one is refused and required."""
    available = available_controllers(directory)
    enabled = (read_value(f"{directory}/cgroup.subtree_control") or "").split()
    missing = [name for name in wanted if name in available and name not in enabled]
    if not missing:
        return
    path = f"{directory}/cgroup.subtree_control"
    if pids := _internal_processes(directory):
        if any(name in required for name in missing):
            raise Unsupported(
                f"{path} cannot hand on {', '.join(missing)}: processes ({', '.join(pids[:5])}) are in that "
                "cgroup itself, and it is not the root of the machine (a container's cgroup namespace?). Move them to "
                f"a leaf first: mkdir {directory}/init, then write each pid to {directory}/init/cgroup.procs"
            )
        return
    with suppress(OSError):
        write_value(path, " ".join(f"+{name}" for name in missing))
        return
    # One that is refused (`cpu` while realtime processes exist) must not keep the others out.
    for name in missing:
        try:
            write_value(path, f"+{name}")
        except OSError as error:
            if name in required:
                raise KernelError(f"enabling the {name} controller", error) from error


def _internal_processes(directory: str) -> list[str]:
    """The processes that keep ``directory`` from handing on controllers; none in the real root, which may have some.

    The kernel itself refuses memory and io alone (EBUSY). It takes cpu, cpuset and pids, and makes of the children
    threaded cgroups that no process can join.
    """
    if read_value(f"{directory}/cgroup.type") is None:
        return []
    return (read_value(f"{directory}/cgroup.procs") or "").split()


def own_cgroup() -> str:
    """The v2 cgroup of this process, from the root of its cgroup namespace (cgroups(7))."""
    lines = (read_value("/proc/self/cgroup") or "").splitlines()
    return next((line[3:] for line in lines if line.startswith("0::")), "/")
