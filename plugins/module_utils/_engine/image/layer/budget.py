# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an image's layers may come to when they are unpacked, however small they are on their way.

Bytes and entries are counted for all layers of an image together, in memory that the processes which unpack them share.
Going beyond is InvalidImage. Sizes are in bytes.
"""

from __future__ import annotations

import mmap
from typing import NamedTuple

from ...errors import InvalidImage
from .windows import Windows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...model.image import Limits

_ENTRIES_AT_ONCE = 1000  # the others are asked about so often


class Budget(NamedTuple):
    """How much may be unpacked: uncompressed bytes, holes among them, and entries; in so many seconds of a processor.

    Inflating 64 GB takes three minutes; what takes an hour is made to: links that lead through thousands of names, a
    million times. ``spent`` is what the layers of one image share; without it, a layer has all for itself.
    """

    size: int = 64 << 30
    entries: int = 4_000_000
    seconds: int = 3600
    spent: Spent | None = None

    def of_image(self, diff_ids: Iterable[str]) -> Budget:
        """The same for these layers together. Processes share it that are forked from here on."""
        return self._replace(spent=Spent(diff_ids))


class Rules(NamedTuple):
    """What a layer may have (rules.py). Without ``devices`` one that has a device is refused (a pipe is none), without
    ``setuid`` one that has a file with a set-user-ID or set-group-ID bit or with capabilities."""

    devices: bool = True
    setuid: bool = True


DEFAULT_BUDGET = Budget()
DEFAULT_RULES = Rules()


def budget_of(limits: Limits) -> Budget:
    return Budget(limits.size, limits.entries)


def rules_of(limits: Limits) -> Rules:
    return Rules(devices=limits.devices, setuid=limits.setuid)


class Spent:
    """Bytes and entries of each layer so far, each in a place of its own, so that nothing is locked; and the memory
    that is taken to decompress them."""

    def __init__(self, diff_ids: Iterable[str]) -> None:
        self._places = {diff_id: number for number, diff_id in enumerate(dict.fromkeys(diff_ids))}
        self.windows = Windows()
        self._numbers = memoryview(mmap.mmap(-1, 16 * max(1, len(self._places)))).cast("q")

    def together(self, diff_id: str, size: int, entries: int) -> tuple[int, int]:
        """What all layers come to, with this one at ``size`` and ``entries``."""
        place = self._places.get(diff_id)
        if place is None:
            return size, entries
        self._numbers[2 * place], self._numbers[2 * place + 1] = size, entries
        return sum(self._numbers[::2]), sum(self._numbers[1::2])


class Account:
    """One layer's part of a budget."""

    def __init__(self, budget: Budget, diff_id: str) -> None:
        self._budget = budget
        self._diff_id = diff_id
        self._size = 0
        self._entries = 0
        self._check()

    def add_size(self, size: int) -> None:
        """A file of that size is coming. Raises InvalidImage."""
        self._size += size
        self._check()

    def add_entry(self) -> None:
        """An entry is coming. Raises InvalidImage."""
        self._entries += 1
        if self._entries > self._budget.entries or not self._entries % _ENTRIES_AT_ONCE:
            self._check()

    def _check(self) -> None:
        budget, spent = self._budget, self._budget.spent
        # Holes take nothing from the archive's own size.
        if self._size > budget.size:
            raise InvalidImage(f"the layer holds more than {budget.size} bytes uncompressed")
        if self._entries > budget.entries:
            raise InvalidImage(f"the layer has more than {budget.entries} entries")
        if spent is not None:
            size, entries = spent.together(self._diff_id, self._size, self._entries)
            if size > budget.size or entries > budget.entries:
                raise InvalidImage(
                    f"with it, the image's layers hold more than {budget.size} bytes or {budget.entries} entries"
                )
