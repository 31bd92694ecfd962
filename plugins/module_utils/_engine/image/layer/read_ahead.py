# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An iterator that a thread runs ahead of whoever reads it, by some pieces at most; what it raises is raised there.

It helps where making a piece happens without the interpreter's lock, as zlib's and hashlib's functions do.
"""

from __future__ import annotations

import queue
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_DEPTH = 8  # pieces


def read_ahead(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same pieces."""
    ready: queue.SimpleQueue[bytes | BaseException] = queue.SimpleQueue()
    room = threading.Semaphore(_DEPTH)

    def run() -> None:
        try:
            for piece in pieces:
                room.acquire()
                ready.put(piece)
            ready.put(b"")
        except BaseException as error:
            ready.put(error)

    threading.Thread(target=run, daemon=True).start()
    return _take(ready, room)


def _take(ready: queue.SimpleQueue[bytes | BaseException], room: threading.Semaphore) -> Iterator[bytes]:
    while True:
        piece = ready.get()
        if isinstance(piece, BaseException):
            raise piece
        if not piece:
            return
        room.release()
        yield piece
