# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""COPY and ADD of files: the members of the layer that they make (Dockerfile reference, "COPY" and "ADD").

Directories are copied by their content into one that is there or becomes 0755, links as links unless they are named
themselves, owners are root's out of the
context and kept out of a stage, modes are kept. Times are not copied: they are no input of a build. What cannot be is
ValueError with a reason.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from typing import NamedTuple

from ..layer.members import WHITEOUT
from ..layer.tar import DIRECTORY, FILE, HARD_LINK, KINDS, SYMLINK, Member, header_of
from .ignore import Ignore
from .members import LayerMaker, NotADirectory, directory_member, kept_xattrs
from .origins import Source, find_sources, walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .file_digests import FileDigests
    from .members import Members
    from .origins import Origin
    from .view import Found, View

_SYMBOLIC = re.compile(r"([ugoa]*)((?:[-+=](?:[ugo]|[rwxXst]*))+)")
_ACTION = re.compile(r"([-+=])([ugo]|[rwxXst]*)")
_MAX_ID = (1 << 32) - 2
_BITS = {"r": 0o444, "w": 0o222, "x": 0o111}
_SHIFTS = {"u": 6, "g": 3, "o": 0}
_CLASSES = {"u": 0o4700, "g": 0o2070, "o": 0o1007}


class CopyJob(NamedTuple):
    """A COPY with its words expanded. ``dest`` is absolute; a slash at its end means a directory.

    ``documents`` are files of another origin: name, content or the path of a file that has it, and mode. ``owner``
    None: as the origin has it.
    """

    sources: Sequence[str]
    dest: str
    documents: Sequence[tuple[str, bytes | str, int]] = ()
    owner: tuple[int, int] | None = None
    chmod: str = ""
    exclude: Ignore = Ignore()
    parents: bool = False


def copy_members(job: CopyJob, origin: Origin, view: View, mtime: int) -> Members:
    """The members of the layer on top of ``view``; ``mtime`` is in nanoseconds. Raises ValueError."""
    maker = _CopyMaker(job, origin, view, mtime)
    found = [source for text in job.sources for source in find_sources(origin, text)]
    if not found and not job.documents:
        raise ValueError(f"nothing in {origin.told} matches {', '.join(job.sources)}")
    dest = find_destination(job.dest, view)
    below = view.lookup(dest) if dest else None
    into = not dest or job.dest.endswith("/") or len(found) > 1 or (below is not None and below.kind == DIRECTORY)
    for source in found:
        maker.add(source, dest, into=into)
    for name, content, mode in job.documents:
        path = b"/".join(filter(None, (dest, os.fsencode(name)))) if into else dest
        maker.add_document(path, content, mode)
    try:
        maker.add_parents(job.owner or (0, 0))
    except NotADirectory as error:
        raise ValueError(f"{error.path!r} cannot be written: {error}") from error
    return maker.members


def members_digest(members: Members, digests: FileDigests) -> str:
    """What the layer of ``members`` depends on, in hexadecimal; files that have not changed are not read again."""
    state = hashlib.sha256()
    for path in sorted(members):
        member, content = members[path]
        state.update(header_of(member))
        if member.kind == FILE:
            inner = (
                hashlib.sha256(content).hexdigest()
                if isinstance(content, bytes)
                else digests.digest(os.fsencode(content))
            )
            state.update(inner.encode())
    return state.hexdigest()


def find_destination(text: str, view: View) -> bytes:
    """Where it goes: every link on the way is followed inside the root, save the last part of a file's own path."""
    parts = [part for part in os.fsencode(text).split(b"/") if part not in (b"", b".")]
    if b"\0" in os.fsencode(text):
        raise ValueError(f"the destination {text!r} has a zero byte")
    whole = view.resolve(b"/".join(parts))
    member = view.lookup(whole) if whole else None
    if text.endswith("/") or member is None or member.kind == DIRECTORY or not parts or parts[-1] == b"..":
        return whole
    # A file takes the place of a link, not of what that leads to.
    directory = view.resolve(b"/".join(parts[:-1]))
    return b"/".join(filter(None, (directory, parts[-1])))


