# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files with holes in a tar archive: where their data goes, in each of GNU tar's four spellings.

The old one in the header (kind ``S``), and 0.0, 0.1 and 1.0 in pax records (GNU tar's manual, "Storing Sparse Files").
The image-spec advises against them; there are images that have them. What cannot be is InvalidImage.
"""

from __future__ import annotations

from typing import NamedTuple

from ...errors import InvalidImage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ZEROS = memoryview(bytes(1 << 18))
_MAP = b"GNU.sparse.map"
_MAX_PIECES = 1 << 17  # 25 MB of them here
_MAX_OFFSET = (1 << 63) - 1


class Sparse(NamedTuple):
    """``size`` is the file's, in bytes; ``pieces`` are (offset, length) of its data, stored one after the other."""

    size: int
    pieces: tuple[tuple[int, int], ...]

    def check(self, what: str, stored: int) -> None:
        """Raise InvalidImage unless the pieces follow one another inside the file and are ``stored`` bytes together."""
        position = 0
        for offset, length in self.pieces:
            if offset < position or length < 0:
                raise InvalidImage(f"{what} is a sparse file whose pieces overlap")
            position = offset + length
        if not position <= self.size <= _MAX_OFFSET or sum(length for _offset, length in self.pieces) != stored:
            raise InvalidImage(f"{what} is a sparse file whose map does not fit its data")


def is_sparse(pax: Mapping[bytes, bytes]) -> bool:
    return _MAP in pax or b"GNU.sparse.major" in pax or b"GNU.sparse.size" in pax


def read_sparse_map(header: bytes, more: Callable[[], bytes]) -> Sparse:
    """The old format: four pieces in the header, 21 in each block that ``more()`` gives after it."""
    pieces = list(_old_pieces(header, 386, 4))
    extended = header[482]
    while extended:
        if len(pieces) > _MAX_PIECES:
            raise InvalidImage(f"the tar archive has a sparse file of more than {_MAX_PIECES} pieces")
        block = more()
        pieces += _old_pieces(block, 0, 21)
        extended = block[504]
    return Sparse(_old_number(header[483:495]), tuple(pieces))


def parse_sparse(pax: Mapping[bytes, bytes], more: Callable[[], bytes]) -> Sparse:
    """The pax formats; 1.0 has its map in blocks of the data, which ``more()`` gives."""
    size = _decimal(pax.get(b"GNU.sparse.realsize") or pax.get(b"GNU.sparse.size") or b"")
    if b"GNU.sparse.major" in pax and pax[b"GNU.sparse.major"] != b"0":
        if (pax[b"GNU.sparse.major"], pax.get(b"GNU.sparse.minor")) != (b"1", b"0"):
            raise InvalidImage("the tar archive has a sparse file in a format that is not known")
        numbers = _lines(more)
        count = next(numbers)
        if count > _MAX_PIECES:
            raise InvalidImage(f"the tar archive has a sparse file of more than {_MAX_PIECES} pieces")
        flat = [next(numbers) for _number in range(2 * count)]
    else:
        flat = [_decimal(text) for text in pax[_MAP].split(b",")] if pax.get(_MAP) else []
    if len(flat) % 2:
        raise InvalidImage("the tar archive has a sparse file with half a piece")
    return Sparse(size, tuple(zip(flat[::2], flat[1::2])))


def _lines(more: Callable[[], bytes]) -> Iterator[int]:
    """Numbers, a line each, in blocks; what is left of the last block means nothing."""
    rest = b""
    while True:
        if len(rest) > 20:
            raise InvalidImage("the tar archive has a sparse file whose map is no numbers")
        *lines, rest = (rest + more()).split(b"\n")
        yield from map(_decimal, lines)


def _old_pieces(block: bytes, start: int, count: int) -> Iterator[tuple[int, int]]:
    for position in range(start, start + 24 * count, 24):
        if block[position] == 0:
            return
        yield _old_number(block[position : position + 12]), _old_number(block[position + 12 : position + 24])


def _old_number(field: bytes) -> int:
    if field[0] & 0x80:
        return int.from_bytes(field[1:], "big")
    text = field.split(b"\0", 1)[0].strip()
    try:
        return int(text, 8) if text else 0
    except ValueError as error:
        raise InvalidImage(f"the tar archive has a number that is not octal: {text!r}") from error


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 19:
        raise InvalidImage(f"the tar archive has a sparse file with a number that is none: {text[:40]!r}")
    return int(text)
