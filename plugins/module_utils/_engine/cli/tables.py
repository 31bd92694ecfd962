# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables and words for people: columns that fit, sizes and ages as one would say them, colour on a terminal."""

from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_COLOURS = {"bold": "1", "green": "32", "red": "31", "yellow": "33", "dim": "2"}


def coloured(text: str, colour: str) -> str:
    """``text`` in colour where stdout is a terminal and NO_COLOR is not set (no-color.org)."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\033[{_COLOURS[colour]}m{text}\033[0m"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], colours: Sequence[str] = ()) -> str:
    """Rows under heads, columns as wide as their widest cell; ``colours`` has one for each row's second cell."""
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    lines = [coloured("   ".join(head.ljust(width) for head, width in zip(heads, widths)).rstrip(), "bold")]
    for number, row in enumerate(rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths)]
        if number < len(colours) and len(cells) > 1:
            cells[1] = coloured(cells[1], colours[number])
        lines.append("   ".join(cells).rstrip())
    return "\n".join(lines) + "\n"


def size(count: int) -> str:
    """Bytes as people say them: ``1.2 MiB``; ``-`` where there is no limit."""
    if count < 0:
        return "-"
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1023.5:  # what rounds to 1024 is one of the next unit
            return f"{value:.0f} {unit}" if unit == "B" or value >= 10 else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def age(timestamp: str) -> str:
    """How long ago an RFC 3339 time in UTC was: ``3 minutes``; empty where there is none."""
    if not timestamp:
        return ""
    parsed = time.strptime(timestamp[:19], "%Y-%m-%dT%H:%M:%S")
    seconds = max(0, int(time.time()) - _seconds_utc(parsed))
    for length, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= length:
            count = seconds // length
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return f"{seconds} second{'s' if seconds != 1 else ''}"


def _seconds_utc(parsed: time.struct_time) -> int:
    import calendar  # only ages need it

    return calendar.timegm(parsed)
