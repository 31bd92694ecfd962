# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cgroup v1 and hybrid hosts: every controller of ours has a tree, and each cgroup a directory in all of them.

A container joins every other hierarchy of the host too, that of a name (``systemd``) and a hybrid host's v2 tree: what
is at the root of a hierarchy could reach its release_agent and other cgroups (cgroups(7)). Where systemd is process 1
on v1, the monitor gets a delegated scope of its own (so that the end of a session does not end it), and limits and
lists are in our own directories beside those of systemd, which looks after its own alone.
"""

from __future__ import annotations

import os

from ...errors import Conflict, EngineError, KernelError, NotFound, Unsupported
from ...linux.cgroupfs import (
    list_cgroups,
    list_pids,
    make_cgroups,
    read_value,
    remove_cgroup,
    remove_tree,
    write_value,
)
from ...linux.lean import suppress
from ..interface import SCOPE, Cgroups, kill_processes, list_named, refuse_occupied, refuse_taken
from ..place import is_scope, parse_path, scope_path
from .freezer import apply_frozen, is_frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ...linux.cgroupfs import Hierarchy
    from ...model.cgroup import Cgroup, Limits
    from ..controller import Controller
    from ..resources import Resources
    from ..units import Property, Units

# Where named cgroups have their limits.
LIMITED = ("memory", "cpu", "cpuset", "pids")

# A container is in these trees too: to be stopped, counted and, by the runtime, kept off devices.
OTHERS = ("freezer", "cpuacct", "devices", "blkio")


class V1(Cgroups):
    """``hierarchies``: the v1 mounts of the host; of two with the same controller the last counts, as for a path.

    ``unified`` is where a hybrid host has its v2 tree, or empty.
    """

    kind = "v1"

    def __init__(
        self, instance: str, hierarchies: Iterable[Hierarchy], units: Units | None = None, unified: str = ""
    ) -> None:
        super().__init__(instance)
        self._units = units
        self.places_monitor = units is not None
        self._mount_of: dict[str, str] = {}
        self._named: list[str] = []
        for hierarchy in hierarchies:
            for name in hierarchy.controllers:
                self._mount_of[name] = hierarchy.mount
            if hierarchy.name:
                self._named.append(hierarchy.mount)
        # Controllers that are mounted together (cpu,cpuacct) have one tree.
        self._mounts = list(
            dict.fromkeys(self._mount_of[name] for name in (*LIMITED, *OTHERS) if name in self._mount_of)
        )
        self._unified = unified
        self._keeper = 0

    # Named cgroups ------------------------------------------------------------------------------

    def observe(self) -> dict[str, Cgroup]:
        from ...model.cgroup import Cgroup  # named cgroups are the engine's, which has the model

        paths = {path for mount in self._mounts for path in list_named(f"{mount}/{self.instance}")}
        return {path: Cgroup(path, self._observe_limits(f"{self.instance}/{path}")) for path in sorted(paths)}

    def create(self, cgroup: Cgroup) -> None:
        self.set_limits(cgroup.path, cgroup.limits)

    def set_limits(self, path: str, limits: Limits) -> None:
        self._limit(self._named_path(path), limits, self._mounts)

    def remove(self, path: str) -> None:
        relative = self._named_path(path)
        # In the trees that have none of our limits it is there as the parent of containers.
        directories = [f"{mount}/{relative}" for mount in self._mounts_of("/")]
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
        relative = self._relative(cgroups_path)
        refuse_occupied(cgroups_path, [], self.processes(cgroups_path))
        self._limit(relative, limits, self._mounts_of(cgroups_path))
        if self._units and monitor_pid:
            # A slice of our own would stay when its last scope ends.
            self._units.start_scope(f"{self.instance}-{os.path.basename(relative)}", "system.slice", monitor_pid)

    def prepare_resources(self, cgroups_path: str, resources: Resources, properties: Sequence[Property] = ()) -> None:
        from .resources import check_resources, write_resources  # not for the engine, which has Limits

        relative = self._relative(cgroups_path)
        check_resources(resources, self._mount_of, self._unified_controllers())
        refuse_taken(cgroups_path, self.processes(cgroups_path), frozen=self.is_frozen(cgroups_path))
        made: list[str] = []  # one that was there is whoever's made it
        try:
            if self._units and is_scope(cgroups_path):
                from ..scope import start_keeper  # hosts with systemd alone

                self._keeper = start_keeper(self._units, cgroups_path, resources, properties, v1=True)
            self._make(relative, self._mounts_of(cgroups_path), made)
            self._hand_on(relative, resources)
            write_resources(self.directories(cgroups_path), self._unified_directory(relative), resources)
        except BaseException:
            self._end_keeper()
            for mount in made:
                with suppress(OSError):
                    remove_tree(f"{mount}/{relative}")
            with suppress(OSError):
                self._tidy()
            raise

    def settle(self, cgroups_path: str, resources: Resources) -> None:
        self._end_keeper()

    def update_resources(self, cgroups_path: str, resources: Resources) -> None:
        from .resources import check_resources, write_resources  # `update` alone

        relative = self._relative(cgroups_path)
        check_resources(resources, self._mount_of, self._unified_controllers())
        if not any(os.path.isdir(directory) for directory in self.directories(cgroups_path).values()):
            raise NotFound("cgroup", cgroups_path, "its container has ended")
        if self._units and is_scope(cgroups_path):
            from ..scope import update_scope  # hosts with systemd alone

            update_scope(self._units, cgroups_path, resources, self.directories(cgroups_path).get("cpu", ""), v1=True)
        self._hand_on(relative, resources)
        write_resources(self.directories(cgroups_path), self._unified_directory(relative), resources)

    def payload_directory(self, cgroups_path: str) -> str:
        directory = self._unified_directory(self._relative(cgroups_path))
        return directory if directory and os.path.isdir(directory) else ""

    def task_files(self, cgroups_path: str) -> list[str]:
        relative = self._relative(cgroups_path)
        mounts = [mount for mount in self._mounts_of(cgroups_path) if mount != self._unified]
        return [f"{mount}/{relative}/tasks" for mount in mounts]

    def directories(self, cgroups_path: str) -> dict[str, str]:
        relative = self._relative(cgroups_path)
        return {name: f"{mount}/{relative}" for name, mount in self._mount_of.items()}

    def join(self, cgroups_path: str) -> None:
        for path in self.task_files(cgroups_path):
            try:
                # `tasks` moves one thread in 0.1 ms; `cgroup.procs` waits for all CPUs, 9 to 23 ms.
                write_value(path, "0")
            except OSError as error:
                raise KernelError("joining a cgroup", error) from error

    def observe_limits(self, cgroups_path: str) -> Limits | None:
        relative = self._relative(cgroups_path)
        if not any(os.path.isdir(f"{mount}/{relative}") for mount in self._mounts):
            return None
        return self._observe_limits(relative)

    def limit_container(self, cgroups_path: str, limits: Limits) -> None:
        if self.observe_limits(cgroups_path) is None:
            raise NotFound("cgroup", cgroups_path, "start its container first")
        self._limit(self._relative(cgroups_path), limits, self._mounts_of(cgroups_path))

    def processes(self, cgroups_path: str) -> list[int]:
        return list_pids(f"{self._list_mount()}/{self._relative(cgroups_path)}")

    def kill(self, cgroups_path: str) -> None:
        if not self.processes(cgroups_path):
            return
        # Frozen processes cannot fork away from the list; they die of the signal when they are thawed.
        freezer = self._freezer(cgroups_path)
        if freezer:
            apply_frozen(freezer, True)
        try:
            kill_processes(lambda: self.processes(cgroups_path), rounds=1 if freezer else 20)
        finally:
            if freezer:
                apply_frozen(freezer, False)

    def is_frozen(self, cgroups_path: str) -> bool:
        freezer = self._freezer(cgroups_path)
        return bool(freezer) and is_frozen(freezer)

    def freeze(self, cgroups_path: str, frozen: bool) -> None:
        freezer = self._freezer(cgroups_path)
        if not freezer:
            raise Unsupported(
                "this host has no v1 'freezer' hierarchy (looked in /proc/self/mountinfo) to pause a container with; "
                "mount it: mount -t cgroup -o freezer freezer /sys/fs/cgroup/freezer"
            )
        if not apply_frozen(freezer, frozen):
            apply_frozen(freezer, False)
            raise Conflict(f"{cgroups_path}: not all of its processes could be frozen; one of them does not stop")

    def destroy(self, cgroups_path: str) -> None:
        self._end_keeper()
        relative = self._relative(cgroups_path)
        for mount in self._mounts_of(cgroups_path):
            if not remove_tree(f"{mount}/{relative}"):
                refuse_occupied(cgroups_path, [], list_pids(f"{mount}/{relative}") or [0])
        if self._units and is_scope(cgroups_path):
            with suppress(EngineError):  # systemd ends a scope with its last process
                self._units.stop(os.path.basename(relative))
        self._tidy()

    # --------------------------------------------------------------------------------------------

    def _relative(self, cgroups_path: str) -> str:
        if not is_scope(cgroups_path):
            return parse_path(cgroups_path)
        if not self._units:
            raise Unsupported(f"cgroup {cgroups_path}: systemd support for managing cgroups is not available here")
        return scope_path(cgroups_path)

    def _named_path(self, path: str) -> str:
        from ...model.cgroup import parse_cgroup_path  # named cgroups are the engine's, which has the model

        return f"{self.instance}/{parse_cgroup_path('cgroup', path)}"

    def _mounts_of(self, cgroups_path: str) -> list[str]:
        """The trees of a container. What systemd follows its units by is left to it, but for the container's scope."""
        mounts = list(dict.fromkeys([*self._mounts, *self._mount_of.values()]))
        if not self._units or is_scope(cgroups_path):
            mounts += [*self._named, *([self._unified] if self._unified else [])]
        return mounts

    def _unified_directory(self, relative: str) -> str:
        return f"{self._unified}/{relative}" if self._unified else ""

    def _unified_controllers(self) -> list[str]:
        return (read_value(f"{self._unified}/cgroup.controllers") or "").split() if self._unified else []

    def _hand_on(self, relative: str, resources: Resources) -> None:
        """Have a hybrid host's v2 tree give the container the controllers that only that has, where they are asked."""
        if self._unified and (resources.unified or (resources.hugepages and "hugetlb" not in self._mount_of)):
            from ..v2.tree import hand_on_path  # hardly any host has its huge pages there

            hand_on_path(self._unified, relative, self._unified_controllers(), required=self._unified_controllers())

    def _freezer(self, cgroups_path: str) -> str:
        mount = self._mount_of.get("freezer")
        return f"{mount}/{self._relative(cgroups_path)}" if mount else ""

    def _end_keeper(self) -> None:
        if self._keeper:
            from ..scope import end_keeper  # hosts with systemd alone

            end_keeper(self._keeper)
            self._keeper = 0

    def _controllers(self) -> Sequence[Controller]:
        from ..pids import PIDS  # the engine's limits, as these are
        from .cpu import CPU  # the engine's limits
        from .cpuset import CPUSET  # the engine's limits
        from .memory import MEMORY  # the engine's limits

        return [MEMORY, CPU, CPUSET, PIDS]

    def _make(self, relative: str, mounts: Sequence[str], made: list[str]) -> None:
        """Make the directory in every tree where it is missing; ``made`` is told which those are."""
        cpuset = self._mount_of.get("cpuset")
        for mount in mounts:
            try:
                made += [mount] if make_cgroups(mount, relative) else []
            except OSError as error:
                if mount == self._unified:
                    continue  # read-only, or a process is in the way of it: v1 has all that is asked for
                raise KernelError("making a cgroup", error) from error
            if mount == cpuset:
                from .cpuset import inherit_cpuset  # hosts with that controller

                inherit_cpuset(mount, relative)

    def _limit(self, relative: str, limits: Limits, mounts: Sequence[str]) -> None:
        """Make the directory in those trees, and set the limits."""
        from ...model.cgroup import normalise  # the engine's limits
        from ..controller import apply_limits, check_controllers  # the engine's limits

        limits = normalise(limits)
        held = [controller for controller in self._controllers() if controller.name in self._mount_of]
        check_controllers(limits.wanted(), held, "looked for v1 mounts in /proc/self/mountinfo")
        self._make(relative, mounts, [])
        for controller in held:
            apply_limits(controller, f"{self._mount_of[controller.name]}/{relative}", limits)

    def _observe_limits(self, relative: str) -> Limits:
        from ...model.cgroup import Limits  # the engine's limits

        values: dict[str, int | str] = {}
        for controller in self._controllers():
            mount = self._mount_of.get(controller.name, "/nowhere")
            values.update(controller.observe(f"{mount}/{relative}"))
        return Limits(**values)  # type: ignore[arg-type]

    def _list_mount(self) -> str:
        return next(self._mount_of[name] for name in ("freezer", "pids", *self._mount_of) if name in self._mount_of)

    def _tidy(self) -> None:
        """Remove the directory of the instance where it is empty. What is left in one tree has been in all: whoever
        removes the last of it comes here again."""
        with suppress(PermissionError):  # it is root's, and we are an ordinary user
            for mount in self._mounts_of("/"):
                if not remove_cgroup(f"{mount}/{self.instance}"):
                    return
