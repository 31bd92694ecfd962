# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cgroup v2 without systemd (Alpine, containers): one tree, ours below ``<mount>/<instance>``.

Only cgroups without processes hand controllers on (cgroup-v2.rst, "No Internal Process Constraint"), so a
container's cgroup has its processes in ``payload``, and all monitors share ``_monitors`` beside the named cgroups.

Limits are on both: on the payload, where what runs in the container reads them, and on the container's cgroup, which
competes with its siblings by its weight, and which a container that may write to its own tree cannot reach.
"""

from __future__ import annotations

import errno
import os

from ...errors import Conflict, KernelError, NotFound, Unsupported
from ...linux.cgroupfs import (
    list_cgroups,
    list_pids,
    make_cgroups,
    remove_cgroup,
    remove_tree,
    write_value,
)
from ...linux.lean import suppress
from ..interface import SCOPE, Cgroups, kill_processes, list_named, refuse_occupied, refuse_taken
from ..place import is_scope, parse_path
from .freezer import apply_frozen, is_frozen
from .tree import PAYLOAD, available_controllers, hand_on_path, own_cgroup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from ...model.cgroup import Cgroup, Limits
    from ..controller import Controller
    from ..resources import Resources
    from ..units import Property

# Handed down to the engine's cgroups: its limits, and accounting of block devices.
ENGINE = ("memory", "cpu", "cpuset", "pids", "io")

_MONITORS = "_monitors"


class V2(Cgroups):
    """``mount`` is where the v2 tree is mounted; all that we do is below it."""

    kind = "v2"

    def __init__(self, instance: str, mount: str) -> None:
        super().__init__(instance)
        self._mount = mount

    # Named cgroups ------------------------------------------------------------------------------

    def observe(self) -> dict[str, Cgroup]:
        from ...model.cgroup import Cgroup  # named cgroups are the engine's, which has the model
        from .limits import observe_directory  # the engine's limits

        base = f"{self._mount}/{self.instance}"
        return {path: Cgroup(path, observe_directory(f"{base}/{path}")) for path in sorted(list_named(base))}

    def create(self, cgroup: Cgroup) -> None:
        self.set_limits(cgroup.path, cgroup.limits)

    def set_limits(self, path: str, limits: Limits) -> None:
        self._make_limited(self._named_path(path), limits)

    def remove(self, path: str) -> None:
        directory = f"{self._mount}/{self._named_path(path)}"
        refuse_occupied(path, list_cgroups(directory), list_pids(directory))
        if not remove_cgroup(directory):
            refuse_occupied(path, list_cgroups(directory), list_pids(directory) or [0])
        self._tidy()

    # The cgroup of a container --------------------------------------------------------------------

    def container_path(self, parent: str, name: str) -> str:
        return "/".join(["", self.instance, *([parent] if parent else []), name + SCOPE])

    def prepare(self, cgroups_path: str, limits: Limits, monitor_pid: int = 0) -> None:
        refuse_occupied(cgroups_path, [], self.processes(cgroups_path))
        self._limit_both(self._payload(cgroups_path)[len(self._mount) + 1 :], limits)
        if monitor_pid:
            self._move(monitor_pid, f"{self.instance}/{_MONITORS}")

    def prepare_resources(self, cgroups_path: str, resources: Resources, properties: Sequence[Property] = ()) -> None:
        from .resources import check_resources  # not for the engine, which has Limits

        payload = self._payload(cgroups_path)
        container = os.path.dirname(payload)
        check_resources(resources, available_controllers(self._mount), self._mount)
        frozen = is_frozen(container) or is_frozen(payload)
        refuse_taken(cgroups_path, list_pids(container), frozen=frozen)
        existed = os.path.isdir(container)
        try:
            self._make(payload[len(self._mount) + 1 :], self._every(), required=self._required(resources))
            self._write_resources(cgroups_path, resources)
        except BaseException:
            with suppress(OSError):
                remove_tree(payload if existed else container)
                self._tidy()
            raise

    def update_resources(self, cgroups_path: str, resources: Resources) -> None:
        from .resources import check_resources  # `update` alone

        payload = self._payload(cgroups_path)
        check_resources(resources, available_controllers(self._mount), self._mount)
        if not os.path.isdir(payload):
            raise NotFound("cgroup", cgroups_path, "its container has ended")
        if resources.memory:
            from .memory import check_usage  # before anything is changed

            check_usage(payload, resources.memory)
        self._write_resources(cgroups_path, resources)

    def payload_directory(self, cgroups_path: str) -> str:
        return self._payload(cgroups_path)

    def directories(self, cgroups_path: str) -> dict[str, str]:
        return {"": self._payload(cgroups_path)}

    def join(self, cgroups_path: str) -> None:
        directory = self._payload(cgroups_path)
        # The path starts at the root of our cgroup namespace, which need not be that of the mount.
        if not own_cgroup().endswith(directory[len(self._mount) :]):
            try:
                write_value(f"{directory}/cgroup.procs", "0")
            except OSError as error:
                raise KernelError("joining a cgroup", error) from error

    def observe_limits(self, cgroups_path: str) -> Limits | None:
        from .limits import observe_both  # the engine's limits

        return observe_both(self._payload(cgroups_path))

    def limit_container(self, cgroups_path: str, limits: Limits) -> None:
        directory = self._payload(cgroups_path)
        if not os.path.isdir(directory):
            raise NotFound("cgroup", cgroups_path, "start its container first")
        self._limit_both(directory[len(self._mount) + 1 :], limits)

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
            if error.errno != errno.ENODEV:  # systemd removed it just now: nothing was in it
                raise KernelError("killing a container's processes", error) from error

    def is_frozen(self, cgroups_path: str) -> bool:
        return is_frozen(self._payload(cgroups_path))

    def freeze(self, cgroups_path: str, frozen: bool) -> None:
        if not apply_frozen(self._payload(cgroups_path), frozen):
            apply_frozen(self._payload(cgroups_path), False)
            raise Conflict(f"{cgroups_path}: not all of its processes could be frozen; one of them does not stop")

    def destroy(self, cgroups_path: str) -> None:
        directory = os.path.dirname(self._payload(cgroups_path))
        if not remove_tree(directory):
            refuse_occupied(cgroups_path, [], list_pids(directory) or [0])
        if own_cgroup().endswith(f"/{self.instance}/{_MONITORS}"):
            # The monitor's last act. From the top of the tree it lets `_monitors` go; where that is not allowed (we
            # are in a container whose cgroup hands controllers on) whoever comes next removes it.
            with suppress(OSError):
                write_value(f"{self._mount}/cgroup.procs", "0")
        self._tidy()

    # --------------------------------------------------------------------------------------------

    def _payload(self, cgroups_path: str) -> str:
        if is_scope(cgroups_path):
            # None of our own making: a scope needs systemd.
            raise Unsupported(f"cgroup {cgroups_path}: systemd support for managing cgroups is not available here")
        return f"{self._mount}/{parse_path(cgroups_path)}/{PAYLOAD}"

    def _named_path(self, path: str) -> str:
        from ...model.cgroup import parse_cgroup_path  # named cgroups are the engine's, which has the model

        return f"{self.instance}/{parse_cgroup_path('cgroup', path)}"

    def _every(self) -> list[str]:
        """All controllers of this host: a container of the command line may find any of them in its own tree."""
        return available_controllers(self._mount)

    @staticmethod
    def _required(resources: Resources) -> Collection[str]:
        from .resources import required_controllers  # not for the engine, which has Limits

        return required_controllers(resources)

    def _write_resources(self, cgroups_path: str, resources: Resources) -> None:
        from .resources import write_resources  # not for the engine, which has Limits

        payload = self._payload(cgroups_path)
        write_resources(os.path.dirname(payload), resources)
        write_resources(payload, resources)

    def _make(self, relative: str, controllers: Sequence[str], *, required: Collection[str]) -> None:
        """Make the directory and its parents, each handing controllers on to the next."""
        try:
            make_cgroups(self._mount, relative)
        except OSError as error:
            raise KernelError("making a cgroup", error) from error
        hand_on_path(self._mount, relative, controllers, required=required)

    def _make_limited(self, relative: str, limits: Limits) -> None:
        """Make the directory, and set the engine's limits on it."""
        limits = self._checked(limits)
        self._make(relative, ENGINE, required=self._required_by(limits))
        self._limit(f"{self._mount}/{relative}", limits)

    def _limit_both(self, payload: str, limits: Limits) -> None:
        """Make a container's cgroup and that of its processes, and set the engine's limits on both."""
        limits = self._checked(limits)
        self._make(payload, ENGINE, required=self._required_by(limits))
        self._limit(f"{self._mount}/{os.path.dirname(payload)}", limits)
        self._limit(f"{self._mount}/{payload}", limits)

    def _controllers(self) -> Sequence[Controller]:
        from .limits import CONTROLLERS  # the engine's limits

        return CONTROLLERS

    def _checked(self, limits: Limits) -> Limits:
        """The limits in the kernel's spelling. Raises Unsupported where this host lacks a controller for them."""
        from ...model.cgroup import normalise  # the engine's limits
        from ..controller import check_controllers  # the engine's limits

        available = available_controllers(self._mount)
        held = [controller for controller in self._controllers() if controller.name in available]
        looked_in = f"{self._mount}/cgroup.controllers has: {' '.join(available) or 'none'}"
        check_controllers(limits.wanted(), held, looked_in)
        return normalise(limits)

    def _required_by(self, limits: Limits) -> Collection[str]:
        wanted = limits.wanted().keys()
        return {controller.name for controller in self._controllers() if wanted & set(controller.fields)}

    def _limit(self, directory: str, limits: Limits) -> None:
        """Write the limits that are not None to a cgroup's files."""
        from ..controller import apply_limits  # the engine's limits

        for controller in self._controllers():
            apply_limits(controller, directory, limits)

    def _move(self, pid: int, relative: str) -> None:
        try:
            make_cgroups(self._mount, relative)
            write_value(f"{self._mount}/{relative}/cgroup.procs", str(pid))
        except OSError as error:
            raise KernelError("moving a monitor to its cgroup", error) from error

    def _tidy(self) -> None:
        """Remove the monitors' cgroup and that of the instance where they are empty."""
        with suppress(PermissionError):  # they are root's, and we are an ordinary user
            remove_cgroup(f"{self._mount}/{self.instance}/{_MONITORS}")
            remove_cgroup(f"{self._mount}/{self.instance}")
