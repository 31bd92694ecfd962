# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""v1's CPU shares and v2's weight, each as the other.

Shares go from 2 to 262144 and are 1024 by default; a weight goes from 1 to 10000 and is 100 by default. They are
converted by the curve that goes through both ends and both defaults (as runc 1.3 and crun 1.23 have it; the straight
line of runtime-spec's early days made 39 of 1024):

    log10(weight) = (l * l + 125 * l) / 612 - 7 / 34    where l = log2(shares)

A weight becomes the greatest number of shares that the curve, rounded up, turns into that weight again, so a second run
finds what the first one wrote. Several shares make one weight: a change by hand that is too small for the weight
to change is no drift.
"""

from __future__ import annotations

import math

LEAST_SHARES, MOST_SHARES = 2, 262144
MOST_WEIGHT = 10_000

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
