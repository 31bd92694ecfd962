# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CPU time on v2 (cgroup-v2.rst, "CPU Interface Files"): cpu.max (quota and period) and cpu.weight."""

from __future__ import annotations

import errno

from ...linux.cgroupfs import read_value
from ...model.cgroup import CPU_PERIOD, UNLIMITED, Limits
from ..controller import Controller, read_number, write_limit

MAX = "cpu.max"
WEIGHT = "cpu.weight"
DEFAULT_WEIGHT = 100

_BECAUSE = {errno.EINVAL: "a quota is at least 1000 us"}


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


CPU = Controller("cpu", ("cpu_quota", "cpu_weight"), observe_cpu, apply_cpu)
