# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Progress: what several processes count is one line."""

from __future__ import annotations

import os

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.progress import Line, Progress, bytes_of


def test_what_other_processes_count_is_seen() -> None:
    progress = Progress("pulling x", 1000, 3)
    counters = [progress.counter(already) for already in (0, 100, 0)]
    for counter in counters:
        pid = os.fork()
        if pid == 0:
            for _time in range(100):
                counter.add(2)
            os._exit(0)
        os.waitpid(pid, 0)
    assert progress.done == 700
    counters[0].set(0)
    assert progress.done == 500


def test_a_line_has_bytes_share_rate_and_time_left() -> None:
    progress = Progress("pulling x", 40_000_000, 1)
    counter = progress.counter()
    start = progress._started
    counter.add(10_000_000)
    assert progress.line(start + 2) == "pulling x: 10.0 MB of 40.0 MB (25%), 5.0 MB/s, 6 s left"
    counter.add(5_000_000)
    assert progress.line(start + 3) == "pulling x: 15.0 MB of 40.0 MB (37%), 5.0 MB/s, 5 s left"
    assert progress.line(start + 20).endswith("0 B/s") or "kB/s" in progress.line(start + 20)


def test_what_was_there_before_is_no_part_of_the_rate() -> None:
    progress = Progress("x", 100_000_000, 1)
    progress.counter(already=90_000_000).add(1_000_000)
    assert progress.rate(progress._started + 1) == 1_000_000


def test_without_a_total_there_is_no_share() -> None:
    progress = Progress("building", 0, 1)
    progress.counter().add(2000)
    assert progress.line(progress._started + 1) == "building: 2.0 kB, 2.0 kB/s"


def test_lines_come_when_it_is_time_and_at_the_end() -> None:
    lines: list[str] = []
    progress = Progress("x", 10, 1, lines.append, interval=1000)
    progress.counter().add(10)
    progress.tick()
    assert lines == []
    progress.end()
    assert len(lines) == 1 and lines[0].startswith("x: 10 B in ")


def test_a_terminal_has_one_line_and_others_have_few() -> None:
    written: list[str] = []
    line = Line(written.append, terminal=True, width=10)
    line("a line that is too long")
    line("short")
    line.end()
    line.end()
    assert written == ["\r\x1b[Ka line th", "\r\x1b[Kshort", "\n"]
    written.clear()
    line = Line(written.append, terminal=False)
    line("first")
    line("second")
    line.end()
    assert written == ["first\n"]


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (99_940, "99.9 kB"), (123_456, "123 kB"), (5e15, "5000 TB")],
)
def test_bytes_are_told_as_people_read_them(size: float, text: str) -> None:
    assert bytes_of(size) == text
