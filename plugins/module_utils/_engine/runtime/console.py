# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container's terminal on its way to whoever serves it: as a descriptor over a socket, and relayed to our own."""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import select
import signal
import socket
import struct
import termios
import tty

from ..errors import RuntimeFailed
from .steps.devices import TIOCSWINSZ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeVar

    Sender = TypeVar("Sender", bound="DescriptorSender")


class DescriptorSender:
    """Sends a descriptor over a connected Unix socket, named as runc names it (SCM_RIGHTS, unix(7))."""

    name = b"pidfd"

    def __init__(self, fd: int) -> None:
        self.fd = fd

    @classmethod
    def connect(cls: type[Sender], path: str, option: str = "--console-socket") -> Sender:
        """To the socket that ``option`` names. Raises RuntimeFailed."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(path)
        except OSError as error:
            raise RuntimeFailed(f"{option} {path}: {error.strerror or error}") from error
        return cls(connection.detach())

    def __call__(self, fd: int) -> None:
        with socket.socket(fileno=os.dup(self.fd)) as connection:
            connection.sendmsg([self.name], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])

    def close(self) -> None:
        """Close the socket."""
        os.close(self.fd)


class ConsoleSender(DescriptorSender):
    """Sends a terminal's master (runc's docs/terminals.md), as conmon and containerd want."""

    name = b"/dev/ptmx"

    @classmethod
    def pair(cls) -> tuple[ConsoleSender, socket.socket]:
        """To a socket of our own."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        return _RelayedSender(theirs.detach()), ours


class _RelayedSender(ConsoleSender):
    """Of a terminal that we relay to our own, which makes "\\n" a new line: a file shall have what was written."""

    def __call__(self, fd: int) -> None:
        modes = termios.tcgetattr(fd)
        modes[1] &= ~termios.ONLCR
        termios.tcsetattr(fd, termios.TCSANOW, modes)
        super().__call__(fd)


def receive_console(connection: socket.socket) -> int:
    """The master that was sent."""
    with connection:
        _data, ancillary, _flags, _address = connection.recvmsg(64, socket.CMSG_SPACE(4))
    for _level, kind, data in ancillary:
        if kind == socket.SCM_RIGHTS:
            fd = int(struct.unpack("i", data[:4])[0])
            os.set_inheritable(fd, False)
            return fd
    raise RuntimeFailed("no terminal came from the container")


def relay(master: int, pidfd: int) -> None:
    """Be the terminal: copy both ways until the process behind ``pidfd`` has ended and its output is out."""
    with _raw_mode(), _window_size(master):
        streams = {0, master}
        ended = False
        while master in streams and not ended:
            ready = select.select([*streams, pidfd], [], [])[0]
            if 0 in ready:
                content = os.read(0, 65536)
                if content:
                    os.write(master, content)
                else:
                    streams.discard(0)
                    os.write(master, b"\x04")
            if master in ready and not _copy_out(master):
                streams.discard(master)
            ended = pidfd in ready
        while master in streams and select.select([master], [], [], 0)[0]:
            if not _copy_out(master):
                break
    os.close(master)


def _copy_out(master: int) -> bool:
    """One read; False at the end, which Linux tells as EIO."""
    try:
        content = os.read(master, 65536)
    except OSError:
        return False
    while content:
        content = content[os.write(1, content) :]
    return True


@contextlib.contextmanager
def _raw_mode() -> Iterator[None]:
    """Let every key through, where stdin is a terminal."""
    if not os.isatty(0):
        yield
        return
    saved = termios.tcgetattr(0)
    try:
        tty.setraw(0)
        raw = termios.tcgetattr(0)
        raw[1] |= termios.OPOST
        termios.tcsetattr(0, termios.TCSANOW, raw)
        yield
    finally:
        termios.tcsetattr(0, termios.TCSAFLUSH, saved)


@contextlib.contextmanager
def _window_size(master: int) -> Iterator[None]:
    """Keep the container's terminal as large as ours."""

    def resize(_number: int, _frame: object) -> None:
        if os.isatty(0):
            columns, lines = os.get_terminal_size(0)
            fcntl.ioctl(master, TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    previous = signal.signal(signal.SIGWINCH, resize)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, previous)
