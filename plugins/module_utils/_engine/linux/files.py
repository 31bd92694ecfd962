# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are whole or not there: write to a temporary name, fsync, rename; and locks that die with us."""

from __future__ import annotations

import fcntl
import os

from ..errors import StateCorrupt
from .lean import dumps, loads, suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def write_atomic(path: str, content: bytes, *, mode: int = 0o600, durable: bool = True) -> None:
    """Put ``content`` at ``path``, whole or not at all, also if the power goes (``durable``).

    A leftover ``.<name>.tmp`` of a killed run is taken away: writers hold the host's lock.
    """
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, f".{name}.tmp")
    fd = create_file(temporary, mode)
    try:
        os.fchmod(fd, mode)
        written = 0
        while written < len(content):
            written += os.write(fd, content[written:])
        if durable:
            os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(temporary, path)
    if durable:
        sync_directory(directory)


def create_file(path: str, mode: int) -> int:
    """Open a new file for writing. One that is there is taken away and never written into: in a directory that others
    may write to it could be theirs, or a link to what is precious. Raises OSError."""
    while True:
        try:
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        except FileExistsError:
            remove_if_exists(path)


def sync_directory(path: str) -> None:
    """Make the names in a directory durable (fsync(2), NOTES)."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_filesystem(path: str) -> None:
    """syncfs(2): everything that was written to the file system of ``path`` is durable. Raises OSError."""
    from .libc import check, libc  # a monitor does without ctypes

    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        check(libc().syncfs(fd), path)
    finally:
        os.close(fd)


def read_whole(path: str) -> bytes:
    """All of a small file, with three system calls; open() takes eight."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = b""
        while part := os.read(fd, 1 << 16):
            content += part
        return content
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error
    finally:
        os.close(fd)


def write_json(path: str, value: Any, *, mode: int = 0o600, durable: bool = True) -> None:
    """Write ``value`` as JSON, atomically. On one line: indented, it would take Python's slow encoder."""
    write_atomic(path, dumps(value).encode() + b"\n", mode=mode, durable=durable)


def read_json(path: str) -> Any:
    """What write_json() wrote, or None where there is no such file. Raises StateCorrupt."""
    try:
        return loads(read_whole(path))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise StateCorrupt(path, f"not JSON ({error})") from error


def remove_if_exists(path: str) -> None:
    """unlink(2) that is content when the file is gone already."""
    with suppress(FileNotFoundError):
        os.unlink(path)


def list_directory(path: str) -> list[str]:
    """The names in a directory, sorted; none where there is no such directory."""
    try:
        return sorted(os.listdir(path))
    except FileNotFoundError:
        return []


class exclusive_lock:
    """``with`` holds an exclusive flock(2) on ``path``. The kernel lets go of it when we end, however that comes, and
    all have ended who were given its descriptor, ``fd``."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.fd = -1

    def let_go(self) -> released:
        """``with`` holds it no longer, and takes it again at its end; nothing where it is not held."""
        return released(self.fd)

    def __enter__(self) -> None:
        os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
        self.fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX)
        except BaseException:
            os.close(self.fd)
            raise

    def __exit__(self, *_error: object) -> None:
        os.close(self.fd)
        self.fd = -1


class released:
    """``with`` lets go of the lock on ``fd``, and waits for it again at its end."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __enter__(self) -> None:
        if self._fd >= 0:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def __exit__(self, *_error: object) -> None:
        if self._fd >= 0:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
