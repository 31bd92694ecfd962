# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write a tar archive whose bytes depend on nothing but its content: no time, no owner, one mode; whole or not at all.

Compressed with gzip, they depend on the version of zlib, too.
"""

from __future__ import annotations

import os
import stat
import zlib

from ...linux.files import create_file, remove_if_exists, sync_directory
from ..layer.tar import Member, end_of_archive, header_of, padding_of
from ..store import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_GZIP_WINDOW = 31  # zlib's manual, deflateInit2: 15 bits of window, plus 16 for gzip's header, without name or time


class ArchiveWriter:
    """``with`` it, the archive is written beside ``path``, and is in its place once the block has ended well.

    It is for its owner alone (an image may hold secrets), unless a file is replaced that was for others too.
    """

    def __init__(self, path: str, compression: str) -> None:
        self._path = path
        directory, name = os.path.split(path)
        self._temporary = os.path.join(directory, f".{name}.tmp")
        self._deflate = zlib.compressobj(6, zlib.DEFLATED, _GZIP_WINDOW) if compression == "gzip" else None
        self.rewritable = self._deflate is None

    def __enter__(self) -> ArchiveWriter:
        self._fd = create_file(self._temporary, 0o600)
        try:
            os.fchmod(self._fd, _mode_of(self._path))
        except BaseException:
            os.close(self._fd)
            raise
        return self

    def __exit__(self, failed: object, *_rest: object) -> None:
        try:
            if not failed:
                self._write(end_of_archive())
                if self._deflate is not None:
                    write_all(self._fd, self._deflate.flush())
                os.fsync(self._fd)
                os.rename(self._temporary, self._path)
                sync_directory(os.path.dirname(self._path))
        finally:
            os.close(self._fd)
            remove_if_exists(self._temporary)

    def add(self, name: str, content: bytes) -> None:
        self.add_stream(name, len(content), (content,))

    def add_stream(self, name: str, size: int, chunks: Iterable[bytes]) -> None:
        """A file of ``size`` bytes; -1 where that is not known yet, which only a ``rewritable`` archive can take."""
        at = os.lseek(self._fd, 0, os.SEEK_CUR) if self.rewritable else 0
        self._write(_header(name, max(size, 0)))
        written = 0
        for chunk in chunks:
            self._write(chunk)
            written += len(chunk)
        self._write(padding_of(written))
        if size < 0:
            os.pwrite(self._fd, _header(name, written), at)
        elif size != written:
            raise ValueError(f"{name} has {written} bytes, not {size}")

    def _write(self, content: bytes) -> None:
        write_all(self._fd, content if self._deflate is None else self._deflate.compress(content))


def _header(name: str, size: int) -> bytes:
    return header_of(Member(name=os.fsencode(name), size=size))


def _mode_of(path: str) -> int:
    try:
        return stat.S_IMODE(os.stat(path, follow_symlinks=False).st_mode) & 0o666
    except FileNotFoundError:
        return 0o600
