# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ids that may be used in user namespaces, as the host's administrator gives them out (subuid(5), subgid(5))."""

from __future__ import annotations


def read_subordinate_ids(path: str) -> list[tuple[str, int, int]]:
    """(owner, first id, how many) of each line; one that does not parse counts for nothing, nor does a missing file."""
    found = []
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return []
    for line in lines:
        owner, *numbers = line.split(":")
        if (
            owner[:1] not in ("", "#")
            and len(numbers) == 2
            and all(number.isascii() and number.isdecimal() for number in numbers)
        ):
            found.append((owner, int(numbers[0]), int(numbers[1])))
    return found
