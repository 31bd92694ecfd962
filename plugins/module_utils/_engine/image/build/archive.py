# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ADD of a tar archive: what is in it becomes a layer, below a destination.

Compressed with gzip, bzip2, xz or zstd, or not at all, told by its first bytes. Members keep owner, mode and time (none
later than the build's). Nothing is unpacked here: the archive is written anew, with other names, while it is read.
"""

from __future__ import annotations

import contextlib
import os

from ...errors import Unsupported
from ..layer.budget import DEFAULT_BUDGET
from ..layer.compression import LayerStream
from ..layer.members import WHITEOUT, clean_path
from ..layer.packings import Unpacked, packing_of
from ..layer.tar import DIRECTORY, FILE, HARD_LINK, Member, TarReader, header_of, padding_of
from .members import LayerMaker, NotADirectory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .view import View


def is_archive(path: str | bytes) -> bool:
    """Whether the file is a tar archive, compressed or not."""
    try:
        with _open(path) as stream:
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

    Of a name that the archive has twice, the last counts, as it does for tar. ``written`` are the paths that the layer
    has already; none is written twice, as some tools refuse that. Raises ValueError, InvalidImage.
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
    outcome = _outcome(path, dest, view)
    with _open(path) as stream:
        reader = TarReader(stream.read)
        for number, member in enumerate(reader):
            if number not in outcome:
                continue
            found = outcome[number]
            if found.name in written:
                if found.kind == DIRECTORY:
                    continue
                raise ValueError(
                    f"{'/' + os.fsdecode(found.name)!r} comes more than once out of what is unpacked there"
                )
            written.add(found.name)
            uid, gid = owner or (found.uid, found.gid)
            name = found.name + b"/" if found.kind == DIRECTORY else found.name
            yield header_of(found._replace(name=name, uid=uid, gid=gid, mtime=max(0, min(mtime, found.mtime))))
            if member.kind == FILE:
                yield from map(bytes, reader.body())
                yield padding_of(member.size)


def _outcome(path: str | bytes, dest: bytes, view: View) -> dict[int, Member]:
    """What is written of the archive's members, by their numbers: with their places, and each place once."""
    members: list[Member] = []
    places: dict[bytes, list[int]] = {}  # the numbers of those that are put there, one after the other
    content: dict[int, int] = {}  # which member has the content of a hard link
    with _open(path) as stream:
        for number, member in enumerate(TarReader(stream.read)):
            place = _place(_clean(member.name), dest, view, directory=member.kind == DIRECTORY)
            target = member.target
            content[number] = number
            if member.kind == HARD_LINK:
                target = _place(_clean(target), dest, view, directory=False)
                content[number] = content[places[target][-1]] if target in places else number
            members.append(member._replace(name=place, target=target))
            if _clean(member.name):
                before = places.setdefault(place, [])
                kinds = {member.kind, members[before[-1]].kind} if before else {member.kind}
                if DIRECTORY in kinds and len(kinds) > 1:
                    raise ValueError(f"{'/' + os.fsdecode(place)!r} is a directory in the archive, and something else")
                before.append(number)
    # A directory is made where the first of its name is: before what is in it.
    found = {numbers[0 if members[numbers[0]].kind == DIRECTORY else -1]: numbers[-1] for numbers in places.values()}
    outcome = {number: members[last] for number, last in found.items()}
    heirs: dict[int, bytes] = {}  # where a content goes whose own name is another's in the end
    for number in sorted(outcome):
        inode = content[found[number]]
        if inode == found[number]:
            continue
        if inode in outcome and outcome[inode] is members[inode]:
            outcome[number] = outcome[number]._replace(target=members[inode].name)
        elif inode in heirs:
            outcome[number] = outcome[number]._replace(target=heirs[inode])
        else:
            heirs[inode] = outcome.pop(number).name
    outcome.update((inode, members[inode]._replace(name=name)) for inode, name in heirs.items())
    return outcome


def _clean(name: bytes) -> bytes:
    found = clean_path(name)
    if found.startswith(WHITEOUT) or b"/" + WHITEOUT in found:
        raise ValueError(f"the archive has {os.fsdecode(found)!r}: .wh. means removal in a layer")
    return found


def _place(name: bytes, dest: bytes, view: View, *, directory: bool) -> bytes:
    """Where a member goes: below ``dest``, every link on the way followed inside the root."""
    head, _slash, tail = name.rpartition(b"/")
    whole = b"/".join(filter(None, (view.resolve(b"/".join(filter(None, (dest, head)))), tail)))
    return view.resolve(whole) if directory else whole


@contextlib.contextmanager
def _open(path: str | bytes) -> Iterator[LayerStream]:
    with open(path, "rb") as file:
        packing = packing_of(file.read(512))
        file.seek(0)
        yield LayerStream(Unpacked(file, packing) if packing else file, limit=DEFAULT_BUDGET.size)
