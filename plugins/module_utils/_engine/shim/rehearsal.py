# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a launcher does so that the monitors that it forks share more of its memory: a quarter less is each one's own.

A page that is written to after the fork is copied. Python writes where nobody would think so: what a name means on a
is remembered at its first use (the method cache, Objects/typeobject.c), code is specialised when it has run a few times
(PEP 659), and a new object takes the next free block of its size, on a page that is full of others' objects.
"""

from __future__ import annotations

import os

from ..linux.lean import suppress
from .monitor import Birth, watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Code is specialised after eight runs in Python 3.11, and its places by and by.
_TIMES = 10
_POOL_MASK, _POOL_HEADER = (1 << 14) - 1, 48
_SIZES = range(16, 513, 16)
_MOST_BLOCKS = 4096

# The objects that fill up pools, for good.
_fillers: list[Any] = []


def rehearse_monitor() -> None:
    """Watch over nothing, on pipes that have ended, a few times."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for _time in range(_TIMES):
        pipes = [os.pipe() for _pipe in range(5)]
        for _reader, writer in pipes:
            with suppress(OSError):
                os.write(writer, b'{"name": "%s", "monitor": %d}\n' % (b"rehearsal", os.getpid()))
            os.close(writer)
        launcher, init, out, err, end = (reader for reader, _writer in pipes)
        os.close(os.pidfd_open(os.getpid()))
        with suppress(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
        birth = Birth(0, null, init, out, err)
        watch({"runtime": "", "patience": 1.0}, null, launcher, birth, end)
        for reader, _writer in pipes:
            os.close(reader)
    os.close(null)


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
