# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CPU time on v2 (cgroup-v2.rst, "CPU Interface Files"): cpu.max (quota and period) and cpu.weight."""

from __future__ import annotations

import errno

from ...errors import KernelError
from ...linux.cgroupfs import read_value
from ...model.quantities import CPU_PERIOD, UNLIMITED
from ..controller import Controller, read_number, write_limit, write_setting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ...model.cgroup import Limits

MAX = "cpu.max"
BURST = "cpu.max.burst"
WEIGHT = "cpu.weight"
IDLE = "cpu.idle"
DEFAULT_WEIGHT = 100

_BECAUSE = {
    errno.EINVAL: "a period is 1000 to 1000000 us, a quota at least 1000 us, and a burst at most the quota",
}


def observe_cpu(directory: str) -> dict[str, int | str]:
    quota, _rest, period = (read_value(f"{directory}/{MAX}") or "max").partition(" ")
    weight = read_number(f"{directory}/{WEIGHT}")
    return {
        "cpu_quota": UNLIMITED if quota == "max" else int(quota) * CPU_PERIOD // int(period or CPU_PERIOD),
        "cpu_weight": DEFAULT_WEIGHT if weight is None else weight,
    }


def apply_cpu(directory: str, limits: Limits) -> None:
    if limits.cpu_quota is not None:
        quota = "max" if limits.cpu_quota == UNLIMITED else str(limits.cpu_quota)
        write_limit(f"{directory}/{MAX}", f"{quota} {CPU_PERIOD}", because=_BECAUSE)
    if limits.cpu_weight is not None:
        write_limit(f"{directory}/{WEIGHT}", str(limits.cpu_weight))


def write_cpu(directory: str, cpu: Mapping[str, Any]) -> None:
    """``linux.resources.cpu`` without its lists; shares as a weight."""
    idle = cpu.get("idle")
    if (idle == 0 or "shares" in cpu) and read_value(f"{directory}/{IDLE}") == "1":
        # What is idle has no weight (sched_group_set_shares() in kernel/sched/fair.c).
        write_setting("linux.resources.cpu.idle", directory, IDLE, 0)
    if "shares" in cpu:
        from ..shares import weight_of_shares  # only where config.json has shares

        write_setting("linux.resources.cpu.shares", directory, WEIGHT, weight_of_shares(cpu["shares"]))
    late = _write_burst(directory, cpu)
    if "quota" in cpu or "period" in cpu:
        quota, period = merge_bandwidth(directory, cpu)
        option = "linux.resources.cpu.quota" if "quota" in cpu else "linux.resources.cpu.period"
        write_setting(option, directory, MAX, f"{quota} {period}", because=_BECAUSE)
    if late:
        write_setting("linux.resources.cpu.burst", directory, BURST, cpu["burst"], because=_BECAUSE)
    if idle:
        write_setting("linux.resources.cpu.idle", directory, IDLE, idle)


def merge_bandwidth(directory: str, cpu: Mapping[str, Any]) -> tuple[int | str, int]:
    """Quota (or ``max``) and period for cpu.max; what is not given stays as it is."""
    old_quota, _rest, old_period = (read_value(f"{directory}/{MAX}") or "max").partition(" ")
    quota = cpu.get("quota", old_quota)
    return "max" if quota in ("max", UNLIMITED) else int(quota), int(cpu.get("period") or old_period or CPU_PERIOD)


def _write_burst(directory: str, cpu: Mapping[str, Any]) -> bool:
    """Whether the burst has to wait, because it is more than the quota that is in force."""
    if "burst" in cpu:
        try:
            write_setting("linux.resources.cpu.burst", directory, BURST, cpu["burst"], because=_BECAUSE)
        except KernelError as error:
            if error.errno != errno.EINVAL or "quota" not in cpu:
                raise
            return True
    return False


CPU = Controller("cpu", ("cpu_quota", "cpu_weight"), observe_cpu, apply_cpu)
