# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The uncompressed bytes of a layer, hashed as they are read, whatever it is compressed with (image-spec, layer.md).

The compression is told by the content's first bytes, not by the media type, which registries get wrong.
"""

from __future__ import annotations

import hashlib
import importlib
import zlib

from ...errors import InvalidImage, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, BinaryIO

_CHUNK = 1 << 18
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_GZIP_WINDOW = 31  # zlib's manual, inflateInit2: 15 bits of window, plus 16 for gzip's header


class LayerStream:
    """Read a layer's tar archive out of ``file``. More than ``limit`` bytes uncompressed is InvalidImage."""

    def __init__(self, file: BinaryIO, *, limit: int, algorithm: str = "sha256") -> None:
        self._chunks = inflate(file)
        self._hash = hashlib.new(algorithm)
        self._limit = limit
        self._total = 0
        self._buffer = b""
        self._offset = 0

    def read(self, size: int) -> bytes:
        """``size`` bytes; fewer only at the end."""
        end = self._offset + size
        if end > len(self._buffer):
            self._fill(size)
            end = size
        content = self._buffer[self._offset : end]
        self._offset += len(content)
        return content

    def digest(self) -> str:
        """The diff_id: the digest of all there is, read or not yet read."""
        for chunk in self._chunks:
            self._count(chunk)
        return f"{self._hash.name}:{self._hash.hexdigest()}"

    def _fill(self, size: int) -> None:
        parts = [self._buffer[self._offset :]]
        have = len(parts[0])
        while have < size:
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            self._count(chunk)
            parts.append(chunk)
            have += len(chunk)
        self._buffer = b"".join(parts)
        self._offset = 0

    def _count(self, chunk: bytes) -> None:
        self._total += len(chunk)
        if self._total > self._limit:
            raise InvalidImage(f"the layer holds more than {self._limit} bytes uncompressed")
        self._hash.update(chunk)


def inflate(file: BinaryIO) -> Iterator[bytes]:
    """The uncompressed content of ``file``, in bounded pieces. Raises InvalidImage, Unsupported."""
    first = file.read(_CHUNK)
    reader = {"gzip": _inflate_gzip, "zstd": _inflate_zstd}.get(compression_of(first), _plain)
    return reader(file, first)


def compression_of(first: bytes) -> str:
    """``gzip``, ``zstd``, or nothing, by the first 512 bytes. A tar archive's first name may begin like either."""
    if first[257:262] == b"ustar":
        return ""
    return "gzip" if first.startswith(_GZIP) else "zstd" if first.startswith(_ZSTD) else ""


def _plain(file: BinaryIO, chunk: bytes) -> Iterator[bytes]:
    while chunk:
        yield chunk
        chunk = file.read(_CHUNK)


def _inflate_gzip(file: BinaryIO, chunk: bytes) -> Iterator[bytes]:
    """RFC 1952: one member or several, and perhaps zeros after them."""
    try:
        while chunk.strip(b"\0"):
            member = zlib.decompressobj(_GZIP_WINDOW)
            while not member.eof:
                if not chunk:
                    raise InvalidImage("the layer's gzip data ends too early")
                content = member.decompress(chunk, _CHUNK)
                chunk = member.unconsumed_tail or (b"" if member.eof else file.read(_CHUNK))
                if content:
                    yield content
            chunk = member.unused_data or file.read(_CHUNK)
    except zlib.error as error:
        raise InvalidImage(f"the layer is not valid gzip data ({error})") from error


def _inflate_zstd(file: BinaryIO, chunk: bytes) -> Iterator[bytes]:
    """RFC 8878. Python has it since 3.14; before, the package zstandard has it where it is installed."""
    try:
        zstd: Any = importlib.import_module("compression.zstd")
        reader = zstd.ZstdFile(_Rest(file, chunk))
        failures: tuple[type[Exception], ...] = (zstd.ZstdError, EOFError)
    except ImportError:
        try:
            zstd = importlib.import_module("zstandard")
        except ImportError as error:
            raise Unsupported(
                "a layer is compressed with zstd, and this host's Python cannot read that: "
                "install the package python3-zstandard, or use a gzip image"
            ) from error
        reader = zstd.ZstdDecompressor().stream_reader(_Rest(file, chunk), read_across_frames=True)
        failures = (zstd.ZstdError,)
    try:
        yield from iter(lambda: reader.read(_CHUNK), b"")
    except failures as error:
        raise InvalidImage(f"the layer is not valid zstd data ({error})") from error


class _Rest:
    """A file of which the first piece has been read already."""

    def __init__(self, file: BinaryIO, first: bytes) -> None:
        self._file = file
        self._first = first

    def read(self, size: int = -1) -> bytes:
        if self._first:
            size = len(self._first) if size < 0 else size
            content, self._first = self._first[:size], self._first[size:]
            return content
        return self._file.read(size)
