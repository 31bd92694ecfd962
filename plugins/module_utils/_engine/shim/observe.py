# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What containers there are on this host: their definitions from the disk, and of each what the kernel says."""

from __future__ import annotations

import os
import time
from dataclasses import replace

from ..linux.process import is_alive
from ..model.container import ContainerState
from ..runtime.state import State, list_states
from .bundle import list_containers, read_definition
from .launch import read_exit
from .logs import format_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..cgroup.interface import Cgroups
    from ..paths import Paths

_NANOSECONDS = 1_000_000_000


def observe_runtime(paths: Paths, cgroups: Cgroups) -> dict[str, ContainerState]:
    """Every container by name. One runs if its program does and its monitor lives; then its limits are the kernel's.

    A container that was created but not started does not run. Connections and ports are as the definition has them.
    """
    states = {state.id: state for state in list_states(paths.runtime_root)}
    return {name: _observe(paths, cgroups, name, states.get(name)) for name in list_containers(paths)}


def _observe(paths: Paths, cgroups: Cgroups, name: str, state: State | None) -> ContainerState:
    definition = read_definition(paths, name)
    container = definition.container
    if state is not None and state.status() == "running" and is_alive(*state.creator):
        limits = cgroups.observe_limits(definition.cgroups_path)
        found = replace(container, running=True, limits=limits if limits is not None else container.limits)
        return ContainerState(
            container=found,
            pid=state.pid,
            pid_started=state.started,
            started_at=format_time(started_at(state.started)),
        )
    record = read_exit(paths, name) or {}
    return ContainerState(
        container=replace(container, running=False),
        exit_code=record.get("exit_code"),
        finished_at=record.get("finished_at", ""),
    )


def started_at(ticks: int) -> int:
    """A start time in clock ticks since boot as nanoseconds since 1970, to the tick (proc_stat(5), btime)."""
    with open("/proc/uptime", encoding="ascii") as uptime:
        since_boot = float(uptime.read().split()[0])
    boot = time.time_ns() - int(since_boot * _NANOSECONDS)
    return boot + ticks * _NANOSECONDS // os.sysconf("SC_CLK_TCK")
