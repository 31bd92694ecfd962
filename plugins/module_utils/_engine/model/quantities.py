# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The numbers that limits are written in: no limit, the engine's CPU period, pages, lists of processors."""

from __future__ import annotations

import os

from ..errors import InvalidOption

UNLIMITED = -1
CPU_PERIOD = 100_000
PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")

# No kernel has as many processors or memory nodes (NR_CPUS); a longer list is a slip of the pen.
_MAX_CPU = 1 << 16


def parse_cpu_list(option: str, text: str) -> frozenset[int]:
    """The numbers in a list as cpuset(7), FORMATS, writes it: ``0-3,8``. Raises InvalidOption."""
    numbers: set[int] = set()
    for part in text.split(",") if text.strip() else []:
        first, dash, last = part.strip().partition("-")
        # isdecimal() alone takes other scripts' digits too.
        if not (first + (last or "0")).isdecimal() or not text.isascii() or not first or (dash and not last):
            raise InvalidOption(option, text, "numbers and ranges joined by commas, such as 0-3,8")
        low, high = int(first), int(last or first)
        if low > high or high >= _MAX_CPU:
            raise InvalidOption(option, text, f"ranges that go up, of numbers below {_MAX_CPU}, such as 0-3,8")
        numbers.update(range(low, high + 1))
    return frozenset(numbers)


def format_cpu_list(numbers: frozenset[int]) -> str:
    """The list as the kernel prints it (bitmap_print_to_pagebuf() with ``%*pbl``): ranges, in order."""
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(f"{low}-{high}" if low < high else f"{low}" for low, high in ranges)
