# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Limits as properties of systemd's units (systemd.resource-control(5), org.freedesktop.systemd1(5)).

systemd writes them to the files of the unit's cgroup, which are its own, and shows them in ``systemctl show``. What it
has no property for stands in the payload's files alone.
"""

from __future__ import annotations

from ..errors import InvalidOption
from ..model.quantities import CPU_PERIOD, UNLIMITED
from .controller import read_number
from .units import cpu_mask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ..model.cgroup import Limits
    from .resources import Resources
    from .units import Property

INFINITY = 2**64 - 1


def limit_properties(limits: Limits, directory: str) -> list[Property]:
    """The properties for the limits that are not None (systemd.resource-control(5)); ``directory`` has the rest."""
    from .v2.memory import swap_limit  # hosts of v2, and the engine alone

    properties: list[Property] = []

    def add(name: str, value: int | None, unlimited: int = INFINITY) -> None:
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


def resource_properties(resources: Resources, directory: str) -> list[Property]:
    """The properties for ``linux.resources`` on v2; ``directory`` has what is in force for what is not given."""
    from .shares import weight_of_shares  # hosts of v2
    from .v2.cpu import merge_bandwidth  # hosts of v2
    from .v2.memory import plan_swap  # hosts of v2

    memory, cpu = resources.memory, resources.cpu
    found: dict[str, tuple[str, Any]] = {}
    for name, key in (("MemoryMax", "limit"), ("MemoryLow", "reservation")):
        if key in memory:
            found[name] = ("t", _bytes(memory[key]))
    swap = plan_swap(directory, memory)
    if swap is not None:
        found["MemorySwapMax"] = ("t", _bytes(swap))
    if "shares" in cpu:
        found["CPUWeight"] = ("t", weight_of_shares(cpu["shares"]))
    if cpu.get("idle"):
        found["CPUWeight"] = ("t", 0)  # CGROUP_WEIGHT_IDLE, systemd 252
    if "quota" in cpu or "period" in cpu:
        quota, period = merge_bandwidth(directory, cpu)
        found.update(_bandwidth(quota, period))
    found.update(_shared(resources))
    if "weight" in resources.block_io:
        from .v2.io import io_weight  # where config.json asks for it

        found["IOWeight"] = ("t", io_weight(resources.block_io["weight"]))
    found.update(_unified(resources.unified))
    return [(name, kind, value) for name, (kind, value) in found.items()]


def legacy_properties(resources: Resources, directory: str) -> list[Property]:
    """The same on v1; ``directory`` is that of the cpu controller."""
    memory, cpu = resources.memory, resources.cpu
    found: dict[str, tuple[str, Any]] = {}
    if "limit" in memory:
        found["MemoryLimit"] = ("t", _bytes(memory["limit"]))
    if "shares" in cpu:
        found["CPUShares"] = ("t", cpu["shares"])
    if "quota" in cpu or "period" in cpu:
        period = cpu.get("period") or read_number(f"{directory}/cpu.cfs_period_us") or CPU_PERIOD
        quota = cpu.get("quota") or read_number(f"{directory}/cpu.cfs_quota_us") or UNLIMITED
        found.update(_bandwidth(quota, period))
    if "weight" in resources.block_io:
        found["BlockIOWeight"] = ("t", resources.block_io["weight"])
    found.update(_shared(resources))
    return [(name, kind, value) for name, (kind, value) in found.items()]


def _shared(resources: Resources) -> dict[str, tuple[str, Any]]:
    found: dict[str, tuple[str, Any]] = {}
    if resources.pids:
        limit = resources.pids["limit"]
        found["TasksMax"] = ("t", INFINITY if limit < 0 else max(limit, 1))  # systemd has no TasksMax=0
    for name, key in (("AllowedCPUs", "cpus"), ("AllowedMemoryNodes", "mems")):
        if key in resources.cpuset:
            found[name] = ("ay", cpu_mask(resources.cpuset[key]))
    return found


def _bandwidth(quota: int | str, period: int) -> dict[str, tuple[str, Any]]:
    """systemd keeps the time for each second in steps of 10 ms, rounded up here, so that it is no less than asked."""
    rate = INFINITY
    if isinstance(quota, int) and quota > 0:
        rate = -(-quota * 1_000_000 // period // 10_000) * 10_000
    return {"CPUQuotaPeriodUSec": ("t", period), "CPUQuotaPerSecUSec": ("t", rate)}


def _unified(unified: Mapping[str, str]) -> dict[str, tuple[str, Any]]:
    """Those files of v2 that systemd has a property for."""
    found: dict[str, tuple[str, Any]] = {}
    for file, text in unified.items():
        value = text.strip()
        if file in _NUMBERS:
            number = INFINITY if value == "max" else _number(file, value)
            found[_NUMBERS[file]] = ("t", max(number, 1) if file == "pids.max" else number)
        elif file == "cpu.max":
            quota, _space, period = value.partition(" ")
            amount = UNLIMITED if quota == "max" else _number(file, quota)
            found.update(_bandwidth(amount, _number(file, period.strip() or str(CPU_PERIOD))))
        elif file in _LISTS:
            found[_LISTS[file]] = ("ay", cpu_mask(value))
    if unified.get("cpu.idle", "").strip() == "1":
        found["CPUWeight"] = ("t", 0)
    return found


_NUMBERS = {
    "memory.high": "MemoryHigh",
    "memory.low": "MemoryLow",
    "memory.min": "MemoryMin",
    "memory.max": "MemoryMax",
    "memory.swap.max": "MemorySwapMax",
    "pids.max": "TasksMax",
    "cpu.weight": "CPUWeight",
}
_LISTS = {"cpuset.cpus": "AllowedCPUs", "cpuset.mems": "AllowedMemoryNodes"}


def _number(file: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise InvalidOption(f"linux.resources.unified.{file}", text, "a number, as that file has it")
    return int(text)


def _bytes(value: int) -> int:
    return INFINITY if value == UNLIMITED else value
