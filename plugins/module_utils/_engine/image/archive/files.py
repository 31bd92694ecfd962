# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files inside an archive of images, by name: a tar archive, compressed or not, or a directory.

Promises: nothing is written, and nothing of an archive is ever a path of this host: names are looked up in a table,
links in an archive lead to other entries of it alone. What is malformed, ambiguous or out of all proportion is
InvalidImage. Sizes are in bytes.
"""

from __future__ import annotations

import os
import stat

from ...errors import InvalidImage, KernelError, NotFound
from ..layer.compression import compression_of, inflate
from ..layer.members import clean_path
from ..layer.packings import Unpacked, packing_of
from ..layer.tar import FILE, HARD_LINK, SYMLINK, TarReader
from ..manifest import MAX_DOCUMENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

    from ..layer.tar import Member

_CHUNK = 1 << 20
_MAX_ENTRIES = 100_000
_MAX_NAME = 4096  # PATH_MAX
_MAX_LINKS = 10
# A compressed archive is read to its end before anything is believed: 10 MB may be 10 GB.
_MAX_INFLATED = 64 << 30
_MAX_KEPT = 64 << 20


class Files:
    """What every kind of archive can do. ``sizes`` has all regular files by name."""

    compression = ""
    sizes: dict[str, int]

    def __init__(self, path: str) -> None:
        self.path = path
        self.sizes = {}

    def chunks(self, name: str) -> Iterator[bytes]:
        """A file's content, a piece at a time, as many bytes as ``sizes`` says. Raises InvalidImage, KernelError."""
        raise NotImplementedError

    def in_order(self, names: Iterable[str]) -> list[str]:
        """``names`` in the order in which reading them is cheapest."""
        return sorted(names)

    def read(self, name: str) -> bytes:
        """A document of the archive. Raises InvalidImage where it is not there or larger than documents are."""
        if name not in self.sizes:
            raise InvalidImage(f"{self.path} has no {name!r}; it is cut short, or no archive of images")
        if self.sizes[name] > MAX_DOCUMENT:
            raise InvalidImage(f"{self.path}: {name!r} has {self.sizes[name]} bytes; a document has {MAX_DOCUMENT}")
        return b"".join(self.chunks(name))

    def first(self, name: str, size: int) -> bytes:
        """The first ``size`` bytes of a file."""
        content = b""
        for chunk in self.chunks(name):
            content += chunk
            if len(content) >= size:
                break
        return content[:size]

    def close(self) -> None:
        """Let go of what is open."""


def open_files(path: str) -> Files:
    """What is at ``path``. Raises NotFound where there is nothing, InvalidImage where it is no archive."""
    try:
        found = os.stat(path)
        if stat.S_ISDIR(found.st_mode):
            return DirectoryFiles(path)
        if not stat.S_ISREG(found.st_mode):
            raise InvalidImage(f"{path} is neither a file nor a directory")
        return TarFiles(path)
    except FileNotFoundError as error:
        raise NotFound("archive", path, "see that it was copied here") from error
    except OSError as error:
        raise KernelError("reading the archive", error) from error


class TarFiles(Files):
    """A tar archive; its headers are read once, its files whenever they are wanted."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._offsets: dict[str, int] = {}
        self._kept: dict[str, bytes] = {}
        self._room = _MAX_KEPT
        self._file: BinaryIO = open(path, "rb", buffering=0)  # noqa: SIM115 - open until close() is called
        try:
            first = self._file.read(512)
            self.compression = compression_of(first) or packing_of(first)
            self._input: _Plain | _Inflated = (
                _Inflated(self._file, path, packing_of(first)) if self.compression else _Plain(self._file, path)
            )
            self._input.seek(0)
            self._read_headers()
        except BaseException as error:
            self._file.close()
            if isinstance(error, InvalidImage) and path not in str(error):  # the reader of layers, which knows no path
                raise InvalidImage(f"{path} is no archive of images: {error}") from error
            raise

    def close(self) -> None:
        self._file.close()

    def in_order(self, names: Iterable[str]) -> list[str]:
        return sorted(names, key=lambda name: self._offsets.get(name, 0))

    def chunks(self, name: str) -> Iterator[bytes]:
        if name in self._kept:
            yield self._kept[name]
            return
        left = self.sizes[name]
        self._input.seek(self._offsets[name])
        while left:
            chunk = self._input.read(min(left, _CHUNK))
            if not chunk:
                raise InvalidImage(f"{self.path} ends inside {name!r}")
            left -= len(chunk)
            yield chunk

    def _read_headers(self) -> None:
        links: dict[str, str] = {}
        reader = TarReader(self._input.read)
        for number, member in enumerate(reader):
            if number >= _MAX_ENTRIES:
                raise InvalidImage(f"{self.path} has more than {_MAX_ENTRIES} entries")
            name = self._name(member.name)
            if member.kind == FILE:
                if name in self.sizes or name in links:
                    raise InvalidImage(f"{self.path} has {name!r} twice; which one is meant cannot be told")
                self.sizes[name], self._offsets[name] = member.size, self._input.position
                taken = self._keep(name, member)
                self._input.skip(member.size + -member.size % 512 - taken)
                reader.passed_over()
            elif member.kind in (SYMLINK, HARD_LINK):
                here = os.path.dirname(name) if member.kind == SYMLINK else ""
                links[name] = os.path.normpath(os.path.join(here, os.fsdecode(member.target)))
        for name in links:
            self._follow(name, links)

    def _name(self, name: bytes) -> str:
        if name.startswith(b"/") or len(name) > _MAX_NAME:
            raise InvalidImage(f"{self.path} has an entry that points out of it: {os.fsdecode(name[:80])!r}")
        return os.fsdecode(clean_path(name))

    def _keep(self, name: str, member: Member) -> int:
        """Documents of a compressed archive are kept: to get back to them, all would be inflated again.

        Returns how many bytes of the file were read.
        """
        if not self.compression or not member.size or member.size > min(self._room, MAX_DOCUMENT):
            return 0
        content = self._input.read(1)
        if content in (b"{", b"["):
            content += self._input.read(member.size - 1)
            if len(content) == member.size:
                self._kept[name] = content
                self._room -= len(content)
        return len(content)

    def _follow(self, name: str, links: dict[str, str]) -> None:
        """Let a link's name mean the file that it leads to; docker writes those for a layer that is there already."""
        target = name
        for _hop in range(_MAX_LINKS):
            target = links.get(target, target)
        if target in self._offsets:
            self.sizes[name], self._offsets[name] = self.sizes[target], self._offsets[target]


