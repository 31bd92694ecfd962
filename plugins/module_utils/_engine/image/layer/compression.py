# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The uncompressed bytes of a layer, hashed as they are read, whatever it is compressed with (image-spec, layer.md).

The compression is told by the content's first bytes, not by the media type, which registries get wrong. Packages that
do it faster than Python's own are used where the host has them: isal or zlib-ng for gzip, zstandard for zstd.
"""

from __future__ import annotations

import hashlib
import importlib
import zlib

from ...errors import InvalidImage, Unsupported
from ...linux.process import find_program
from .windows import MAX_WINDOW, window_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Protocol

    from .windows import Windows

    class Readable(Protocol):
        """What gives some bytes, ``size`` at most; none at the end alone."""

        def read(self, size: int, /) -> bytes: ...

    Inflate = Callable[[Readable, bytes], Iterator[bytes]]

_CHUNK = 1 << 18  # each goes from thread to thread
_HEAD = 512  # what compression_of() wants to see
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_GZIP_WINDOW = 31  # zlib's manual, inflateInit2: 15 bits of window, plus 16 for gzip's header


class LayerStream:
    """Read a layer's tar archive out of ``file``. More than ``limit`` bytes uncompressed is InvalidImage.

    Making one reads the first bytes, and imports what the compression takes: nothing is imported after that.
    """

    def __init__(
        self, file: Readable, *, limit: int, algorithm: str = "sha256", windows: Windows | None = None
    ) -> None:
        self._inflated = inflate(file, windows)
        self._chunks: Iterator[bytes] = map(self._count, self._inflated)
        self._hash = hashlib.new(algorithm)
        self._limit = limit
        self._total = 0
        self._buffer = b""
        self._offset = 0

    def through(self, ahead: Callable[[Iterator[bytes]], Iterator[bytes]]) -> None:
        """Have ``ahead`` take the pieces from where they are inflated to where they are hashed, and on to where they
        are read: what reads them does not wait for what is slowest, inflating."""
        self._chunks = ahead(map(self._count, ahead(self._inflated)))

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
        for _chunk in self._chunks:
            pass
        return f"{self._hash.name}:{self._hash.hexdigest()}"

    def _fill(self, size: int) -> None:
        parts = [self._buffer[self._offset :]]
        have = len(parts[0])
        while have < size:
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            parts.append(chunk)
            have += len(chunk)
        self._buffer = b"".join(parts)
        self._offset = 0

    def _count(self, chunk: bytes) -> bytes:
        self._total += len(chunk)
        if self._total > self._limit:
            raise InvalidImage(f"the layer holds more than {self._limit} bytes uncompressed")
        self._hash.update(chunk)
        return chunk


def inflate(file: Readable, windows: Windows | None = None) -> Iterator[bytes]:
    """The uncompressed content of ``file``, in bounded pieces. Raises InvalidImage, Unsupported.

    Where it takes memory that others take too, those are waited for that are in ``windows``.
    By the time that it returns, all that it takes is imported.
    """
    first = b""
    while len(first) < _HEAD:
        more = file.read(_HEAD - len(first))
        if not more:
            break
        first += more
    kind = compression_of(first)
    if kind == "gzip":
        return _inflate_gzip(_load_zlib(), file, first)
    if kind == "zstd":
        size, load = window_of(first), _load_zstd()
        if windows is not None:
            windows.enter(size)
        return load(file, first)
    return _plain(file, first)


def compression_of(first: bytes) -> str:
    """``gzip``, ``zstd``, or nothing, by the first 512 bytes. A tar archive's first name may begin like either."""
    if first[257:262] == b"ustar":
        return ""
    return "gzip" if first.startswith(_GZIP) else "zstd" if first.startswith(_ZSTD) else ""


def _plain(file: Readable, chunk: bytes) -> Iterator[bytes]:
    while chunk:
        yield chunk
        chunk = file.read(_CHUNK)


def _load_zlib() -> Any:
    """zlib, or what does the same with the same functions: twice as fast (isal), half as fast again (zlib-ng)."""
    for name in ("isal.isal_zlib", "zlib_ng.zlib_ng"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return zlib


def _inflate_gzip(library: Any, file: Readable, chunk: bytes) -> Iterator[bytes]:
    """RFC 1952: one member or several, and perhaps zeros after them."""
    try:
        while chunk.strip(b"\0"):
            member = library.decompressobj(wbits=_GZIP_WINDOW)
            while not member.eof:
                if not chunk:
                    raise InvalidImage("the layer's gzip data ends too early")
                content = member.decompress(chunk, _CHUNK)
                chunk = member.unconsumed_tail or (b"" if member.eof else file.read(_CHUNK))
                if content:
                    yield content
            chunk = member.unused_data or file.read(_CHUNK)
    except library.error as error:
        raise InvalidImage(f"the layer is not valid gzip data ({error})") from error


def _load_zstd() -> Inflate:
    """Python has it since 3.14; before, the package zstandard; else there is the program, as a process beside us."""
    try:
        zstd: Any = importlib.import_module("compression.zstd")
        parameter = {zstd.DecompressionParameter.window_log_max: MAX_WINDOW.bit_length() - 1}
        return lambda file, first: _by_reader(
            lambda rest: zstd.ZstdFile(rest, options=parameter), (zstd.ZstdError, EOFError), _Rest(file, first)
        )
    except ImportError:
        pass
    try:
        package: Any = importlib.import_module("zstandard")
        return lambda file, first: _by_reader(
            lambda rest: package.ZstdDecompressor(max_window_size=MAX_WINDOW).stream_reader(
                rest, read_across_frames=True
            ),
            (package.ZstdError,),
            _Rest(file, first),
        )
    except ImportError:
        pass
    program = find_program("zstd")
    if program is None:
        raise Unsupported(
            "a layer is compressed with zstd, and nothing on this host can read that: install the package "
            "python3-zstandard or zstd, or use a gzip image"
        )
    from .zstd_program import inflate_by_program  # the last resort

    return lambda file, first: inflate_by_program(program, _Rest(file, first))


def _by_reader(
    open_reader: Callable[[_Rest], Any], failures: tuple[type[Exception], ...], rest: _Rest
) -> Iterator[bytes]:
    try:
        reader = open_reader(rest)
        yield from iter(lambda: reader.read(_CHUNK), b"")
    except failures as error:
        raise InvalidImage(f"the layer is not valid zstd data ({error})") from error


class _Rest:
    """A file of which the first piece has been read already."""

    def __init__(self, file: Readable, first: bytes) -> None:
        self._file = file
        self._first = first

    def read(self, size: int = -1) -> bytes:
        size = _CHUNK if size < 0 else size
        if self._first:
            content, self._first = self._first[:size], self._first[size:]
            return content
        return self._file.read(size)
