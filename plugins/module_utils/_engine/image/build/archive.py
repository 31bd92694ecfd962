# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ADD of a tar archive: what is in it becomes a layer, below a destination.

Compressed with gzip, bzip2, xz or zstd, or not at all, told by its first bytes. Members keep owner, mode and time (none
later than the build's). Nothing is unpacked here: the archive is written anew, with other names, while it is read.
"""

from __future__ import annotations

import os
from typing import cast

from ...errors import Unsupported
from ..layer.compression import LayerStream
from ..layer.tar import DIRECTORY, FILE, HARD_LINK, TarReader, header_of, padding_of
from ..layer.budget import DEFAULT_BUDGET
from ..layer.members import WHITEOUT, clean_path
from .members import LayerMaker, NotADirectory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from .view import View

_BZIP2, _XZ = b"BZh", b"\xfd7zXZ\0"


def is_archive(path: str | bytes) -> bool:
    """Whether the file is a tar archive, compressed or not."""
    try:
        with _open(path) as file:
            stream = LayerStream(file, limit=DEFAULT_BUDGET.size)
            first = stream.read(512)
        return len(first) == 512 and first[257:262] == b"ustar"
    except Unsupported:
        raise
    except Exception:  # what begins like a compressed file need not be one: each module has errors of its own
        return False


def archive_chunks(
    path: str | bytes, dest: bytes, view: View, mtime: int, owner: tuple[int, int] | None, written: set[bytes]
) -> Iterator[bytes]:
    """The layer that unpacking ``path`` below ``dest``, which is resolved, makes, without its end.

    ``written`` are the paths that the layer has already; none is written twice, as some tools refuse that. Raises
    ValueError, InvalidImage.
    """
    maker = LayerMaker(view, mtime)
    try:
        maker.make_directory(dest, owner or (0, 0))
    except NotADirectory as error:
        raise ValueError(str(error)) from error
    for name in sorted(maker.members):
        if name not in written:
            yield header_of(maker.members[name][0])
    written.update(maker.members)
    with _open(path) as file:
        reader = TarReader(LayerStream(file, limit=DEFAULT_BUDGET.size).read)
        for member in reader:
            name = clean_path(member.name)
            if name.startswith(WHITEOUT) or b"/" + WHITEOUT in name:
                raise ValueError(f"the archive has {os.fsdecode(name)!r}: .wh. means removal in a layer")
            if not name:
                continue
            whole = _place(name, dest, view, directory=member.kind == DIRECTORY)
            if whole in written:
                if member.kind == DIRECTORY:
                    continue
                raise ValueError(f"{'/' + os.fsdecode(whole)!r} comes more than once out of what is unpacked there")
            written.add(whole)
            target = member.target
            if member.kind == HARD_LINK:
                target = b"/".join(filter(None, (dest, clean_path(target))))
            uid, gid = owner or (member.uid, member.gid)
            yield header_of(
                member._replace(
                    name=whole + b"/" if member.kind == DIRECTORY else whole,
                    target=target,
                    uid=uid,
                    gid=gid,
                    mtime=max(0, min(mtime, member.mtime)),
                )
            )
            if member.kind == FILE:
                yield from map(bytes, reader.body())
                yield padding_of(member.size)


def _place(name: bytes, dest: bytes, view: View, *, directory: bool) -> bytes:
    """Where a member goes: below ``dest``, every link on the way followed inside the root."""
    head, _slash, tail = name.rpartition(b"/")
    whole = b"/".join(filter(None, (view.resolve(b"/".join(filter(None, (dest, head)))), tail)))
    return view.resolve(whole) if directory else whole


def _open(path: str | bytes) -> BinaryIO:
    with open(path, "rb") as file:
        first = file.read(6)
    if first.startswith(_BZIP2):
        import bz2  # few archives are packed with it

        return cast("BinaryIO", bz2.BZ2File(path))
    if first == _XZ:
        import lzma  # 2 ms that other archives do without

        return cast("BinaryIO", lzma.LZMAFile(path))
    return open(path, "rb")
