# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all benchmarks share: rounds in which ours and the peers take turns, medians, and the table.

A machine that others use too is slow by turns. What takes turns is slow together, so a ratio holds where a figure alone
does not.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

# The kernel takes namespaces and links apart in the background, which is not to be measured with what comes next.
_PAUSE = 0.1

Measure = Callable[[], float]


@dataclass(frozen=True)
class Row:
    """One line of a table. ``ours`` and ``peer`` are medians in ``unit``; None where there is none.

    ``wanted`` bounds ``ours / peer`` from above where ``of_ratio``, else ``ours``; None: for the reader only.
    """

    what: str
    ours: float | None
    peer: float | None = None
    peer_name: str = ""
    unit: str = "ms"
    wanted: float | None = None
    of_ratio: bool = False
    times_faster: float | None = None
    times_more: float | None = None

    @property
    def ratio(self) -> float | None:
        return None if self.ours is None or not self.peer else self.ours / self.peer

    @property
    def met(self) -> bool | None:
        if self.times_faster is not None:
            return None if not self.ratio else 1 / self.ratio >= self.times_faster
        if self.times_more is not None:
            return None if not self.ratio else self.ratio >= self.times_more
        value = self.ratio if self.of_ratio else self.ours
        return None if self.wanted is None or value is None else value < self.wanted

    def cells(self) -> list[str]:
        wanted = ""
        if self.times_faster is not None:
            wanted = f"{self.times_faster:g} times faster"
        elif self.times_more is not None:
            wanted = f"{self.times_more:g} times as many"
        elif self.wanted is not None:
            wanted = f"ratio < {self.wanted:g}" if self.of_ratio else f"< {self.wanted:g} {self.unit}"
        peer = f"{_number(self.peer)} {self.unit} ({self.peer_name})" if self.peer is not None else self.peer_name
        return [
            self.what,
            f"{_number(self.ours)} {self.unit}" if self.ours is not None else "",
            peer,
            f"{self.ratio:.2f}" if self.ratio is not None else "",
            wanted,
            {None: "", True: "yes", False: "NO"}[self.met],
        ]


HEAD = ["what", "ours", "peer", "ratio", "wanted", "met"]


def take_turns(rounds: int, measures: Mapping[str, Measure], *, warm_up: bool = True) -> dict[str, float]:
    """The median of each measure, all of them taken in turn, after one round that does not count."""
    found: dict[str, list[float]] = {name: [] for name in measures}
    for number in range(rounds + warm_up):
        for name, measure in measures.items():
            time.sleep(_PAUSE)
            value = measure()
            if number or not warm_up:
                found[name].append(value)
    return {name: statistics.median(values) for name, values in found.items()}


def milliseconds(action: Callable[[], object]) -> float:
    """How long ``action`` takes."""
    start = time.perf_counter()
    action()
    return (time.perf_counter() - start) * 1000


def render_text(rows: list[Row]) -> str:
    """The table for a terminal."""
    lines = [HEAD, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    texts = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join(texts)


def render_markdown(rows: list[Row]) -> str:
    """The table for a page."""
    lines = [HEAD, ["---", "---:", "---:", "---:", "---", "---"], *(row.cells() for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"
