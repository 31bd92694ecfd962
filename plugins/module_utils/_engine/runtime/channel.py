# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How an init and whoever creates it talk: two pipes, lines of JSON up, single bytes down. Both ends close on exec,
but the init's writer only on that of its program: until then a trampoline has it."""

from __future__ import annotations

import os

from ..errors import RuntimeFailed
from ..linux.lean import dumps, loads
from .steps.operations import Operation, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def parse_line(line: bytes) -> dict[str, Any]:
    """A message. What the trampoline says of a failure (linux/trampoline.py) is put into words, as ``error``."""
    message = dict(loads(line))
    if "failed" in message:
        message["error"] = f"{message['failed']}: {reason(os.strerror(int(message['errno'], 8)))}"
    return message


class Channel:
    """One end. The creator reads ``up`` and writes ``down``; the init the other way round."""

    def __init__(self, reader: int, writer: int) -> None:
        self.reader = reader
        self.writer = writer
        self._rest = b""

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """The creator's end and the init's."""
        up_reader, up_writer = os.pipe()
        down_reader, down_writer = os.pipe()
        return cls(up_reader, down_writer), cls(down_reader, up_writer)

    def tell(self, message: dict[str, Any]) -> None:
        """Write one line."""
        os.write(self.writer, dumps(message).encode() + b"\n")

    def hear(self) -> dict[str, Any] | None:
        """Read one line; None where the other end is gone."""
        while not self.pending():
            part = os.read(self.reader, 65536)
            if not part:
                return None
            self._rest += part
        line, _newline, self._rest = self._rest.partition(b"\n")
        return parse_line(line)

    def pending(self) -> bool:
        """Whether a line was read already, together with the one before it."""
        return b"\n" in self._rest

    def release(self) -> None:
        """Let the other end go on."""
        os.write(self.writer, b".")

    def send(self, content: bytes) -> None:
        """Let the other end go on, with bytes that it asked for; see receive()."""
        content = len(content).to_bytes(4, "little") + content
        while content:
            content = content[os.write(self.writer, content) :]

    def receive(self) -> bytes:
        """Wait for send(). RuntimeFailed where the other end is gone."""
        content = os.read(self.reader, 65536)
        while content and len(content) < 4 + int.from_bytes(content[:4], "little"):
            part = os.read(self.reader, 65536)
            content = content + part if part else b""
        if not content:
            raise RuntimeFailed("whoever creates the container has gone")
        return content[4:]

    def wait(self) -> None:
        """Wait for release(). RuntimeFailed where the other end is gone: nobody wants this container any more."""
        if not os.read(self.reader, 1):
            raise RuntimeFailed("whoever creates the container has gone")

    def close(self) -> None:
        """Close both."""
        os.close(self.reader)
        os.close(self.writer)


class TellCreator(Operation):
    """Tell the creator that a stage is reached, and wait until it lets us go on."""

    def __init__(self, channel: Channel, stage: str) -> None:
        self.channel = channel
        self.stage = stage

    def __str__(self) -> str:
        return f"tell the creator: {self.stage}"

    def execute(self) -> None:
        self.channel.tell({"stage": self.stage})
        self.channel.wait()


class DivertFailures(Operation):
    """Tell what goes wrong from here on to whoever starts the container, by its fifo: its creator has gone by then."""

    def __init__(self, channel: Channel, fifo: int) -> None:
        self.channel = channel
        self.fifo = fifo

    def __str__(self) -> str:
        return "tell failures to whoever starts the container"

    def execute(self) -> None:
        os.dup2(self.fifo, self.channel.writer, inheritable=False)
