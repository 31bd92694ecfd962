# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cgroup v2 under systemd (most hosts). systemd owns the tree, so we never write into what is not delegated to us.

A named cgroup is a transient slice, whose limits systemd writes. A container has a transient scope with Delegate=yes,
as systemd-nspawn's have (systemd's docs/CGROUP_DELEGATION.md): in it are ``monitor`` and ``payload``, made and limited
by us. A container in its own scope outlives the session that started it.
"""

from __future__ import annotations

import os
import time

from ..errors import EngineError, KernelError, NotFound
from ..linux.cgroupfs import list_cgroups, list_pids, make_cgroups, read_value, remove_cgroup, remove_tree, write_value
from ..linux.lean import suppress
from .interface import refuse_occupied, refuse_taken
from .place import is_scope, parse_scope, scope_path, slice_path
from .units import Units, unit_name
from .v2.freezer import is_frozen
from .v2.manager import ENGINE, V2
from .v2.tree import PAYLOAD, available_controllers, hand_on_controllers, hand_on_path, own_cgroup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..model.cgroup import Cgroup, Limits
    from .resources import Resources
    from .units import Property

_MONITOR = "monitor"
_SLICE = ".slice"


class Systemd(V2):
    """The v2 tree at ``mount``, changed through systemd."""

    kind = "systemd"

    def __init__(self, instance: str, mount: str, units: Units) -> None:
        super().__init__(instance, mount)
        self._units = units
        self._base = unit_name(instance, "slice")
        self._keeper = 0

    # Named cgroups ------------------------------------------------------------------------------

    def observe(self) -> dict[str, Cgroup]:
        from ..model.cgroup import Cgroup  # named cgroups are the engine's, which has the model
        from .v2.limits import observe_directory  # the engine's limits

        found = list(_list_slices(f"{self._mount}/{slice_path(self._base)}", self._base))
        return {path: Cgroup(path, observe_directory(directory)) for path, directory in sorted(found)}

    def set_limits(self, path: str, limits: Limits) -> None:
        from .properties import limit_properties  # whoever sets limits

        name = self._slice(path)
        limits = self._checked(limits)
        properties = limit_properties(limits, f"{self._mount}/{slice_path(name)}")
        # Each parent is started by name: one that systemd made by itself would stay, and be no transient unit.
        parts = path.split("/")
        for count in range(len(parts)):
            self._start_slice("/".join(parts[:count]))
        self._units.start_slice(name, properties)

    def remove(self, path: str) -> None:
        name = self._slice(path)
        directory = f"{self._mount}/{slice_path(name)}"
        refuse_occupied(path, list_cgroups(directory), list_pids(directory))
        self._units.stop(name)
        self._tidy()

    # The cgroup of a container --------------------------------------------------------------------

    def container_path(self, parent: str, name: str) -> str:
        return f"{self._slice(parent) if parent else self._base}:{self.instance}:{name}"

    def prepare(self, cgroups_path: str, limits: Limits, monitor_pid: int = 0) -> None:
        if not is_scope(cgroups_path):
            super().prepare(cgroups_path, limits, monitor_pid)
            return
        from .properties import limit_properties  # whoever sets limits

        limits = self._checked(limits)
        payload = self._payload(cgroups_path)
        scope = os.path.dirname(payload)
        refuse_occupied(cgroups_path, [], self.processes(cgroups_path))
        slice_name = parse_scope(cgroups_path)[0]
        if slice_name == self._base:
            self._start_slice("")
        properties = limit_properties(limits, payload)
        if monitor_pid in list_pids(scope):
            self._units.set_properties(os.path.basename(scope), properties)
        else:
            self._units.start_scope(os.path.basename(scope), slice_name, monitor_pid or os.getpid(), properties)
        self._divide(scope)
        hand_on_controllers(scope, ENGINE, required=self._required_by(limits))
        self._limit(payload, limits)

    def limit_container(self, cgroups_path: str, limits: Limits) -> None:
        directory = self._payload(cgroups_path)
        if not os.path.isdir(directory):
            raise NotFound("cgroup", cgroups_path, "start its container first")
        if not is_scope(cgroups_path):
            super().limit_container(cgroups_path, limits)
            return
        from .properties import limit_properties  # whoever sets limits

        limits = self._checked(limits)
        # Before ours, because what systemd is to write can depend on what is in force.
        properties = limit_properties(limits, directory)
        self._units.set_properties(os.path.basename(os.path.dirname(directory)), properties)
        hand_on_controllers(os.path.dirname(directory), ENGINE, required=self._required_by(limits))
        self._limit(directory, limits)

    def prepare_resources(self, cgroups_path: str, resources: Resources, properties: Sequence[Property] = ()) -> None:
        if not is_scope(cgroups_path):
            super().prepare_resources(cgroups_path, resources)
            return
        from .scope import start_keeper  # the command line with --systemd-cgroup alone
        from .v2.resources import check_resources, write_resources  # not for the engine, which has Limits

        payload = self._payload(cgroups_path)
        scope = os.path.dirname(payload)
        check_resources(resources, available_controllers(self._mount), self._mount)
        refuse_taken(cgroups_path, list_pids(scope), frozen=is_frozen(scope))
        self._keeper = start_keeper(self._units, cgroups_path, resources, properties)
        try:
            self._divide(scope)
            self._hand_on(scope, resources)
            write_resources(payload, resources)
        except BaseException:
            self._end_keeper(payload)
            with suppress(EngineError, OSError):
                self.destroy(cgroups_path)
            raise

    def settle(self, cgroups_path: str, resources: Resources) -> None:
        if is_scope(cgroups_path):
            from .scope import update_scope  # the command line with --systemd-cgroup alone

            payload = self._payload(cgroups_path)
            self._end_keeper(payload)
            # Not before: of the tasks that the scope may have, the keeper would have been one.
            update_scope(self._units, cgroups_path, resources, payload)

    def _write_resources(self, cgroups_path: str, resources: Resources) -> None:
        if not is_scope(cgroups_path):
            super()._write_resources(cgroups_path, resources)
            return
        from .scope import update_scope  # the command line with --systemd-cgroup alone
        from .v2.resources import write_resources  # not for the engine, which has Limits

        payload = self._payload(cgroups_path)
        # Before ours, because what systemd is to write can depend on what is in force.
        update_scope(self._units, cgroups_path, resources, payload)
        self._hand_on(os.path.dirname(payload), resources)
        write_resources(payload, resources)

    def destroy(self, cgroups_path: str) -> None:
        if not is_scope(cgroups_path):
            super().destroy(cgroups_path)
            return
        payload = self._payload(cgroups_path)
        scope = os.path.dirname(payload)
        if not remove_tree(payload):
            refuse_occupied(cgroups_path, [], list_pids(payload) or [0])
        if own_cgroup().endswith(f"/{os.path.basename(scope)}/{_MONITOR}"):
            return  # The monitor's last act: systemd removes a scope whose last process ended.
        if not _is_gone(scope):
            self._units.stop(os.path.basename(scope))
        self._tidy()

    # --------------------------------------------------------------------------------------------

    def _payload(self, cgroups_path: str) -> str:
        if not is_scope(cgroups_path):
            return super()._payload(cgroups_path)
        return f"{self._mount}/{scope_path(cgroups_path)}/{PAYLOAD}"

    def _divide(self, scope: str) -> None:
        """Make the cgroups of a scope that is ours, and move what systemd made it with out of the way."""
        try:
            for name in (_MONITOR, PAYLOAD):
                make_cgroups(scope, name)
            for pid in (read_value(f"{scope}/cgroup.procs") or "").split():
                write_value(f"{scope}/{_MONITOR}/cgroup.procs", pid)
        except OSError as error:
            raise KernelError("dividing a container's scope", error) from error

    def _hand_on(self, scope: str, resources: Resources) -> None:
        """Give the payload what systemd delegates, and what is asked for beyond that: those controllers that systemd
        does not know (hugetlb, rdma, misc) it leaves as others have set them in its own cgroups.
        """
        required = self._required(resources)
        unknown = [name for name in required if name not in available_controllers(scope)]
        if unknown:
            hand_on_path(self._mount, scope[len(self._mount) + 1 :], unknown, required=required)
        hand_on_controllers(scope, available_controllers(scope), required=required)

    def _end_keeper(self, payload: str) -> None:
        if self._keeper:
            from .scope import end_keeper  # the command line with --systemd-cgroup alone

            end_keeper(self._keeper)
            self._keeper = 0
            with suppress(OSError):
                remove_cgroup(f"{os.path.dirname(payload)}/{_MONITOR}")

    def _slice(self, path: str) -> str:
        return unit_name(self._named_path(path), "slice")

    def _start_slice(self, path: str) -> None:
        name = self._slice(path) if path else self._base
        if not os.path.isdir(f"{self._mount}/{slice_path(name)}"):
            self._units.start_slice(name, [])

    def _tidy(self) -> None:
        """Stop the slice of the instance where nothing is in it."""
        directory = f"{self._mount}/{slice_path(self._base)}"
        if os.path.isdir(directory) and not list_cgroups(directory) and not list_pids(directory):
            self._units.stop(self._base)


def _list_slices(directory: str, name: str, prefix: str = "") -> Iterator[tuple[str, str]]:
    """(path, directory) of each named cgroup below the slice ``name``."""
    start = name[: -len(_SLICE)] + "-"
    for child in list_cgroups(directory):
        if child.startswith(start) and child.endswith(_SLICE):
            part = child[len(start) : -len(_SLICE)].replace("\\x2d", "-")
            yield prefix + part, f"{directory}/{child}"
            yield from _list_slices(f"{directory}/{child}", child, f"{prefix}{part}/")


def _is_gone(directory: str, *, timeout: float = 0.2) -> bool:
    """Whether systemd removes an empty scope by itself in time (it hears of it through cgroup.events)."""
    end = time.monotonic() + timeout
    while os.path.isdir(directory):
        if list_pids(directory) or time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True
