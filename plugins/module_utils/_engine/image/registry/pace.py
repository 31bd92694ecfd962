# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a registry may take its time for: a time-out of a socket begins anew with every byte, and so ends nothing.

An answer has as long as the time-out to begin, and as long again until its headers are whole; a body in either
direction that is slower than LEAST_RATE over as long as the time-out counts as one that stands still, as curl has it
(--speed-limit, --speed-time). How long all of a pull may take is for the task to say (Ansible's ``timeout``).
"""

from __future__ import annotations

import http.client
import io
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any

LEAST_RATE = 1024  # bytes a second
_SLICE = 1 << 15  # bytes: at the least rate they are sent within the time-out's default


class Stalled(OSError):
    """What comes, or is taken, is too slow."""


class Pace:
    """How fast a body goes, over stretches of ``timeout`` seconds of waiting. ``verb`` is what bytes do."""

    def __init__(self, timeout: float, verb: str) -> None:
        self._timeout = timeout
        self._verb = verb
        self._waited, self._bytes = 0.0, 0

    def add(self, waited: float, size: int) -> None:
        """So many bytes took so many seconds. Raises Stalled."""
        self._waited += waited
        self._bytes += size
        if self._waited >= self._timeout:
            if self._bytes < LEAST_RATE * self._waited:
                raise Stalled(f"only {self._bytes} bytes {self._verb} in {self._waited:.0f} s")
            self._waited, self._bytes = 0.0, 0


def send(connection: http.client.HTTPConnection, piece: bytes, pace: Pace) -> None:
    """Send a piece of a body. A time-out is of each slice as a whole (sendall), or of what TLS takes of one."""
    view = memoryview(piece)
    for start in range(0, len(view), _SLICE):
        part, began = view[start : start + _SLICE], time.monotonic()
        connection.send(part)
        pace.add(time.monotonic() - began, len(part))


class Answer(http.client.HTTPResponse):
    """An answer whose headers, or one part of whose body in chunks, take as long as the time-out at most."""

    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self.raw = _Timed(self.fp.detach(), sock.gettimeout() or 0)
        self.fp = io.BufferedReader(self.raw)
        self.raw.start()

    def begin(self) -> None:
        super().begin()
        self.raw.stop()

    def read_some(self, size: int) -> bytes:
        """read1(), of a body without a length: what stands between its chunks, and behind them, may have no end."""
        self.raw.start()
        try:
            return self.read1(size)
        finally:
            self.raw.stop()


def patient(connection: http.client.HTTPConnection) -> http.client.HTTPConnection:
    """The same, with answers of the kind above."""
    connection.response_class = Answer
    return connection


def answer_to(connection: http.client.HTTPConnection) -> Answer:
    """What a connection answers that went through patient()."""
    return connection.getresponse()  # type: ignore[return-value]


class _Timed(io.RawIOBase):
    """A socket's bytes; between start() and stop() they may come for ``timeout`` seconds from the first of them on."""

    def __init__(self, raw: io.RawIOBase, timeout: float) -> None:
        self._raw = raw
        self._timeout = timeout
        self._watched = False
        self._ends = 0.0

    def start(self) -> None:
        self._watched, self._ends = True, 0.0

    def stop(self) -> None:
        self._watched = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        count: int | None = self._raw.readinto(buffer)
        if self._watched and self._timeout:
            now = time.monotonic()
            if not self._ends:
                self._ends = now + self._timeout
            elif now > self._ends:
                raise Stalled(f"headers, or what stands between parts of a body, took more than {self._timeout:.0f} s")
        return count

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()
