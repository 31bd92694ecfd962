# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an unpacked layer still is what its archive says. Reads both, and writes nothing.

What layer/members.py makes of an archive is worked out in memory, an entry a record, while contents are compared as
they come by; then the directory is walked, and must have that and no more. No link on the disk is followed.
"""

from __future__ import annotations

import os
import stat

from ...errors import InvalidImage
from ...linux.process import in_user_namespace
from .members import WHITEOUT, clean_path
from .tar import BLOCK_DEVICE, CHARACTER, DIRECTORY, FILE, HARD_LINK, KINDS, SYMLINK, Member, TarReader
from .tree import OPAQUE_XATTR, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_OPAQUE = b".wh..wh..opq"
_RESERVED = b".wh..wh."
_MAX_LINKS = 40
_SECOND = 10**9
# What is the host's to set on files (labels, for one) is left out.
_XATTRS = (b"user.", b"trusted.", b"security.capability")
_OVERLAY = (b"trusted.overlay.", b"user.overlay.")
_FOLLOW_NONE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


class _Record:
    """What is to be at a path. Hard links to one file have one record."""

    def __init__(self, member: Member | None, *, whiteout: bool = False) -> None:
        self.member = member  # None: a directory that only entries below it speak of, or a whiteout
        self.whiteout = whiteout
        self.opaque = False
        self.same = True
        self.inode = 0

    @property
    def is_directory(self) -> bool:
        return not self.whiteout and (self.member is None or self.member.kind == DIRECTORY)


class Comparer:
    """Holds ``directory``, a layer that is unpacked, against its archive."""

    def __init__(self, directory: str) -> None:
        self._root = os.fsencode(directory)
        self._records: dict[bytes, _Record] = {b"": _Record(None)}

    def differences(self, reader: TarReader) -> Iterator[str]:
        """What is not as the archive says, one line each. Raises InvalidImage, OSError where it cannot be read."""
        for member in reader:
            self._take(member, reader)
        yield from self._walk()

    def _take(self, member: Member, reader: TarReader) -> None:
        path = clean_path(member.name)
        directory, _slash, base = path.rpartition(b"/")
        if not path:
            self._records[path].member = member._replace(kind=DIRECTORY)  # whatever the archive says
            return
        directory = self._enter(directory)
        path = directory + b"/" + base if directory else base
        if base.startswith(WHITEOUT):
            self._whiteout(directory, base)
            return
        before = self._records.get(path)
        if member.kind == HARD_LINK:
            self._forget(path)
            target = self._records.get(clean_path(member.target))
            if target is None:
                raise InvalidImage(f"the layer has a hard link to {show(member.target)}, which it has not")
            self._records[path] = target
            return
        if member.kind == DIRECTORY and before is not None and before.is_directory:
            before.member = member
            return
        self._forget(path)
        if member.kind == CHARACTER and member.device == (0, 0):  # as overlayfs spells it
            self._records[path] = _Record(None, whiteout=True)
            return
        record = self._records[path] = _Record(member)
        record.opaque = member.kind == DIRECTORY and before is not None and before.whiteout
        if member.kind == FILE and member.size:
            record.same = self._has_content(path, member, reader)

    def _whiteout(self, directory: bytes, base: bytes) -> None:
        if base == _OPAQUE:
            self._records[directory].opaque = True
            return
        hidden = base[len(WHITEOUT) :]
        if base.startswith(_RESERVED) or not hidden:
            return
        path = directory + b"/" + hidden if directory else hidden
        record = self._records.setdefault(path, _Record(None, whiteout=True))
        if record.is_directory:
            record.opaque = True

    def _forget(self, path: bytes) -> None:
        """An entry takes the place of another one, be it a whole directory."""
        before = self._records.pop(path, None)
        if before is not None and before.is_directory:
            below = path + b"/"
            for name in [name for name in self._records if name.startswith(below)]:
                del self._records[name]

    def _enter(self, directory: bytes) -> bytes:
        """Where ``directory`` leads inside the layer, made on the way where nothing has spoken of it yet."""
        done: list[bytes] = []
        pending = directory.split(b"/")[::-1]
        links = 0
        while pending:
            part = pending.pop()
            if part in (b"", b"."):
                continue
            if part == b"..":
                del done[-1:]
                continue
            path = b"/".join([*done, part])
            record = self._records.get(path)
            if record is not None and record.member is not None and record.member.kind == SYMLINK:
                links += 1
                if links > _MAX_LINKS:
                    raise InvalidImage(f"the layer has too many symbolic links in {show(directory)}")
                if record.member.target.startswith(b"/"):
                    done.clear()
                pending += record.member.target.split(b"/")[::-1]
                continue
            if record is None or record.whiteout:
                made = self._records[path] = _Record(None)
                made.opaque = record is not None
            done.append(part)
        return b"/".join(done)

    def _has_content(self, path: bytes, member: Member, reader: TarReader) -> bool:
        """Whether the file on disk holds what the archive's entry does, as far as that is the last of its name."""
        try:
            fd = self._open(path)
        except OSError:
            return False
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode) or found.st_size != member.size:
                return False
            return all(_read(fd, len(chunk)) == chunk for chunk in reader.body())
        finally:
            os.close(fd)

    def _open(self, path: bytes) -> int:
        """A file below the root, with no link on the way. O_NONBLOCK: a FIFO in its place must not keep us."""
        *directories, base = path.split(b"/")
        fd = os.open(self._root, _FOLLOW_NONE | os.O_DIRECTORY)
        try:
            for part in directories:
                inner = os.open(part, _FOLLOW_NONE | os.O_DIRECTORY, dir_fd=fd)
                os.close(fd)
                fd = inner
            return os.open(base, _FOLLOW_NONE | os.O_NONBLOCK, dir_fd=fd)
        finally:
            os.close(fd)

    # The directory --------------------------------------------------------------------------------

    def _walk(self) -> Iterator[str]:
        seen = {b""}
        yield from self._compare(b"", os.lstat(self._root))
        for directory, names, files, fd in os.fwalk(self._root):
            place = directory[len(self._root) + 1 :]
            for name in sorted(names + files):
                path = place + b"/" + name if place else name
                seen.add(path)
                if path in self._records:
                    yield from self._compare(path, os.stat(name, dir_fd=fd, follow_symlinks=False))
                else:
                    yield f"{show(path)} is not of the layer"
        for path in sorted(self._records.keys() - seen):
            member = self._records[path].member
            if not (member and member.kind in (CHARACTER, BLOCK_DEVICE) and in_user_namespace()):
                yield f"{show(path)} is missing"

    def _compare(self, path: bytes, found: os.stat_result) -> Iterator[str]:
        record = self._records[path]
        member = record.member
        kind = KINDS.get(stat.S_IFMT(found.st_mode))
        where = self._root + b"/" + path if path else self._root
        wanted = CHARACTER if record.whiteout else DIRECTORY if member is None else member.kind
        if kind != wanted:
            yield f"{show(path)} is of another kind"
            return
        if record.whiteout:
            if found.st_rdev:
                yield f"{show(path)} is no whiteout"
            return
        if kind == DIRECTORY and _is_opaque(where) != record.opaque:
            yield f"{show(path)} is {'not ' if record.opaque else ''}opaque"
        record.inode = record.inode or found.st_ino
        if kind != DIRECTORY and record.inode != found.st_ino:
            yield f"{show(path)} is a file of its own, and no hard link"
        if member is None:
            told = (0o755, 0, 0) if path else (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid)
        else:
            told = (found.st_mode & 0o7777 if kind == SYMLINK else member.mode, member.uid, member.gid)
        if told != (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid):
            yield f"{show(path)} has another mode or owner"
        if member is not None:
            yield from self._compare_member(path, where, record, member, found)

    def _compare_member(
        self, path: bytes, where: bytes, record: _Record, member: Member, found: os.stat_result
    ) -> Iterator[str]:
        if not _is_time(found.st_mtime_ns, member.mtime):
            yield f"{show(path)} has another time"
        if member.kind == FILE and (not record.same or found.st_size != member.size):
            yield f"{show(path)} has another content"
        if member.kind == SYMLINK and os.readlink(where) != member.target:
            yield f"{show(path)} leads elsewhere"
        if member.kind in (CHARACTER, BLOCK_DEVICE) and found.st_rdev != os.makedev(*member.device):
            yield f"{show(path)} is another device"
        if member.kind in (FILE, DIRECTORY) and _xattrs(where) != _kept(member.xattrs):
            yield f"{show(path)} has other extended attributes"


def _kept(xattrs: object) -> dict[bytes, bytes]:
    items = xattrs.items() if hasattr(xattrs, "items") else ()
    return {key: value for key, value in items if key.startswith(_XATTRS) and not key.startswith(_OVERLAY)}


def _xattrs(path: bytes) -> dict[bytes, bytes]:
    names = [os.fsencode(name) for name in os.listxattr(path, follow_symlinks=False)]
    return _kept({name: os.getxattr(path, name, follow_symlinks=False) for name in names if name.startswith(_XATTRS)})


def _is_opaque(path: bytes) -> bool:
    try:
        return os.getxattr(path, OPAQUE_XATTR, follow_symlinks=False) == b"y"
    except OSError:
        return False


def _is_time(found: int, wanted: int) -> bool:
    """A file system may keep whole seconds alone."""
    return found == wanted or (found % _SECOND == 0 and found // _SECOND == wanted // _SECOND)


def _read(fd: int, size: int) -> bytes:
    content = os.read(fd, size)
    while len(content) < size:
        more = os.read(fd, size - len(content))
        if not more:
            break
        content += more
    return content
