# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The members of a layer that is made here, by path, and the archive that they come to.

Promise: the archive depends on the members and their content alone: they are sorted, and nothing else is told.
"""

from __future__ import annotations

import hashlib
import os

from ...errors import KernelError
from ..layer.tar import DIRECTORY, FILE, Member, end_of_archive, header_of, padding_of
from ..manifest import Descriptor
from ..store import read_chunks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Union

    from .view import View

    # A member, and where its content is: here, or in a file of the host.
    Content = tuple[Member, Union[bytes, str]]
    Members = dict[bytes, Content]

_KEPT_XATTRS = ("security.capability", "user.")


class NotADirectory(Exception):
    """``path`` cannot be: ``directory``, in which it would be, is something else."""

    def __init__(self, path: bytes, directory: bytes) -> None:
        self.path, self.directory = os.fsdecode(path), os.fsdecode(directory)
        super().__init__(f"{self.directory!r} is no directory")


class LayerMaker:
    """Collects members on top of ``view``: later ones take the place of earlier ones. ``mtime`` is in nanoseconds."""

    def __init__(self, view: View, mtime: int) -> None:
        self.members: Members = {}
        self.view = view
        self.mtime = mtime

    def put(self, path: bytes, member: Member, content: bytes | str) -> None:
        name = path + b"/" if member.kind == DIRECTORY else path
        self.members[path] = (member._replace(name=name), content)

    def make_directory(self, path: bytes, owner: tuple[int, int] = (0, 0)) -> None:
        """A directory, which is resolved, and those on the way to it, where there are none. Raises NotADirectory."""
        below = self.view.lookup(path) if path else None
        if below is not None and below.kind != DIRECTORY:
            raise NotADirectory(path, path)
        if path and below is None:
            self.put(path, directory_member(path, None, self.mtime, owner), b"")
            self.add_parents(owner)

    def add_parents(self, owner: tuple[int, int] = (0, 0)) -> None:
        """The directories on the way, as the lower layers have them; where they have none, ``owner``'s and 0755.

        Raises NotADirectory.
        """
        for path in list(self.members):
            directory = path.rpartition(b"/")[0]
            while directory:
                member = self.members[directory][0] if directory in self.members else self.view.lookup(directory)
                if member is not None and member.kind != DIRECTORY:
                    raise NotADirectory(path, directory)
                if directory in self.members:
                    break
                self.put(directory, directory_member(directory, member, self.mtime, owner), b"")
                directory = directory.rpartition(b"/")[0]


def directory_member(path: bytes, below: Member | None, mtime: int, owner: tuple[int, int] = (0, 0)) -> Member:
    """A directory as ``below`` has it; where there is none, ``owner``'s and 0755."""
    mode, uid, gid = (below.mode, below.uid, below.gid) if below else (0o755, *owner)
    return Member(path, DIRECTORY, mode, uid, gid, mtime=mtime)


def write_tar(members: Members) -> Iterator[bytes]:
    """The archive of ``members``, a piece at a time. Raises KernelError where a file of the host cannot be read."""
    yield from tar_chunks(members)
    yield end_of_archive()


def tar_chunks(members: Members) -> Iterator[bytes]:
    """The archive without its end, so that others may go on."""
    pending: list[bytes] = []
    for path in sorted(members):
        member, content = members[path]
        pending.append(header_of(member))
        if member.kind == FILE:
            if isinstance(content, bytes):
                pending.append(content)
            else:
                yield from pending
                pending = []
                yield from _file_chunks(content, member.size)
            pending.append(padding_of(member.size))
        if len(pending) >= 256:
            yield b"".join(pending)
            pending = []
    yield b"".join(pending)


def kept_xattrs(source: str | bytes) -> Mapping[bytes, bytes]:
    """File capabilities and the user's own attributes; the host's labels and ACLs stay on the host."""
    try:
        names = [name for name in os.listxattr(source, follow_symlinks=False) if name.startswith(_KEPT_XATTRS)]
        return {os.fsencode(name): os.getxattr(source, name, follow_symlinks=False) for name in sorted(names)}
    except OSError:  # ENOTSUP: this file system has none
        return {}


def _file_chunks(source: str, size: int) -> Iterator[bytes]:
    try:
        with open(source, "rb", buffering=0) as file:
            for chunk in read_chunks(file):
                size -= len(chunk)
                yield chunk if size >= 0 else chunk[:size]
                if size <= 0:
                    break
    except OSError as error:
        raise KernelError("reading a file of the layer", error) from error
    if size != 0:
        raise KernelError("reading a file of the layer", OSError(0, "it changed while it was read; run again", source))


def hash_blob(media_type: str, chunks: Iterable[bytes]) -> Descriptor:
    """What Store.put_stream() does, without storing."""
    state = hashlib.sha256()
    size = 0
    for chunk in chunks:
        state.update(chunk)
        size += len(chunk)
    return Descriptor(media_type, f"sha256:{state.hexdigest()}", size)
