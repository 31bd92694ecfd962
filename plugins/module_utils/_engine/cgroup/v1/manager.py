# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cgroup v1 and hybrid hosts: every controller of ours has a tree, and each cgroup a directory in all of them.

On a hybrid host the v2 tree has hardly a controller, and we leave it alone. Where systemd is process 1 on v1, the
monitor gets a delegated scope of its own (so that the end of a session does not end it), and limits and lists are in
our own directories beside those of systemd, which looks after its own alone.
"""

from __future__ import annotations

import os
from itertools import accumulate

from ...errors import Conflict, KernelError, NotFound, Unsupported
from ...linux.cgroupfs import (
    list_cgroups,
    list_pids,
    make_cgroups,
    remove_cgroup,
    remove_tree,
    write_value,
)
from ...model.cgroup import Cgroup, Limits, normalise, parse_cgroup_path
from ..controller import apply_limits, check_controllers
from ..interface import SCOPE, Cgroups, kill_processes, list_named, refuse_occupied, relative_path
from ..pids import PIDS
from .cpu import CPU
from .cpuset import CPUSET, inherit_cpuset
from .freezer import apply_frozen
from .memory import MEMORY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...linux.cgroupfs import Hierarchy
    from ..units import Units

CONTROLLERS = (MEMORY, CPU, CPUSET, PIDS)

# A container is in these trees too: to be stopped, counted and, by the runtime, kept off devices.
OTHERS = ("freezer", "cpuacct", "devices", "blkio")


class V1(Cgroups):
    """``hierarchies``: the v1 mounts of the host; of two with the same controller the last counts, as for a path."""

    kind = "v1"

    def __init__(self, instance: str, hierarchies: Iterable[Hierarchy], units: Units | None = None) -> None:
        super().__init__(instance)
        self._units = units
        self.places_monitor = units is not None
        self._mount_of: dict[str, str] = {}
        for hierarchy in hierarchies:
            for name in hierarchy.controllers:
                self._mount_of[name] = hierarchy.mount
        ours = [*(controller.name for controller in CONTROLLERS), *OTHERS]
        # Controllers that are mounted together (cpu,cpuacct) have one tree.
        self._mounts = list(dict.fromkeys(self._mount_of[name] for name in ours if name in self._mount_of))
        self._controllers = [controller for controller in CONTROLLERS if controller.name in self._mount_of]

    # Named cgroups ------------------------------------------------------------------------------

    def observe(self) -> dict[str, Cgroup]:
        paths = {path for mount in self._mounts for path in list_named(f"{mount}/{self.instance}")}
        return {path: Cgroup(path, self._observe_limits(f"{self.instance}/{path}")) for path in sorted(paths)}

    def create(self, cgroup: Cgroup) -> None:
        self.set_limits(cgroup.path, cgroup.limits)

    def set_limits(self, path: str, limits: Limits) -> None:
        self._make(f"{self.instance}/{parse_cgroup_path('cgroup', path)}", limits)

    def remove(self, path: str) -> None:
        relative = f"{self.instance}/{parse_cgroup_path('cgroup', path)}"
        directories = [f"{mount}/{relative}" for mount in self._mounts]
        # Look at all trees before anything is removed from one.
        children = sorted({name for directory in directories for name in list_cgroups(directory)})
        pids = sorted({pid for directory in directories for pid in list_pids(directory)})
        refuse_occupied(path, children, pids)
        for directory in directories:
            if not remove_cgroup(directory):
                refuse_occupied(path, list_cgroups(directory), list_pids(directory) or [0])
        self._tidy()

    # The cgroup of a container --------------------------------------------------------------------

    def container_path(self, parent: str, name: str) -> str:
        return "/".join(["", self.instance, *([parent] if parent else []), name + SCOPE])

    def prepare(self, cgroups_path: str, limits: Limits, monitor_pid: int = 0) -> None:
        relative = relative_path(cgroups_path)
        refuse_occupied(cgroups_path, [], self.processes(cgroups_path))
        self._make(relative, limits)
        if self._units and monitor_pid:
            # A slice of our own would stay when its last scope ends.
            self._units.start_scope(f"{self.instance}-{os.path.basename(relative)}", "system.slice", monitor_pid)

    def payload_fd(self, cgroups_path: str) -> int:
        return -1

    def task_files(self, cgroups_path: str) -> list[str]:
        return [f"{mount}/{relative_path(cgroups_path)}/tasks" for mount in self._mounts]

    def join(self, cgroups_path: str) -> None:
        for path in self.task_files(cgroups_path):
            try:
                # `tasks` moves one thread in 0.1 ms; `cgroup.procs` waits for all CPUs, 9 to 23 ms.
                write_value(path, "0")
            except OSError as error:
                raise KernelError("joining a cgroup", error) from error

    def observe_limits(self, cgroups_path: str) -> Limits | None:
        relative = relative_path(cgroups_path)
        if not any(os.path.isdir(f"{mount}/{relative}") for mount in self._mounts):
            return None
        return self._observe_limits(relative)

    def limit_container(self, cgroups_path: str, limits: Limits) -> None:
        if self.observe_limits(cgroups_path) is None:
            raise NotFound("cgroup", cgroups_path, "start its container first")
        self._make(relative_path(cgroups_path), limits)

    def processes(self, cgroups_path: str) -> list[int]:
        relative = relative_path(cgroups_path)
        return list_pids(f"{self._list_mount()}/{relative}")

    def kill(self, cgroups_path: str) -> None:
        # Frozen processes cannot fork away from the list; they die of the signal when they are thawed.
        freezer = f"{self._mount_of['freezer']}/{relative_path(cgroups_path)}" if "freezer" in self._mount_of else ""
        if freezer:
            apply_frozen(freezer, True)
        try:
            kill_processes(lambda: self.processes(cgroups_path), rounds=1 if freezer else 20)
        finally:
            if freezer:
                apply_frozen(freezer, False)

    def freeze(self, cgroups_path: str, frozen: bool) -> None:
        mount = self._mount_of.get("freezer")
        if mount is None:
            raise Unsupported(
                "this host has no v1 'freezer' hierarchy (looked in /proc/self/mountinfo) to pause a container with; "
                "mount it: mount -t cgroup -o freezer freezer /sys/fs/cgroup/freezer"
            )
        if not apply_frozen(f"{mount}/{relative_path(cgroups_path)}", frozen):
            raise Conflict(f"{cgroups_path}: not all of its processes could be frozen; one of them does not stop")

    def destroy(self, cgroups_path: str) -> None:
        relative = relative_path(cgroups_path)
        for mount in self._mounts:
            if not remove_tree(f"{mount}/{relative}"):
                refuse_occupied(cgroups_path, [], list_pids(f"{mount}/{relative}"))
        self._tidy()

    # --------------------------------------------------------------------------------------------

    def _make(self, relative: str, limits: Limits) -> None:
        """Make the directory in every tree where it is missing, and set the limits."""
        limits = normalise(limits)
        check_controllers(limits.wanted(), self._controllers, "looked for v1 mounts in /proc/self/mountinfo")
        cpuset = self._mount_of.get("cpuset")
        for mount in self._mounts:
            try:
                make_cgroups(mount, relative)
            except OSError as error:
                raise KernelError("making a cgroup", error) from error
            if mount == cpuset:
                # The parents too, also those that were there: whoever made them may have been killed just after.
                for directory in accumulate([mount, *relative.split("/")], "{}/{}".format):
                    inherit_cpuset(directory)
        for controller in self._controllers:
            apply_limits(controller, f"{self._mount_of[controller.name]}/{relative}", limits)

    def _observe_limits(self, relative: str) -> Limits:
        values: dict[str, int | str] = {}
        for controller in CONTROLLERS:
            mount = self._mount_of.get(controller.name, "/nowhere")
            values.update(controller.observe(f"{mount}/{relative}"))
        return Limits(**values)  # type: ignore[arg-type]

    def _list_mount(self) -> str:
        return next(self._mount_of[name] for name in ("freezer", "pids", *self._mount_of) if name in self._mount_of)

    def _tidy(self) -> None:
        """Remove the directory of the instance where it is empty."""
        for mount in self._mounts:
            remove_cgroup(f"{mount}/{self.instance}")
