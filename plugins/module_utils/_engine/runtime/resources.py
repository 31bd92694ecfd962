# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``linux.resources`` of a config.json (runtime-spec, config-linux.md, Control groups) as the engine's Limits."""

from __future__ import annotations

from ..errors import InvalidOption
from ..model.cgroup import CPU_PERIOD, UNLIMITED, Limits
from .spec import weight_of_shares

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def parse_resources(resources: Mapping[str, Any]) -> Limits:
    """The limits that are asked for; 0 asks for nothing, as in runc. Raises InvalidOption."""
    memory, cpu = resources.get("memory") or {}, resources.get("cpu") or {}
    pids = (resources.get("pids") or {}).get("limit") or None
    return Limits(
        memory=memory.get("limit") or None,
        memory_reservation=memory.get("reservation") or None,
        memory_swap=memory.get("swap") or None,
        cpu_quota=_parse_quota(cpu),
        cpu_weight=weight_of_shares(cpu["shares"]) if cpu.get("shares") else None,
        pids=pids,
        cpuset_cpus=cpu.get("cpus") or None,
        cpuset_mems=cpu.get("mems") or None,
    )


def _parse_quota(cpu: Mapping[str, Any]) -> int | None:
    """The quota for our own period."""
    quota, period = cpu.get("quota") or 0, cpu.get("period") or CPU_PERIOD
    if quota == 0:
        return None
    if quota < 0:
        return UNLIMITED
    if not 1000 <= period <= 1_000_000:
        raise InvalidOption("linux.resources.cpu.period", period, "1000 to 1000000 microseconds")
    return int(quota * CPU_PERIOD // period)
