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

from ..errors import InvalidOption, KernelError, NotFound
from ..linux.cgroupfs import list_cgroups, list_pids, make_cgroups, read_value, remove_tree, write_value
from ..model.cgroup import CPU_PERIOD, UNLIMITED, Cgroup, Limits, parse_cgroup_path, parse_cpu_list
from .interface import SCOPE, refuse_occupied
from .units import Units, slice_path, unit_name
from .v2.manager import PAYLOAD, V2, observe_directory, own_cgroup
from .v2.memory import swap_limit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_INFINITY = 2**64 - 1
_MONITOR = "monitor"
_SLICE = ".slice"


class Systemd(V2):
    """The v2 tree at ``mount``, changed through systemd."""

    kind = "systemd"

    def __init__(self, instance: str, mount: str, units: Units) -> None:
        super().__init__(instance, mount)
        self._units = units
        self._base = unit_name(instance, "slice")

    # Named cgroups ------------------------------------------------------------------------------

    def observe(self) -> dict[str, Cgroup]:
        found = list(_list_slices(f"{self._mount}/{slice_path(self._base)}", self._base))
        return {path: Cgroup(path, observe_directory(directory)) for path, directory in sorted(found)}

    def set_limits(self, path: str, limits: Limits) -> None:
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
        if ":" not in cgroups_path:
            super().prepare(cgroups_path, limits, monitor_pid)
            return
        limits = self._checked(limits)
        payload = self._payload(cgroups_path)
        scope = os.path.dirname(payload)
        refuse_occupied(cgroups_path, [], self.processes(cgroups_path))
        slice_name = cgroups_path.split(":", maxsplit=1)[0]
        if slice_name == self._base:
            self._start_slice("")
        if monitor_pid not in list_pids(scope):
            self._units.start_scope(os.path.basename(scope), slice_name, monitor_pid or os.getpid())
        try:
            for name in (_MONITOR, PAYLOAD):
                make_cgroups(scope, name)
            for pid in (read_value(f"{scope}/cgroup.procs") or "").split():
                write_value(f"{scope}/{_MONITOR}/cgroup.procs", pid)
        except OSError as error:
            raise KernelError("dividing a container's scope", error) from error
        self._limit(payload, limits)

    def limit_container(self, cgroups_path: str, limits: Limits) -> None:
        directory = self._payload(cgroups_path)
        if not os.path.isdir(directory):
            raise NotFound("cgroup", cgroups_path, "start its container first")
        limits = self._checked(limits)
        self._limit(directory, limits)

    def destroy(self, cgroups_path: str) -> None:
        if ":" not in cgroups_path:
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
        if ":" not in cgroups_path:
            return super()._payload(cgroups_path)
        parts = cgroups_path.split(":")
        if len(parts) != 3 or not parts[0].endswith(_SLICE) or not parts[2] or "/" in cgroups_path:
            raise InvalidOption("cgroupsPath", cgroups_path, "slice:prefix:name, such as stowage.slice:stowage:web")
        scope = f"{parts[1]}-{parts[2]}" if parts[1] else parts[2]
        return f"{self._mount}/{slice_path(parts[0])}/{scope}{SCOPE}/{PAYLOAD}"

    def _slice(self, path: str) -> str:
        return unit_name(f"{self.instance}/{parse_cgroup_path('cgroup', path)}", "slice")

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


def limit_properties(limits: Limits, directory: str) -> list[tuple[str, str, Any]]:
    """The properties for the limits that are not None (systemd.resource-control(5)); ``directory`` has the rest."""
    properties: list[tuple[str, str, Any]] = []

    def add(name: str, value: int | None, unlimited: int = _INFINITY) -> None:
        if value is not None:
            properties.append((name, "t", unlimited if value == UNLIMITED else value))

    add("MemoryMax", limits.memory)
    add("MemoryLow", limits.memory_reservation, 0)
    if limits.memory is not None or limits.memory_swap is not None:
        add("MemorySwapMax", swap_limit(directory, limits))
    if limits.cpu_quota is not None:
        quota = limits.cpu_quota
        add("CPUQuotaPerSecUSec", UNLIMITED if quota == UNLIMITED else quota * 1_000_000 // CPU_PERIOD)
        # The period is systemd's own, 100 ms as ours: it writes both, and CPUQuotaPeriodUSec is younger than RHEL 8.
    add("CPUWeight", limits.cpu_weight)
    add("TasksMax", limits.pids)
    for name, cpus in (("AllowedCPUs", limits.cpuset_cpus), ("AllowedMemoryNodes", limits.cpuset_mems)):
        if cpus is not None:
            properties.append((name, "ay", cpu_mask(cpus)))
    return properties


def cpu_mask(cpus: str) -> bytes:
    """A list of numbers as systemd takes it: bit n of the bytes is number n."""
    number = sum(1 << cpu for cpu in parse_cpu_list("cpuset", cpus))
    return number.to_bytes((number.bit_length() + 7) // 8, "little")


def _is_gone(directory: str, *, timeout: float = 0.2) -> bool:
    """Whether systemd removes an empty scope by itself in time (it hears of it through cgroup.events)."""
    end = time.monotonic() + timeout
    while os.path.isdir(directory):
        if list_pids(directory) or time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True
