# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A control group and its limits (cgroup-v1 and cgroup-v2 guides of the kernel)."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from ..errors import InvalidOption
from .names import parse_path_name
from .quantities import CPU_PERIOD, PAGE_SIZE, UNLIMITED, format_cpu_list, parse_cpu_list

# Where the numbers come from does not matter to whoever makes limits of them.
__all__ = [
    "CPU_PERIOD",
    "PAGE_SIZE",
    "UNLIMITED",
    "Cgroup",
    "Limits",
    "check_memory_swap",
    "normalise",
    "parse_cgroup_path",
]

# PAGE_COUNTER_MAX of include/linux/page_counter.h: what the kernel takes for "no limit", in bytes before rounding.
_NO_LIMIT = 2**63 - 1

# Files that the kernel itself puts into a cgroup, and names that mean something to systemd or to us.
_KERNEL_FILES = ("tasks", "notify_on_release", "release_agent")
_CONTROLLERS = frozenset(
    """cgroup memory cpu cpuacct cpuset pids freezer devices blkio io hugetlb rdma misc perf_event net_cls net_prio irq
    dmem debug""".split()  # noqa: SIM905 - as a list it would take a line each
)
_UNIT_SUFFIXES = (".scope", ".slice", ".service")


@dataclass(frozen=True)
class Limits:
    """What a cgroup may use. None leaves a limit to whoever set it; UNLIMITED takes it away.

    Memory is in bytes, ``memory_swap`` is memory plus swap as docker counts it, ``cpu_quota`` is in microseconds of
    CPU time for every CPU_PERIOD, ``cpu_weight`` is 1 to 10000 as on v2 (100 where nothing was said), ``pids`` counts
    tasks, ``cpuset_cpus`` and ``cpuset_mems`` are lists as cpuset(7) writes them.
    """

    memory: int | None = None
    memory_reservation: int | None = None
    memory_swap: int | None = None
    cpu_quota: int | None = None
    cpu_weight: int | None = None
    pids: int | None = None
    cpuset_cpus: str | None = None
    cpuset_mems: str | None = None

    def wanted(self) -> dict[str, int | str]:
        """The limits that are managed, by field name."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: value for name, value in values if value is not None}


@dataclass(frozen=True)
class Cgroup:
    """A cgroup below Stowage's own, by path (``quickstart`` or ``shop/frontend``)."""

    path: str
    limits: Limits = Limits()


def parse_cgroup_path(option: str, value: str) -> str:
    """A path for a named cgroup: names joined by ``/`` that are neither a file of the kernel's nor a systemd unit."""
    for part in parse_path_name(option, value).split("/"):
        controller, dot, _rest = part.partition(".")
        if part in _KERNEL_FILES or (dot and controller in _CONTROLLERS) or part.endswith(_UNIT_SUFFIXES):
            expected = f"names that neither the kernel nor systemd uses in a cgroup's directory, unlike {part!r}"
            raise InvalidOption(option, value, expected)
    return value


def normalise(limits: Limits, *, page_size: int = PAGE_SIZE) -> Limits:
    """``limits`` as a kernel with that page size shows them once they are set, so that a second run finds no drift.

    Memory is rounded down to pages, to one at least (page_counter_memparse() in mm/page_counter.c); zero, as docker
    has it, and more than the kernel can count are UNLIMITED; cpuset lists are put in order (``1,0`` is ``0-1``). Raises
    InvalidOption for a list that is none, and for memory plus swap below memory.
    """
    changes: dict[str, int | str] = {}
    for name in ("memory", "memory_reservation", "memory_swap"):
        value = getattr(limits, name)
        if value is not None:
            pages = max(value // page_size, 1)
            changes[name] = UNLIMITED if value <= 0 or value > _NO_LIMIT - page_size else pages * page_size
    for name in ("cpu_quota", "pids"):
        value = getattr(limits, name)
        if value is not None and value <= 0:
            changes[name] = UNLIMITED
    for name in ("cpuset_cpus", "cpuset_mems"):
        value = getattr(limits, name)
        if value is not None:
            changes[name] = format_cpu_list(parse_cpu_list(name, value))
    normal = replace(limits, **changes)  # type: ignore[arg-type]
    check_memory_swap(normal)
    return normal


def check_memory_swap(limits: Limits) -> None:
    """Raise InvalidOption where memory plus swap (``memory_swap``) would be less than memory."""
    memory, total = limits.memory, limits.memory_swap
    if memory is None or total is None or total == UNLIMITED or (memory != UNLIMITED and memory <= total):
        return
    shown = "no limit" if memory == UNLIMITED else f"{memory} bytes"
    raise InvalidOption("memory_swap", total, f"at least 'memory' ({shown}): it counts memory plus swap; -1: no limit")
