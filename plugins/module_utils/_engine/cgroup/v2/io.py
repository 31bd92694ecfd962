# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Block devices on v2 (cgroup-v2.rst, "IO Interface Files"): io.max, and the weights of BFQ or of the cost model."""

from __future__ import annotations

import os

from ..controller import write_setting
from ..v1.blkio import BECAUSE, THROTTLES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

MAX = "io.max"
_KEYS = dict(zip(THROTTLES, ("rbps", "wbps", "riops", "wiops")))
_OPTION = "linux.resources.blockIO"


def write_io(directory: str, block_io: Mapping[str, Any]) -> None:
    """``linux.resources.blockIO``; there is no leafWeight here (resources.py refuses it)."""
    bfq = os.path.exists(f"{directory}/io.bfq.weight")
    file = "io.bfq.weight" if bfq else "io.weight"
    if "weight" in block_io:
        weight = block_io["weight"] if bfq else io_weight(block_io["weight"])
        write_setting(f"{_OPTION}.weight", directory, file, weight, because=BECAUSE)
    for index, entry in enumerate(block_io.get("weightDevice") or ()):
        if not entry.get("weight"):
            continue  # 0 is no weight, as on v1
        weight = entry["weight"] if bfq else io_weight(entry["weight"])
        value = f"{entry['major']}:{entry['minor']} {weight}"
        write_setting(f"{_OPTION}.weightDevice[{index}].weight", directory, file, value, because=BECAUSE)
    for name, key in _KEYS.items():
        for index, entry in enumerate(block_io.get(name) or ()):
            # v1 takes 0 for no limit, v2 refuses it.
            value = f"{entry['major']}:{entry['minor']} {key}={entry['rate'] or 'max'}"
            write_setting(f"{_OPTION}.{name}[{index}]", directory, MAX, value, because=BECAUSE)


def io_weight(weight: int) -> int:
    """v1's 10 to 1000 as io.weight's 1 to 10000: the straight line through both ends, as runc and crun have it."""
    return 1 + (max(weight, 10) - 10) * 9999 // 990
