# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cgroup v2 without systemd (Alpine, containers): one tree, ours below ``<mount>/<instance>``.

Only cgroups without processes hand controllers on (cgroup-v2.rst, "No Internal Process Constraint"), so a
container's cgroup has its processes in ``payload``, and all monitors share ``_monitors`` beside the named cgroups.
"""

from __future__ import annotations

import contextlib
import os

from ...errors import Conflict, KernelError, NotFound, Unsupported
from ...linux.cgroupfs import (
    list_cgroups,
    list_pids,
    make_cgroups,
    read_value,
    remove_cgroup,
    remove_tree,
    write_value,
)
from ...model.cgroup import Cgroup, Limits, normalise, parse_cgroup_path
from ..controller import apply_limits, check_controllers
from ..interface import SCOPE, Cgroups, kill_processes, list_named, refuse_occupied, relative_path
from ..pids import PIDS
from .cpu import CPU
from .cpuset import CPUSET
from .freezer import apply_frozen
from .memory import MEMORY

CONTROLLERS = (MEMORY, CPU, CPUSET, PIDS)

# Handed down to a container beside the controllers of our limits: accounting of its block devices.
_OTHERS = ("io",)

PAYLOAD = "payload"
_MONITORS = "_monitors"


class V2(Cgroups):
    """``mount`` is where the v2 tree is mounted; all that we do is below it."""

    kind = "v2"

    def __init__(self, instance: str, mount: str) -> None:
        super().__init__(instance)
        self._mount = mount

    # Named cgroups ------------------------------------------------------------------------------

    def observe(self) -> dict[str, Cgroup]:
        base = f"{self._mount}/{self.instance}"
        return {path: Cgroup(path, observe_directory(f"{base}/{path}")) for path in sorted(list_named(base))}

    def create(self, cgroup: Cgroup) -> None:
        self.set_limits(cgroup.path, cgroup.limits)

    def set_limits(self, path: str, limits: Limits) -> None:
        self._make(f"{self.instance}/{parse_cgroup_path('cgroup', path)}", limits)

    def remove(self, path: str) -> None:
        directory = f"{self._mount}/{self.instance}/{parse_cgroup_path('cgroup', path)}"
        refuse_occupied(path, list_cgroups(directory), list_pids(directory))
        if not remove_cgroup(directory):
            refuse_occupied(path, list_cgroups(directory), list_pids(directory) or [0])
        self._tidy()

    # The cgroup of a container --------------------------------------------------------------------

    def container_path(self, parent: str, name: str) -> str:
        return "/".join(["", self.instance, *([parent] if parent else []), name + SCOPE])

    def prepare(self, cgroups_path: str, limits: Limits, monitor_pid: int = 0) -> None:
        refuse_occupied(cgroups_path, [], self.processes(cgroups_path))
        self._make(f"{relative_path(cgroups_path)}/{PAYLOAD}", limits)
        if monitor_pid:
            self._move(monitor_pid, f"{self.instance}/{_MONITORS}")

    def payload_fd(self, cgroups_path: str) -> int:
        directory = self._payload(cgroups_path)
        try:
            return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise KernelError("opening a container's cgroup", error) from error

    def join(self, cgroups_path: str) -> None:
        directory = self._payload(cgroups_path)
        # The path starts at the root of our cgroup namespace, which need not be that of the mount.
        if not own_cgroup().endswith(directory[len(self._mount) :]):
            try:
                write_value(f"{directory}/cgroup.procs", "0")
            except OSError as error:
                raise KernelError("joining a cgroup", error) from error

    def observe_limits(self, cgroups_path: str) -> Limits | None:
        directory = self._payload(cgroups_path)
        return observe_directory(directory) if os.path.isdir(directory) else None

    def limit_container(self, cgroups_path: str, limits: Limits) -> None:
        directory = self._payload(cgroups_path)
        if not os.path.isdir(directory):
            raise NotFound("cgroup", cgroups_path, "start its container first")
        self._make(directory[len(self._mount) + 1 :], limits)

    def processes(self, cgroups_path: str) -> list[int]:
        return list_pids(self._payload(cgroups_path))

    def kill(self, cgroups_path: str) -> None:
        directory = self._payload(cgroups_path)
        try:
            write_value(f"{directory}/cgroup.kill", "1")
        except FileNotFoundError:
            # Linux before 5.14, or the cgroup is gone.
            if os.path.isdir(directory):
                apply_frozen(directory, True)
                kill_processes(lambda: list_pids(directory), rounds=1)
                apply_frozen(directory, False)
        except OSError as error:
            raise KernelError("killing a container's processes", error) from error

    def freeze(self, cgroups_path: str, frozen: bool) -> None:
        if not apply_frozen(self._payload(cgroups_path), frozen):
            raise Conflict(f"{cgroups_path}: not all of its processes could be frozen; one of them does not stop")

    def destroy(self, cgroups_path: str) -> None:
        directory = os.path.dirname(self._payload(cgroups_path))
        if not remove_tree(directory):
            refuse_occupied(cgroups_path, [], list_pids(directory) or [0])
        if own_cgroup().endswith(f"/{self.instance}/{_MONITORS}"):
            # The monitor's last act. From the top of the tree it lets `_monitors` go; where that is not allowed (we
            # are in a container whose cgroup hands controllers on) whoever comes next removes it.
            with contextlib.suppress(OSError):
                write_value(f"{self._mount}/cgroup.procs", "0")
        self._tidy()

    # --------------------------------------------------------------------------------------------

    def _payload(self, cgroups_path: str) -> str:
        return f"{self._mount}/{relative_path(cgroups_path)}/{PAYLOAD}"

    def _make(self, relative: str, limits: Limits) -> None:
        """Make the directory and its parents, each handing our controllers on to the next, and set the limits."""
        limits = self._checked(limits)
        try:
            make_cgroups(self._mount, relative)
        except OSError as error:
            raise KernelError("making a cgroup", error) from error
        directory = self._mount
        for part in relative.split("/")[:-1]:
            hand_on_controllers(directory, limits)
            directory = f"{directory}/{part}"
        self._limit(f"{self._mount}/{relative}", limits)

    def _checked(self, limits: Limits) -> Limits:
        """The limits in the kernel's spelling. Raises Unsupported where this host lacks a controller for them."""
        available = (read_value(f"{self._mount}/cgroup.controllers") or "").split()
        held = [controller for controller in CONTROLLERS if controller.name in available]
        looked_in = f"{self._mount}/cgroup.controllers has: {' '.join(available) or 'none'}"
        check_controllers(limits.wanted(), held, looked_in)
        return normalise(limits)

    def _limit(self, directory: str, limits: Limits) -> None:
        """Write the limits that are not None to a cgroup's files."""
        hand_on_controllers(os.path.dirname(directory), limits)
        for controller in CONTROLLERS:
            apply_limits(controller, directory, limits)

    def _move(self, pid: int, relative: str) -> None:
        try:
            make_cgroups(self._mount, relative)
            write_value(f"{self._mount}/{relative}/cgroup.procs", str(pid))
        except OSError as error:
            raise KernelError("moving a monitor to its cgroup", error) from error

    def _tidy(self) -> None:
        """Remove the monitors' cgroup and that of the instance where they are empty."""
        remove_cgroup(f"{self._mount}/{self.instance}/{_MONITORS}")
        remove_cgroup(f"{self._mount}/{self.instance}")


