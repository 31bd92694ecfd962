# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``linux.timeOffsets``: how far the clocks of a container are from the host's (runtime-spec, config-linux.md)."""

from __future__ import annotations

import time

from ...errors import InvalidOption
from ...linux.timens import CLOCKS, LATEST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def parse_time_offsets(linux: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Seconds and nanoseconds by clock. InvalidOption where a clock would be what the kernel's cannot be."""
    offsets = {}
    for clock, offset in (linux.get("timeOffsets") or {}).items():
        seconds, nanoseconds = offset.get("secs") or 0, offset.get("nanosecs") or 0
        now = int(time.clock_gettime(CLOCKS[clock]))
        if not 0 <= now + seconds < LATEST:
            expected = f"a number from {-now} to {LATEST - now - 1}, because the clock stands at {now}"
            raise InvalidOption(f"linux.timeOffsets.{clock}.secs", seconds, expected)
        offsets[clock] = (seconds, nanoseconds)
    return offsets