class DirectoryFiles(Files):
    """An OCI image layout in a directory. Symbolic links in it are not followed."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        for name in self._names():
            try:
                found = os.lstat(os.path.join(path, name))
            except FileNotFoundError:
                continue
            if stat.S_ISREG(found.st_mode):
                self.sizes[name] = found.st_size

    def _names(self) -> Iterator[str]:
        yield from ("oci-layout", "index.json")
        blobs = os.path.join(self.path, "blobs")
        for algorithm in _entries(blobs):
            for encoded in _entries(os.path.join(blobs, algorithm)):
                yield f"blobs/{algorithm}/{encoded}"

    def chunks(self, name: str) -> Iterator[bytes]:
        *directories, base = name.split("/")
        fd = os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for directory in directories:
                inner = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
                os.close(fd)
                fd = inner
            content = os.open(base, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)
        except OSError as error:
            raise KernelError(f"reading {self.path}/{name}", error) from error
        finally:
            os.close(fd)
        left = self.sizes[name]
        with open(content, "rb", buffering=0) as file:
            while left:
                chunk = file.read(min(left, _CHUNK))
                if not chunk:
                    raise InvalidImage(f"{self.path}/{name} has become shorter")
                left -= len(chunk)
                yield chunk


def _entries(path: str) -> list[str]:
    if os.path.islink(path) or not os.path.isdir(path):
        return []
    return sorted(os.listdir(path))


class _Plain:
    """A tar archive as it stands in a file."""

    def __init__(self, file: BinaryIO, path: str) -> None:
        self._file = file
        self._path = path
        self._size = os.fstat(file.fileno()).st_size
        self.position = 0

    def read(self, size: int) -> bytes:
        content = self._file.read(size)
        self.position += len(content)
        return content

    def seek(self, position: int) -> None:
        if position > self._size:
            raise InvalidImage(f"{self._path} is cut short: it says it goes on to byte {position}, of {self._size}")
        self.position = self._file.seek(position)

    def skip(self, size: int) -> None:
        self.seek(self.position + size)


class _Inflated:
    """A compressed file as if it were not: forwards by reading, backwards within what is at hand or by a new start."""

    def __init__(self, file: BinaryIO, path: str, packing: str) -> None:
        self._file = file
        self._path = path
        self._packing = packing
        self._start()

    def _start(self) -> None:
        self._file.seek(0)
        self._chunks = Unpacked(self._file, self._packing).chunks() if self._packing else inflate(self._file)
        self._buffer = b""
        self._base = 0  # the position of the buffer's first byte
        self.position = 0

    def read(self, size: int) -> bytes:
        parts = []
        while size:
            at = self.position - self._base
            piece = self._buffer[at : at + size]
            if not piece:
                self._base += len(self._buffer)
                self._buffer = self._next()
                if not self._buffer:
                    break
                continue
            parts.append(piece)
            self.position += len(piece)
            size -= len(piece)
        return b"".join(parts)

    def _next(self) -> bytes:
        try:
            chunk = next(self._chunks, b"")
        except InvalidImage as error:
            raise InvalidImage(f"{self._path}: {error}") from error
        if self._base + len(chunk) > _MAX_INFLATED:
            raise InvalidImage(f"{self._path} holds more than {_MAX_INFLATED} bytes uncompressed")
        return chunk

    def seek(self, position: int) -> None:
        if position < self._base:
            self._start()
        while position > self._base + len(self._buffer):
            self._base += len(self._buffer)
            self._buffer = self._next()
            if not self._buffer:
                raise InvalidImage(f"{self._path} is cut short: it says it goes on to byte {position}")
        self.position = position

    def skip(self, size: int) -> None:
        self.seek(self.position + size)