class _CopyMaker(LayerMaker):
    """Collects what is copied."""

    def __init__(self, job: CopyJob, origin: Origin, view: View, mtime: int) -> None:
        super().__init__(view, mtime)
        self._job = job
        self._origin = origin
        self._inodes: dict[tuple[int, int], bytes] = {}

    def add(self, source: Source, dest: bytes, *, into: bool) -> None:
        """One source: a directory's content, or a file."""
        job = self._job
        if job.parents:
            dest = self._add_way(source, dest)
        if not source.found.is_directory:
            name = os.path.basename(source.path)
            if job.exclude.excludes(os.fsdecode(name)):
                return
            self._add_found(dest + b"/" + name if into and dest else name if into else dest, source.found)
            return
        base = self.view.lookup(dest) if dest else None
        if dest and base is not None and base.kind != DIRECTORY:
            raise ValueError(f"a directory is copied to {'/' + os.fsdecode(dest)!r}, which is a file")
        if dest and base is None and not job.parents:
            self.put(dest, directory_member(dest, None, self.mtime, job.owner or (0, 0)), b"")
        above = {b"": job.exclude.nothing}
        for relative, found in walk(self._origin, source):
            directory = relative.rpartition(b"/")[0]
            if job.exclude:
                parent = above.get(directory, job.exclude.nothing)
                excluded, above[relative] = job.exclude.match(os.fsdecode(relative), parent)
                if excluded:
                    continue
            path = dest + b"/" + relative if dest else relative
            if found.is_directory:
                path = self.view.resolve(path)
            else:
                head, _slash, tail = path.rpartition(b"/")
                path = b"/".join(filter(None, (self.view.resolve(head), tail)))
            self._add_found(path, found)

    def _add_way(self, source: Source, dest: bytes) -> bytes:
        """--parents: the directories that lead to a source, as the origin has them; where the source itself goes."""
        parts = source.path.split(b"/") if source.path else []
        kept = parts if source.found.is_directory else parts[:-1]
        for depth in range(source.pivot + 1, len(kept) + 1):
            found = self._origin.view.find(self._origin.view.resolve(b"/".join(parts[:depth])))
            path = b"/".join(filter(None, (dest, *parts[source.pivot : depth])))
            below = self.view.lookup(path)
            if found is not None and (below is None or below.kind != DIRECTORY):
                self._add_found(path, found)
        return b"/".join(filter(None, (dest, *kept[source.pivot :])))

    def add_document(self, path: bytes, content: bytes | str, mode: int) -> None:
        """A file of another origin."""
        size = len(content) if isinstance(content, bytes) else os.stat(content).st_size
        mode = change_mode(self._job.chmod, mode, directory=False)
        self.put(path, Member(path, FILE, mode, *(self._job.owner or (0, 0)), size, self.mtime), content)

    def _add_found(self, path: bytes, found: Found) -> None:
        """Something as it is, save for its times; sockets are left out."""
        if path.startswith(WHITEOUT) or b"/" + WHITEOUT in path:
            raise ValueError(f"{os.fsdecode(path)!r} begins with .wh., which means removal in a layer")
        status = found.stat
        kind = KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is None:
            return
        target = os.readlink(found.path) if kind == SYMLINK else b""
        if kind == FILE and status.st_nlink > 1:
            target = self._inodes.setdefault((status.st_dev, status.st_ino), path)
            kind, target = (HARD_LINK, target) if target != path else (FILE, b"")
        mode = (
            0o777
            if kind == SYMLINK
            else change_mode(self._job.chmod, stat.S_IMODE(status.st_mode), directory=kind == DIRECTORY)
        )
        owner = self._job.owner or self._origin.owner or (status.st_uid, status.st_gid)
        member = Member(
            path,
            kind,
            mode,
            *owner,
            status.st_size if kind == FILE else 0,
            self.mtime if self._origin.owner else min(self.mtime, status.st_mtime_ns),
            target,
            (os.major(status.st_rdev), os.minor(status.st_rdev)),
            kept_xattrs(found.path) if kind in (FILE, DIRECTORY) else {},
        )
        self.put(path, member, os.fsdecode(found.path))


def change_mode(text: str, mode: int, *, directory: bool) -> int:
    """``--chmod``: octal, or chmod(1)'s ``u=rwX,go=rX``; empty keeps ``mode``. Raises ValueError."""
    if not text:
        return mode
    if re.fullmatch(r"[0-7]{1,5}", text) and int(text, 8) <= 0o7777:
        return int(text, 8)
    for clause in text.split(","):
        match = _SYMBOLIC.fullmatch(clause)
        if not match:
            raise ValueError(f"--chmod={text}: it is neither octal, such as 0755, nor such as u=rwX,go=rX")
        who = "ugo" if not match.group(1) or "a" in match.group(1) else match.group(1)
        scope = 0
        for letter in who:
            scope |= _CLASSES[letter]
        for sign, letters in _ACTION.findall(match.group(2)):
            bits = _bits(letters, mode, directory=directory) & scope
            mode = {"+": mode | bits, "-": mode & ~bits, "=": mode & ~scope | bits}[sign]
    return mode


def _bits(letters: str, mode: int, *, directory: bool) -> int:
    """What chmod(1)'s letters mean, for all classes; ``u`` and its like: what that class has now."""
    if letters in _SHIFTS:
        return ((mode >> _SHIFTS[letters]) & 0o7) * 0o111
    bits = 0
    for letter in letters:
        if letter == "X":
            bits |= 0o111 if directory or mode & 0o111 else 0
        elif letter == "s":
            bits |= 0o6000
        else:
            bits |= 0o1000 if letter == "t" else _BITS[letter]
    return bits


def find_owner(text: str, view: View) -> tuple[int, int]:
    """``--chown``: user, or user:group, by number or by the names in ``view``; a number alone is the group's too.

    Raises ValueError.
    """
    user, colon, group = text.partition(":")
    if not user or (colon and not group):
        raise ValueError(f"--chown={text}: it is no user, user:group or uid:gid")
    uid, gid = _number(user), _number(group) if colon else _number(user)
    if uid is None:
        entry = _entry(view, b"etc/passwd", user, 7)
        if entry is None:
            raise ValueError(f"--chown={text}: no user {user!r} is in the image's /etc/passwd")
        uid, primary = _number(entry[2]), _number(entry[3])
        gid = primary if not colon else gid
    if gid is None:
        entry = _entry(view, b"etc/group", group, 4)
        gid = _number(entry[2]) if entry else None
    if uid is None or gid is None:
        raise ValueError(f"--chown={text}: no group {group or user!r} is in the image's /etc/group")
    return uid, gid


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 11 and int(text) <= _MAX_ID else None


def _entry(view: View, path: bytes, name: str, fields: int) -> list[str] | None:
    found = view.find(view.resolve(path))
    if found is None or not stat.S_ISREG(found.stat.st_mode):
        return None
    with open(found.path, encoding="utf-8", errors="replace") as lines:
        entries = (line.rstrip("\n").split(":") for line in lines)
        return next((entry for entry in entries if entry[0] == name and len(entry) >= fields), None)
