# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Netlink to the kernel's routing family, many messages to a system call: netlink(7), rtnetlink(7).

What is here knows of messages, attributes, dumps and errors; linux/rtnetlink.py knows of links, routes and neighbours.
A message costs about 10 us this way, so that the tables which grow with the fleet cost milliseconds.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from typing import NamedTuple

from ..errors import KernelError
from .libc import check, libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    # A whole datagram, and where in it a message's payload starts and ends.
    Message = tuple[bytes, int, int]

# linux/netlink.h
NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_DUMP_INTR = 0x10
NLM_F_ACK_TLVS = 0x200
NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_DUMP = 0x300
NLMSG_ERROR = 2
NLMSG_DONE = 3
NLA_F_NESTED = 0x8000
NLMSGERR_ATTR_MSG = 1
_SOL_NETLINK = 270
_NETLINK_CAP_ACK = 10
_NETLINK_EXT_ACK = 11
_NETLINK_GET_STRICT_CHK = 12

_CLONE_NEWNET = 0x40000000

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_ATTRIBUTE = struct.Struct("=HH")  # rtattr: length, type
_ERROR = struct.Struct("=i")

# A batch stays well under the send buffer's 208 KiB; the kernel works through it before sendmsg(2) returns.
BATCH = 512
# Dumps come in pieces of 32 KiB at most (netlink_dump() in af_netlink.c) if the reader offers that much room.
_ROOM = 65536
_INTERRUPTED_DUMPS = 8


class Request(NamedTuple):
    """A message to send. ``what`` says in words what it does, for errors: it is joined by spaces only then."""

    kind: int
    flags: int
    body: bytes
    what: tuple[str, ...]


class Netlink:
    """A socket of the routing family, in this network namespace or in the one that the descriptor ``netns`` is.

    Use it with ``with``. One socket serves one thread.
    """

    def __init__(self, netns: int | None = None) -> None:
        with contextlib.nullcontext() if netns is None else _inside(netns):
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._sequence = 0
        for option in (_NETLINK_CAP_ACK, _NETLINK_EXT_ACK, _NETLINK_GET_STRICT_CHK):
            # Kernels before 4.20 lack the last: they then ignore a dump's filter, and readers filter all the same.
            with contextlib.suppress(OSError):
                self._socket.setsockopt(_SOL_NETLINK, option, 1)

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._socket.close()

    def dump(self, kind: int, body: bytes, what: str) -> list[Message]:
        """All entries that the request matches. Raises KernelError.

        A table that changed while it was read (NLM_F_DUMP_INTR) is read again, up to eight times: one that never
        holds still is then taken as it is, since the next look would be no truer.
        """
        for _rest in range(_INTERRUPTED_DUMPS):
            messages, whole = self._dump(kind, body, what)
            if whole:
                break
        return messages

    def _dump(self, kind: int, body: bytes, what: str) -> tuple[list[Message], bool]:
        self._sequence += 1
        header = _HEADER.pack(_HEADER.size + len(body), kind, NLM_F_REQUEST | NLM_F_DUMP, self._sequence, 0)
        self._socket.send(header + body)
        found: list[Message] = []
        whole = True
        while True:
            data = self._socket.recv(_ROOM)
            for answer, flags, start, end in _messages(data):
                if answer in (NLMSG_DONE, NLMSG_ERROR):
                    code = -_ERROR.unpack_from(data, start)[0] if end - start >= _ERROR.size else 0
                    if code:
                        raise KernelError(what, OSError(code, os.strerror(code)))
                    return found, whole
                whole = whole and not flags & NLM_F_DUMP_INTR
                found.append((data, start, end))

    def query(self, kind: int, body: bytes, what: str) -> Message | None:
        """The one entry that is asked for; None where there is no such thing. Raises KernelError."""
        self._sequence += 1
        self._socket.send(_HEADER.pack(_HEADER.size + len(body), kind, NLM_F_REQUEST, self._sequence, 0) + body)
        data = self._socket.recv(_ROOM)
        for answer, _rest, start, end in _messages(data):
            if answer != NLMSG_ERROR:
                return data, start, end
            code = -_ERROR.unpack_from(data, start)[0]
            if code not in (errno.ENODEV, errno.ENOENT):
                raise KernelError(what, OSError(code, os.strerror(code)))
        return None

    def execute(self, requests: Sequence[Request], *, tolerate: Collection[int] = ()) -> None:
        """Do all of ``requests``, in order. Raises KernelError for the first that fails, after all were tried.

        ``tolerate`` are errno values that mean "it is so already". Only a batch's last message asks for an
        acknowledgement: errors are answered in any case (netlink_rcv_skb() in af_netlink.c), and 3,000
        acknowledgements would overflow the receive buffer.
        """
        failed: KernelError | None = None
        for first in range(0, len(requests), BATCH):
            error = self._batch(requests[first : first + BATCH], tolerate)
            failed = failed or error
        if failed is not None:
            raise failed

    def _batch(self, requests: Sequence[Request], tolerate: Collection[int]) -> KernelError | None:
        base = self._sequence + 1
        self._sequence += len(requests)
        pieces = []
        for sequence, (kind, flags, body, _rest) in enumerate(requests, base):
            acknowledge = NLM_F_ACK if sequence == self._sequence else 0
            length = _HEADER.size + len(body)
            pieces.append(_HEADER.pack(length, kind, flags | NLM_F_REQUEST | acknowledge, sequence, 0) + body)
        self._socket.send(b"".join(pieces))
        failed: KernelError | None = None
        for code, sequence, text in self._answers():
            if code and code not in tolerate and failed is None:
                cause = OSError(code, os.strerror(code) + (f" ({text})" if text else ""))
                failed = KernelError(" ".join(requests[sequence - base].what), cause)
                failed.__cause__ = cause
            if sequence == self._sequence:
                break
        return failed

    def _answers(self) -> Iterator[tuple[int, int, str]]:
        """errno (0: done), sequence number and the kernel's own words (4.12 and later) of each answer."""
        while True:
            try:
                data = self._socket.recv(_ROOM)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                continue  # some errors were lost, the acknowledgement that ends the batch is still to come
            for kind, flags, start, end in _messages(data):
                if kind == NLMSG_ERROR:
                    # nlmsgerr: the error, then the header of the message that is answered, capped there.
                    sequence = _HEADER.unpack_from(data, start + 4)[3]
                    text = b""
                    if flags & NLM_F_ACK_TLVS:
                        text = attributes(data, start + 20, end).get(NLMSGERR_ATTR_MSG, b"")
                    yield -_ERROR.unpack_from(data, start)[0], sequence, text.rstrip(b"\0").decode(errors="replace")


