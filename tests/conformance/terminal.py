# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The other end of a container's terminal: a console socket that receives it, as containerd and podman have one."""

from __future__ import annotations

import array
import contextlib
import os
import select
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .box import Box


@contextlib.contextmanager
def console(path: Path) -> Iterator[socket.socket]:
    """A socket that listens at ``path``; its name is relative, because sun_path takes 108 bytes."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(10)
        yield listener


def receive_fd(listener: socket.socket, ended: Callable[[bytes], bool] = bool) -> tuple[int, bytes]:
    """The descriptor that comes over a connection, and what comes with it and after it until that is ``ended``."""
    connection, _peer = listener.accept()
    fds = array.array("i")
    with connection:
        connection.settimeout(10)
        message, ancillary, _flags, _address = connection.recvmsg(65536, socket.CMSG_SPACE(fds.itemsize))
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds.frombytes(data[: fds.itemsize])
        while not ended(message) and (more := connection.recv(65536)):
            message += more
    return fds[0], message


def run_on_terminal(box: Box, script: str) -> str:
    """Create and start on a terminal; all that it says until it ends."""
    box.process["terminal"] = True
    path = box.directory / "console"
    with console(path) as listener:
        box.create("--console-socket", str(path), script=script)
        terminal, _message = receive_fd(listener)
    try:
        box.must("start", box.id)
        return read_all(terminal)
    finally:
        os.close(terminal)


def read_all(terminal: int, timeout: float = 10.0) -> str:
    """Until no process has the other end, which read(2) tells by EIO."""
    said = b""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 0.1)[0]:
            continue
        try:
            part = os.read(terminal, 65536)
        except OSError:
            break
        if not part:
            break
        said += part
    return said.decode().replace("\r\n", "\n").strip()
