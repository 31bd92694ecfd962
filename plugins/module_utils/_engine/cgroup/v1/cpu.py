# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CPU time on v1: a quota in every period (scheduler/sched-bwc.rst) and shares among siblings (sched-design-CFS.rst).

Shares go from 2 to 262144 and are 1024 by default; Limits has v2's weight, 1 to 10000, by default 100. They are
converted by the curve that goes through both ends and both defaults (as runc 1.3 and crun 1.23 have it; the straight
line of runtime-spec's early days made 39 of 1024):

    log10(weight) = (l * l + 125 * l) / 612 - 7 / 34    where l = log2(shares)

A weight becomes the greatest number of shares that the curve, rounded up, turns into that weight again, so a second run
finds what the first one wrote. Several shares make one weight: a change by hand that is too small for the weight
to change is no drift.
"""

from __future__ import annotations

import errno
import math

from ...model.cgroup import CPU_PERIOD, UNLIMITED, Limits
from ..controller import Controller, read_number, write_limit

QUOTA = "cpu.cfs_quota_us"
PERIOD = "cpu.cfs_period_us"
SHARES = "cpu.shares"
LEAST_SHARES, MOST_SHARES = 2, 262144
DEFAULT_WEIGHT, MOST_WEIGHT = 100, 10_000

_FLOAT_ERROR = 1e-6  # far less than one share or a step of the weight, far more than a float's error here


def weight_of_shares(shares: int) -> int:
    """The v2 weight for a number of v1 shares."""
    if shares <= LEAST_SHARES:
        return 1
    if shares >= MOST_SHARES:
        return MOST_WEIGHT
    exponent = math.log2(shares)
    # 1024 is to be 100, not 100.00000000000001 and so 101.
    return math.ceil(10 ** ((exponent * exponent + 125 * exponent) / 612 - 7 / 34) - _FLOAT_ERROR)


def shares_of_weight(weight: int) -> int:
    """The v1 shares for a v2 weight: ``weight_of_shares(shares_of_weight(weight)) == weight`` for each of them."""
    exponent = (-125 + math.sqrt(125 * 125 + 4 * 612 * (math.log10(weight) + 7 / 34))) / 2
    return min(max(math.floor(2**exponent + _FLOAT_ERROR), LEAST_SHARES), MOST_SHARES)


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


CPU = Controller("cpu", ("cpu_quota", "cpu_weight"), observe_cpu, apply_cpu)