def _messages(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Type, flags, start and end of the payload of each message in a datagram."""
    offset, size = 0, len(data)
    unpack = _HEADER.unpack_from
    while offset < size:
        length, kind, flags, _rest, _rest = unpack(data, offset)
        yield kind, flags, offset + 16, offset + length
        offset += (length + 3) & ~3


def attributes(data: bytes, start: int, end: int) -> dict[int, bytes]:
    """The attributes (rtattr) between two offsets, by type, without the flags in the type's upper bits."""
    found = {}
    unpack = _ATTRIBUTE.unpack_from
    while start < end:
        length, kind = unpack(data, start)
        found[kind & 0x3FFF] = data[start + 4 : start + length]
        start += (length + 3) & ~3
    return found


def nested(data: bytes) -> dict[int, bytes]:
    """The attributes inside an attribute."""
    return attributes(data, 0, len(data))


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    return _ATTRIBUTE.pack(len(value) + 4, kind) + value + b"\0" * (-len(value) % 4)


def nest(kind: int, *inner: bytes) -> bytes:
    """An attribute made of attributes."""
    return attribute(kind | NLA_F_NESTED, b"".join(inner))


def text(kind: int, value: str) -> bytes:
    """An attribute that is a string with its closing zero."""
    return attribute(kind, value.encode() + b"\0")


def number(kind: int, value: int) -> bytes:
    """An attribute that is a 32-bit number of this machine's byte order."""
    return attribute(kind, struct.pack("=I", value))


@contextlib.contextmanager
def _inside(netns: int) -> Iterator[None]:
    """This thread in another network namespace for a moment (setns(2)): a socket belongs to where it was opened."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        check(libc().setns(netns, _CLONE_NEWNET), "network namespace")
        try:
            yield
        finally:
            check(libc().setns(home, _CLONE_NEWNET), "network namespace")
    finally:
        os.close(home)
