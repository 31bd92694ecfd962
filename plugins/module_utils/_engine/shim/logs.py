# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container's log, in the format of Kubernetes' CRI: ``<RFC 3339 time> stdout|stderr F|P <text>``, one line each.

P marks a part of a line, whose rest follows. podman reads and writes the same (``k8s-file``).
"""

from __future__ import annotations

import os
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_POLL_SECONDS = 0.2


def format_time(nanoseconds: int) -> str:
    """RFC 3339 with nine digits, in UTC."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:09d}Z"


def format_log(stream: str, content: bytes, nanoseconds: int) -> bytes:
    """What was read from a stream at once, as lines of the log."""
    prefix = f"{format_time(nanoseconds)} {stream} ".encode()
    lines = content.split(b"\n")
    rest = lines.pop()
    formatted = b"".join(prefix + b"F " + line + b"\n" for line in lines)
    return formatted + prefix + b"P " + rest + b"\n" if rest else formatted


class LogLine:
    """One line that a container wrote."""

    def __init__(self, time: str, stream: str, text: str) -> None:
        self.time = time
        self.stream = stream
        self.text = text


def parse_log(lines: Iterator[bytes]) -> Iterator[LogLine]:
    """Put parts together again; a line that is not of the format (a write was cut short) is left out."""
    parts: dict[str, tuple[str, bytes]] = {}
    for line in lines:
        fields = line.rstrip(b"\n").split(b" ", 3)
        if len(fields) < 4 or fields[2] not in (b"F", b"P"):
            continue
        stream = fields[1].decode(errors="replace")
        begun, text = parts.pop(stream, (fields[0].decode(errors="replace"), b""))
        if fields[2] == b"P":
            parts[stream] = begun, text + fields[3]
        else:
            yield LogLine(begun, stream, (text + fields[3]).decode("utf-8", "replace"))
    for stream, (begun, text) in parts.items():
        yield LogLine(begun, stream, text.decode("utf-8", "replace"))


def read_logs(path: str, *, tail: int | None = None, follow: int = 0) -> Iterator[LogLine]:
    """What a container wrote, or the last ``tail`` lines of it.

    ``follow`` is the pid of a monitor: go on with what comes, from where the reading stands, until it has ended.
    """
    try:
        file = open(path, "rb")  # noqa: SIM115 -- closed below
    except FileNotFoundError:
        return
    with file:
        pidfd = _open_process(follow)
        found = list(parse_log(iter(file.readlines())))
        yield from found if tail is None else found[len(found) - min(tail, len(found)) :]
        if pidfd >= 0:
            try:
                ended = False
                while not ended:
                    ended = bool(select.select([pidfd], [], [], _POLL_SECONDS)[0])
                    yield from parse_log(iter(file.readlines()))
            finally:
                os.close(pidfd)


def _open_process(pid: int) -> int:
    """A pidfd, or -1 where there is no such process (any more)."""
    try:
        return os.pidfd_open(pid) if pid else -1
    except ProcessLookupError:
        return -1
