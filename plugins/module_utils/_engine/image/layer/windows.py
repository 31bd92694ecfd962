# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The memory that zstd data asks for: its window (RFC 8878, section 3.1.1.1.2), which a decoder keeps.

8 MB is what the RFC advises to support, and what `zstd -19`, skopeo, podman and BuildKit use unless told otherwise; at
their highest levels the latter use 32 MB. More takes `zstd --long`, or `--ultra -21`, and is refused. Of the layers of
an image at most two in zstd are unpacked at once, and one with a large window alone, so that a pull stays under 80 MB.
"""

from __future__ import annotations

import fcntl
import os

from ...errors import InvalidImage

MAX_WINDOW = 32 << 20  # bytes
_USUAL = 8 << 20
_DECODERS = 2


class Windows:
    """The decoders of one image. Processes share it that are forked from here on; what one holds ends with it."""

    def __init__(self) -> None:
        # Locks of fcntl(2) belong to a process, those of flock(2) to all that have inherited the file.
        self._file = os.fdopen(os.memfd_create("windows"), "r+b")

    def enter(self, size: int) -> None:
        """Wait until this process may have a window of that size."""
        if size > _USUAL:
            fcntl.lockf(self._file, fcntl.LOCK_EX, _DECODERS)
            return
        for place in range(_DECODERS):
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
                return
            except OSError:  # EACCES or EAGAIN: another has it
                continue
        fcntl.lockf(self._file, fcntl.LOCK_EX, 1, os.getpid() % _DECODERS)


def window_of(first: bytes) -> int:
    """The window, in bytes, of the frame that ``first`` begins. Raises InvalidImage where it is too large."""
    if len(first) < 6:
        raise InvalidImage("the layer's zstd data ends too early")
    descriptor = first[4]
    if descriptor & 0x20:  # a single segment: its window is its content
        field = 5 + (0, 1, 2, 4)[descriptor & 3]
        length = (1, 2, 4, 8)[descriptor >> 6]
        size = int.from_bytes(first[field : field + length], "little") + (256 if length == 2 else 0)
    else:
        base = 1 << (10 + (first[5] >> 3))
        size = base + (base >> 3) * (first[5] & 7)
    if size > MAX_WINDOW:
        raise InvalidImage(
            f"the layer's zstd data takes a window of {size >> 20} MB of memory, more than {MAX_WINDOW >> 20} MB: "
            "have it compressed without --long, and at a level of 20 at most"
        )
    return size
