# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a process is scheduled, where its memory and its CPUs are, and what machine it sees, as operations.

None of this is asked for by most containers, which is why it is apart from process.py. Each part has its check, which
knows what goes together (runtime-spec, config.md, Linux Process; config-linux.md, Memory policy, Personality).
"""

from __future__ import annotations

import errno

from ...errors import InvalidOption
from ...linux.mempolicy import FLAGS as MEMORY_FLAGS
from ...linux.mempolicy import MODES, set_mempolicy
from ...linux.personality import DOMAINS, personality
from ...linux.scheduler import (
    CLASSES,
    FLAGS,
    POLICIES,
    SCHED_DEADLINE,
    SCHED_FIFO,
    SCHED_RR,
    ioprio_set,
    parse_numbers,
    sched_setaffinity,
    sched_setattr,
)
from .operations import Operation
from .process import FreeAffinity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

_SHORTEST = 1024  # nanoseconds: the kernel's own limit for a deadline's runtime (__checkparam_dl())
_LONGEST = (1 << 63) - 1
_MOST_CPUS, _MOST_NODES = 8191, 1023


def check_process(process: Mapping[str, Any]) -> None:
    """Raise InvalidOption for a scheduler or an affinity that cannot be."""
    if process.get("scheduler"):
        _check_scheduler(process["scheduler"])
    for name, text in (process.get("execCPUAffinity") or {}).items():
        if name in ("initial", "final") and max(parse_numbers(text or ""), default=0) > _MOST_CPUS:
            raise InvalidOption(f"process.execCPUAffinity.{name}", text, f"CPUs to {_MOST_CPUS}")


def _check_scheduler(scheduler: Mapping[str, Any]) -> None:
    where, policy = "process.scheduler", scheduler["policy"]
    nice, priority = scheduler.get("nice") or 0, scheduler.get("priority") or 0
    if not -20 <= nice <= 19:
        raise InvalidOption(f"{where}.nice", nice, "a number from -20 to 19")
    if POLICIES[policy] in (SCHED_FIFO, SCHED_RR):
        if not 1 <= priority <= 99:
            raise InvalidOption(f"{where}.priority", priority, f"a number from 1 to 99 for {policy}")
    elif priority:
        raise InvalidOption(f"{where}.priority", priority, f"0: {policy} has no priorities")
    runtime, deadline, period = (scheduler.get(name) or 0 for name in ("runtime", "deadline", "period"))
    if POLICIES[policy] != SCHED_DEADLINE:
        for name, value in (("runtime", runtime), ("deadline", deadline), ("period", period)):
            if value:
                raise InvalidOption(f"{where}.{name}", value, "nothing without SCHED_DEADLINE")
    elif not _SHORTEST <= runtime <= deadline <= (period or deadline) <= _LONGEST:
        told = {"runtime": runtime, "deadline": deadline, "period": period}
        expected = f"nanoseconds, {_SHORTEST} <= runtime <= deadline <= period, for SCHED_DEADLINE"
        raise InvalidOption(where, told, expected)


def check_linux(linux: Mapping[str, Any]) -> None:
    """The same for what is of the whole container."""
    flags = (linux.get("personality") or {}).get("flags")
    if flags:
        raise InvalidOption("linux.personality.flags", flags, "no flags: the specification has none yet")
    policy = linux.get("memoryPolicy")
    if not policy:
        return
    mode, nodes = policy["mode"], parse_numbers(policy.get("nodes") or "")
    where, given = "linux.memoryPolicy.nodes", policy.get("nodes")
    if nodes and mode in ("MPOL_DEFAULT", "MPOL_LOCAL"):
        raise InvalidOption(where, given, f"no nodes for {mode}: mode requires 0 nodes but got {len(nodes)}")
    if not nodes and mode not in ("MPOL_DEFAULT", "MPOL_LOCAL", "MPOL_PREFERRED"):
        raise InvalidOption(where, given, f"at least one node for {mode}")
    if max(nodes, default=0) > _MOST_NODES:
        raise InvalidOption(where, given, f"nodes to {_MOST_NODES}")
    flags = set(policy.get("flags") or ())
    if flags >= {"MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"}:
        raise InvalidOption("linux.memoryPolicy.flags", sorted(flags), "one of the two, relative or static nodes")


def plan_scheduling(process: Mapping[str, Any], linux: Mapping[str, Any]) -> Iterator[Operation]:
    """What a process of the container gets while it may still do it all."""
    if linux.get("personality"):
        yield SetPersonality(linux["personality"]["domain"])
    if linux.get("memoryPolicy"):
        yield SetMemoryPolicy(linux["memoryPolicy"])
    if process.get("ioPriority"):
        yield SetIoPriority(process["ioPriority"])
    if process.get("scheduler"):
        yield SetScheduler(process["scheduler"])


class SetPersonality(Operation):
    """The execution domain."""

    def __init__(self, domain: str) -> None:
        self.domain = domain

    def __str__(self) -> str:
        return f"set the personality {self.domain} (linux.personality)"

    def execute(self) -> None:
        personality(DOMAINS[self.domain])


class SetMemoryPolicy(Operation):
    """The NUMA policy."""

    def __init__(self, policy: Mapping[str, Any]) -> None:
        self.mode = policy["mode"]
        self.nodes = policy.get("nodes") or ""
        self.flags = sum({MEMORY_FLAGS[name] for name in policy.get("flags") or ()})

    def __str__(self) -> str:
        nodes = f", nodes {self.nodes}" if self.nodes else ""
        return f"set the memory policy {self.mode}{nodes} (linux.memoryPolicy)"

    def execute(self) -> None:
        set_mempolicy(MODES[self.mode], self.flags, parse_numbers(self.nodes))


class SetIoPriority(Operation):
    """The I/O priority of this process's group, which is its own: it leads a session."""

    def __init__(self, priority: Mapping[str, Any]) -> None:
        self.ioprio_class = priority["class"]
        self.priority = priority.get("priority") or 0

    def __str__(self) -> str:
        return f"set the I/O priority {self.ioprio_class}, {self.priority} (process.ioPriority)"

    def execute(self) -> None:
        ioprio_set(CLASSES[self.ioprio_class], self.priority)


