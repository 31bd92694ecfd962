# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The maps of user namespaces (user_namespaces(7)): ranges of ids inside and where they are outside.

A map is a list of ranges ``(inside, outside, size)``. Outside is as the reader's own namespace has it (the parent's
where the reader is inside).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Range = tuple[int, int, int]


def read_id_map(path: str) -> list[Range]:
    """``/proc/<pid>/uid_map`` or ``gid_map``; empty where nobody has written it yet."""
    with open(path, encoding="ascii") as lines:
        return [(int(inside), int(outside), int(size)) for inside, outside, size in map(str.split, lines)]


def find_outside(ranges: Iterable[Range], inside: int) -> int | None:
    """Where the id ``inside`` is outside; None where it is not mapped."""
    for first, outside, size in ranges:
        if first <= inside < first + size:
            return outside + inside - first
    return None


def find_missing(wanted: tuple[int, int], given: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """What of the ids ``wanted`` (the first, how many) none of ``given`` has: the first and how many, in order."""
    missing = []
    first, end = wanted[0], wanted[0] + wanted[1]
    for start, size in sorted(given):
        if start >= end:
            break
        if start > first:
            missing.append((first, start - first))
        first = max(first, start + size)
    if first < end:
        missing.append((first, end - first))
    return missing


def deny_setgroups(pid: int) -> None:
    """Write ``deny`` to /proc/<pid>/setgroups: without it nobody but root may write a gid_map (Linux 3.19).

    A group could otherwise be left that takes rights away (CVE-2014-8989).
    """
    from .procfs import write_proc  # every command imports this file, and few get here

    write_proc(f"{pid}/setgroups", "deny")
