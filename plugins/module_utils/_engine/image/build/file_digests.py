# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Digests of files that are remembered by what stat(2) says of them, so that a large context is read once.

Promise: a digest is never one of other content. What was changed after it was read has another ctime, which nobody can
set back; a file that was changed so lately that a further change could get the same ctime is not remembered.
"""

from __future__ import annotations

import hashlib
import os
import time

from ...errors import KernelError, StateCorrupt
from ...linux.files import read_json, write_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# A change within the same tick of the kernel's clock (CONFIG_HZ, at least 100) may leave the times as they are; file
# systems with times in whole seconds (ext3, some NFS) need more.
_TICK_NS = 50 * 10**6
_SECOND_NS = 2 * 10**9
_CHUNK = 1 << 20


class FileDigests:
    """The digests of files below one directory; ``path`` is where they are kept between runs."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._known: dict[str, list[Any]] = {}
        self._used: set[str] = set()
        self._changed = False
        try:
            found = read_json(path)
        except StateCorrupt:
            found = None  # it is no more than a saving of time
        if isinstance(found, dict):
            self._known = found

    def digest(self, path: bytes) -> str:
        """The SHA-256 of a file's content, in hexadecimal. Raises KernelError."""
        name = os.fsdecode(path)
        try:
            found = os.stat(path)
            known = self._known.get(name)
            if isinstance(known, list) and known[:-1] == _identity(found):
                self._used.add(name)
                return str(known[-1])
            return self._read(name, path)
        except OSError as error:
            raise KernelError("reading a file that is copied", error) from error

    def _read(self, name: str, path: bytes) -> str:
        state = hashlib.sha256()
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            found, now = os.fstat(fd), time.time_ns()
            while chunk := os.read(fd, _CHUNK):
                state.update(chunk)
            settled = _identity(os.fstat(fd)) == _identity(found)
        finally:
            os.close(fd)
        digest = state.hexdigest()
        self._known.pop(name, None)
        if settled and now - max(found.st_mtime_ns, found.st_ctime_ns) > _grain(found):
            self._known[name] = [*_identity(found), digest]
            self._used.add(name)
        self._changed = True
        return digest

    def save(self) -> None:
        """Keep what is known of the files that were asked for; only where there is something new. Raises OSError."""
        if self._changed:
            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
            # In what a crash leaves of it may be anything: read_json() tells, and then it is read anew.
            write_json(self._path, {name: self._known[name] for name in sorted(self._used)}, durable=False)
            self._changed = False


def _identity(found: os.stat_result) -> list[int]:
    return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _grain(found: os.stat_result) -> int:
    return _TICK_NS if found.st_ctime_ns % 10**9 else _SECOND_NS
