# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a transfer is: bytes, rate and time left, over all processes that take part.

The counters are memory that worker processes share with whoever shows them; each writer has a counter of its own, so
none waits for another. What is shown is text: a line that is drawn anew on a terminal, lines now and then elsewhere.
"""

from __future__ import annotations

import mmap
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Show = Callable[[str], None]

_WINDOW = 3.0  # seconds that the rate is taken over
_UNITS = ("B", "kB", "MB", "GB", "TB")


class Counter:
    """Counts one writer's bytes; may be used in a worker process that was started after it was made."""

    def __init__(self, cell: memoryview) -> None:
        self._cell = cell

    def add(self, size: int) -> None:
        self._cell[0] += size

    def set(self, size: int) -> None:
        """What was counted was in vain, or is known otherwise."""
        self._cell[0] = size


class Progress:
    """``what`` goes on, with ``total`` bytes to go in ``writers`` counters. ``show`` gets a line when there is news.

    ``interval``: seconds between lines at least. Times are those of time.monotonic().
    """

    def __init__(self, what: str, total: int, writers: int, show: Show | None = None, *, interval: float = 0.2) -> None:
        self.what = what
        self.total = total
        self._show = show
        self._interval = interval
        self._memory = mmap.mmap(-1, max(1, writers) * 8)
        self._cells = memoryview(self._memory).cast("q")
        self._used = 0
        self._started = self._shown = time.monotonic()
        self._seen: list[tuple[float, int]] = [(self._started, 0)]

    def counter(self, already: int = 0) -> Counter:
        """The next writer's counter; ``already`` bytes are there, and are no part of the rate."""
        cell = self._cells[self._used : self._used + 1]
        cell[0] = already
        self._used += 1
        self._seen = [(self._started, self.done)]
        return Counter(cell)

    @property
    def done(self) -> int:
        """Bytes so far."""
        return sum(self._cells[: self._used])

    def rate(self, now: float | None = None) -> float:
        """Bytes a second, of late."""
        now = time.monotonic() if now is None else now
        done = self.done
        self._seen.append((now, done))
        while len(self._seen) > 2 and self._seen[1][0] < now - _WINDOW:
            del self._seen[0]
        then, before = self._seen[0]
        return max(0.0, (done - before) / (now - then)) if now > then else 0.0

    def tick(self) -> None:
        """Show a line, if it is time."""
        now = time.monotonic()
        if self._show is not None and now - self._shown >= self._interval:
            self._shown = now
            self._show(self.line(now))

    def end(self) -> None:
        """Show the last line: what was done, in how long."""
        if self._show is not None:
            took = max(time.monotonic() - self._started, 1e-3)
            self._show(f"{self.what}: {bytes_of(self.done)} in {took:.1f} s, {bytes_of(self.done / took)}/s")

    def line(self, now: float | None = None) -> str:
        """``pulling x: 12.3 MB of 40.0 MB (31%), 8.1 MB/s, 3 s left``"""
        rate, done = self.rate(now), self.done
        share = f" of {bytes_of(self.total)} ({min(100, done * 100 // self.total)}%)" if self.total else ""
        left = f", {_duration((self.total - done) / rate)} left" if rate > 0 and self.total > done else ""
        return f"{self.what}: {bytes_of(done)}{share}, {bytes_of(rate)}/s{left}"


class Line:
    """Shows lines on the stream ``write`` writes to: on a ``terminal`` one line that is drawn anew, as wide as
    ``width`` at most; elsewhere a line each, ten seconds apart."""

    def __init__(self, write: Show, *, terminal: bool, width: int = 80) -> None:
        self._write = write
        self._terminal = terminal
        self._width = width
        self._last = -10.0
        self.drawn = False

    def __call__(self, text: str) -> None:
        if self._terminal:
            self._write(f"\r\x1b[K{text[: self._width - 1]}")
            self.drawn = True
        elif time.monotonic() - self._last >= 10:
            self._last = time.monotonic()
            self._write(f"{text}\n")

    def end(self) -> None:
        """Leave the line as it is, for what comes after it."""
        if self.drawn:
            self._write("\n")
            self.drawn = False


def bytes_of(size: float) -> str:
    """A number of bytes as people read it: ``12.3 MB``."""
    unit = 0
    while size >= 999.5 and unit < len(_UNITS) - 1:
        size /= 1000
        unit += 1
    return f"{size:.1f} {_UNITS[unit]}" if unit and size < 100 else f"{size:.0f} {_UNITS[unit]}"


def _duration(seconds: float) -> str:
    whole = int(seconds + 0.999)
    if whole < 60:
        return f"{whole} s"
    minutes, whole = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {whole} s"
