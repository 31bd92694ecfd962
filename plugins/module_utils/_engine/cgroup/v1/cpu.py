# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CPU time on v1: a quota in every period (scheduler/sched-bwc.rst) and shares among siblings (sched-design-CFS.rst).

Limits has v2's weight, which is written as shares (shares.py).
"""

from __future__ import annotations

import errno

from ...errors import InvalidOption, KernelError
from ...linux.cgroupfs import read_value
from ...model.quantities import CPU_PERIOD, UNLIMITED
from ..controller import Controller, read_number, write_limit, write_setting
from ..shares import shares_of_weight, weight_of_shares

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ...model.cgroup import Limits

QUOTA = "cpu.cfs_quota_us"
PERIOD = "cpu.cfs_period_us"
SHARES = "cpu.shares"
BURST = "cpu.cfs_burst_us"
IDLE = "cpu.idle"
RT_RUNTIME = "cpu.rt_runtime_us"
RT_PERIOD = "cpu.rt_period_us"
DEFAULT_WEIGHT = 100

_BANDWIDTH = {
    errno.EINVAL: "a period is 1000 to 1000000 us, a quota at least 1000 us, a burst at most the quota, and a cgroup "
    "has no greater part of the time than its parent"
}
_REALTIME = {
    errno.EINVAL: "the parent cgroup has less realtime for its children, or the runtime is longer than the period",
    errno.EBUSY: "realtime tasks are in the cgroup",
}


def observe_cpu(directory: str) -> dict[str, int | str]:
    quota = read_number(f"{directory}/{QUOTA}")
    period = read_number(f"{directory}/{PERIOD}")
    shares = read_number(f"{directory}/{SHARES}")
    limited = quota is not None and quota > 0
    return {
        "cpu_quota": (quota or 0) * CPU_PERIOD // (period or CPU_PERIOD) if limited else UNLIMITED,
        "cpu_weight": DEFAULT_WEIGHT if shares is None else weight_of_shares(shares),
    }


def apply_cpu(directory: str, limits: Limits) -> None:
    if limits.cpu_weight is not None:
        write_limit(f"{directory}/{SHARES}", str(shares_of_weight(limits.cpu_weight)))
    if limits.cpu_quota is None:
        return
    because = {errno.EINVAL: "the quota is below 1000, or above a parent's, or below a child's"}
    if limits.cpu_quota != UNLIMITED and read_number(f"{directory}/{PERIOD}") != CPU_PERIOD:
        # Without a quota any period is allowed; with one, the new ratio might not be.
        write_limit(f"{directory}/{QUOTA}", str(UNLIMITED))
        write_limit(f"{directory}/{PERIOD}", str(CPU_PERIOD))
    write_limit(f"{directory}/{QUOTA}", str(limits.cpu_quota), because=because)


def write_cpu(directory: str, cpu: Mapping[str, Any]) -> None:
    """``linux.resources.cpu`` without its lists. Shares that the kernel would clamp are refused."""
    idle = cpu.get("idle")
    if (idle == 0 or "shares" in cpu) and read_value(f"{directory}/{IDLE}") == "1":
        # What is idle has no shares (sched_group_set_shares() in kernel/sched/fair.c).
        write_setting("linux.resources.cpu.idle", directory, IDLE, 0)
    if "shares" in cpu:
        shares = cpu["shares"]
        write_setting("linux.resources.cpu.shares", directory, SHARES, shares)
        found = read_number(f"{directory}/{SHARES}")
        if found != shares:
            bound = "minimum" if found is None or found > shares else "maximum"
            raise InvalidOption("linux.resources.cpu.shares", shares, f"no other than the {bound} allowed, {found}")
    _write_in_turn(directory, cpu, (("period", PERIOD), ("burst", BURST)), ("quota", QUOTA), _BANDWIDTH)
    _write_in_turn(directory, cpu, (("realtimePeriod", RT_PERIOD),), ("realtimeRuntime", RT_RUNTIME), _REALTIME)
    if idle:
        write_setting("linux.resources.cpu.idle", directory, IDLE, idle)


def _write_in_turn(
    directory: str,
    cpu: Mapping[str, Any],
    first: tuple[tuple[str, str], ...],
    last: tuple[str, str],
    because: Mapping[int, str],
) -> None:
    """Write what belongs together: each change alone must fit what is in force (a parent's share of time, the burst at
    most the quota), so what is refused at first is written again after the ``last``.
    """
    again = []
    for name, file in first:
        if name in cpu:
            try:
                write_setting(f"linux.resources.cpu.{name}", directory, file, cpu[name], because=because)
            except KernelError as error:
                if error.errno != errno.EINVAL or last[0] not in cpu:
                    raise
                again.append((name, file))
    if last[0] in cpu:
        write_setting(f"linux.resources.cpu.{last[0]}", directory, last[1], cpu[last[0]], because=because)
    for name, file in again:
        write_setting(f"linux.resources.cpu.{name}", directory, file, cpu[name], because=because)


CPU = Controller("cpu", ("cpu_quota", "cpu_weight"), observe_cpu, apply_cpu)
