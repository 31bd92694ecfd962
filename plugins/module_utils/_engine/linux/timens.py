# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clocks of one's own: time_namespaces(7), Linux 5.6. Errors: OSError with the path."""

from __future__ import annotations

import time

from .namespaces import CLONE_NEWTIME, unshare
from .procfs import write_proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

CLOCKS = {"monotonic": time.CLOCK_MONOTONIC, "boottime": time.CLOCK_BOOTTIME}
# kernel/time/namespace.c: no clock below zero, nor beyond half of what 63 bits of nanoseconds hold, in seconds.
LATEST = (1 << 63) // 1_000_000_000 // 2


def unshare_time(offsets: Mapping[str, tuple[int, int]]) -> None:
    """Have the children of this process be born in a new time namespace, whose clocks are off by (s, ns) from ours.

    The first process in it seals the offsets, which is why its own clone3(2) would come too late for them.
    """
    unshare(CLONE_NEWTIME)
    if not offsets:
        return
    lines = (f"{clock} {seconds} {nanoseconds}\n" for clock, (seconds, nanoseconds) in offsets.items())
    write_proc("self/timens_offsets", "".join(lines))