def observe_directory(directory: str) -> Limits:
    """The limits that a cgroup's files hold."""
    values: dict[str, int | str] = {}
    for controller in CONTROLLERS:
        values.update(controller.observe(directory))
    return Limits(**values)  # type: ignore[arg-type]


def hand_on_controllers(directory: str, limits: Limits) -> None:
    """Enable our controllers for the children of ``directory``. Raises where ``limits`` need one that is refused."""
    required = {controller.name for controller in CONTROLLERS if limits.wanted().keys() & set(controller.fields)}
    available = (read_value(f"{directory}/cgroup.controllers") or "").split()
    enabled = (read_value(f"{directory}/cgroup.subtree_control") or "").split()
    ours = [*(controller.name for controller in CONTROLLERS), *_OTHERS]
    missing = [name for name in ours if name in available and name not in enabled]
    if not missing:
        return
    path = f"{directory}/cgroup.subtree_control"
    if pids := _internal_processes(directory):
        if not required.isdisjoint(missing):
            raise Unsupported(
                f"{path} cannot hand on {', '.join(missing)}: processes ({', '.join(pids[:5])}) are in that "
                "cgroup itself, and it is not the root of the machine (a container's cgroup namespace?). Move them to "
                f"a leaf first: mkdir {directory}/init, then write each pid to {directory}/init/cgroup.procs"
            )
        return
    with contextlib.suppress(OSError):
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
