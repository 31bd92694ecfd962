# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where new objects go in memory: what is made after fill_pools() lies together, apart from all that was there before.

A page that is written to after a fork is copied, and to use an object is to write to it: its references are counted. So
what a process uses after its fork should be on as few pages as can be, which is where it is when it was made at once.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_POOL_MASK, _POOL_HEADER = (1 << 14) - 1, 48
_SIZES = range(16, 513, 16)
_MOST_BLOCKS = 4096

# The objects that fill up pools, for good.
_fillers: list[Any] = []


def fill_pools() -> None:
    """Leave no free block on a page that has objects already.

    pymalloc (Objects/obmalloc.c, 3.10 on) has pools of 16 KiB for blocks of each size up to 512 bytes. A block right
    behind a pool's header is the first of a pool that was empty: then those before it were full. Where that never
    comes, in another Python, no more than _MOST_BLOCKS are taken.
    """
    for size in _SIZES:
        for count in range(_MOST_BLOCKS):
            block: Any = object() if size == 16 else count + 0.5 if size == 32 else bytes(size - 33)
            if id(block) & _POOL_MASK == _POOL_HEADER:
                break
            _fillers.append(block)
