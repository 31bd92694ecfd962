# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tar archives that people have packed with bzip2 or xz, which no layer is (image-spec, layer.md), as if they were not.

Told by the first bytes. What is wrong is InvalidImage. Memory is bounded whatever an archive asks for.
"""

from __future__ import annotations

from ...errors import InvalidImage, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, BinaryIO

_CHUNK = 1 << 17
_BZIP2, _XZ = b"BZh", b"\xfd7zXZ\0"
# xz(1): -9, the most that it does by itself, takes 65 MiB to unpack; an archive may ask for 4 GiB.
_XZ_MEMORY = 128 << 20


def packing_of(first: bytes) -> str:
    """``bzip2``, ``xz``, or nothing, by the first 512 bytes. A tar archive's first name may begin like either."""
    if first[257:262] == b"ustar":
        return ""
    return "bzip2" if first.startswith(_BZIP2) else "xz" if first.startswith(_XZ) else ""


class Unpacked:
    """The content of ``file``, which ``packing`` packs: read() gives some bytes, ``size`` at most, none at the end."""

    def __init__(self, file: BinaryIO, packing: str) -> None:
        self._file = file
        self._packing = packing
        self._new, self._failures = _load(packing)
        self._stream = self._new()
        self._chunk = b""

    def read(self, size: int = _CHUNK) -> bytes:
        content = b""
        while not content and not (self._stream.eof and not self._next_stream()):
            if self._stream.needs_input and not self._chunk:
                self._chunk = self._file.read(_CHUNK)
                if not self._chunk:
                    raise InvalidImage(f"the {self._packing} data ends too early")
            try:
                content = self._stream.decompress(self._chunk, size)  # nothing where it has some left
            except self._failures as error:
                raise InvalidImage(f"it is not valid {self._packing} data ({error})") from error
            self._chunk = b""
        return content

    def chunks(self) -> Iterator[bytes]:
        return iter(self.read, b"")

    def _next_stream(self) -> bool:
        """Several may follow one another, with zeros between them (The .xz File Format, 2.2: Stream Padding)."""
        chunk: bytes = self._stream.unused_data
        while not chunk.lstrip(b"\0"):
            chunk = self._file.read(_CHUNK)
            if not chunk:
                return False
        self._stream, self._chunk = self._new(), chunk.lstrip(b"\0")
        return True


def _load(packing: str) -> tuple[Callable[[], Any], tuple[type[Exception], ...]]:
    try:
        if packing == "bzip2":
            import bz2  # few archives are packed with it

            return bz2.BZ2Decompressor, (OSError,)
        import lzma  # 2 ms that other archives do without

        return lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY), (lzma.LZMAError,)
    except ImportError as error:  # whoever compiles a Python may leave them out
        raise Unsupported(
            f"an archive is packed with {packing}, which this host's Python cannot read: pack it with gzip"
        ) from error