class SetScheduler(Operation):
    """The scheduling policy and what belongs to it."""

    def __init__(self, scheduler: Mapping[str, Any]) -> None:
        self.policy = scheduler["policy"]
        self.flags = sum({FLAGS[name] for name in scheduler.get("flags") or ()})
        names = ("nice", "priority", "runtime", "deadline", "period")
        self.values = {name: scheduler.get(name) or 0 for name in names}

    def __str__(self) -> str:
        return f"set the scheduling policy {self.policy} (process.scheduler)"

    def execute(self) -> None:
        try:
            sched_setattr(POLICIES[self.policy], self.flags, **self.values)
        except OSError as error:
            why = error.strerror or str(error)
            if error.errno == errno.EPERM and POLICIES[self.policy] == SCHED_DEADLINE:
                # sched_setattr(2), EPERM: also where the affinity leaves out a CPU of the system.
                why += "; a process scheduler can't be used together with AllowedCPUs (linux.resources.cpu.cpus)"
            elif error.errno == errno.EPERM and POLICIES[self.policy] in (SCHED_FIFO, SCHED_RR):
                # A user namespace's root has no say in this, and a cgroup of v1 has no such time unless given.
                why += "; on cgroup v1 it takes linux.resources.cpu.realtimeRuntime"
            raise OSError(error.errno, why) from error


def plan_affinity(affinity: Mapping[str, Any]) -> tuple[list[Operation], list[Operation]]:
    """What a process that enters the container runs on before it is in the cgroup, and what it does once it is."""
    initial, final = ((affinity.get(name) or "").strip(" ,\n") for name in ("initial", "final"))
    first: Operation = SetAffinity(initial, "initial") if initial else FreeAffinity()
    return [first], [SetAffinity(final, "final")] if final else []


class SetAffinity(Operation):
    """The CPUs that a process which enters the container may run on."""

    def __init__(self, cpus: str, when: str) -> None:
        self.cpus = cpus
        self.when = when

    def __str__(self) -> str:
        return f"run on the CPUs {self.cpus} (process.execCPUAffinity.{self.when})"

    def execute(self) -> None:
        sched_setaffinity(parse_numbers(self.cpus))
