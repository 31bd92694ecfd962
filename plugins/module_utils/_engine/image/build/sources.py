# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The members of a layer that is made here: out of a directory or file of the host, or said entry by entry.

Promise: the archive depends on content, names, owners and modes alone: members are sorted, times are the epoch or
SOURCE_DATE_EPOCH (reproducible-builds.org/specs/source-date-epoch). Errors name the option.
"""

from __future__ import annotations

import os
import stat

from ...errors import InvalidOption, KernelError
from ..layer.members import WHITEOUT
from ..layer.tar import DIRECTORY, FILE, HARD_LINK, KINDS, SYMLINK, Member
from .members import LayerMaker, NotADirectory, directory_member, kept_xattrs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...model.image import Entry, LayerSource
    from .members import Members
    from .view import View


def source_date_epoch(option: str = "SOURCE_DATE_EPOCH") -> int:
    """The time that everything made here carries, in seconds; 0 unless the environment says another."""
    text = os.environ.get("SOURCE_DATE_EPOCH") or "0"
    if not text.isdigit() or len(text) > 11:
        raise InvalidOption(option, text, "seconds since 1970")
    return int(text)


def layer_members(option: str, source: LayerSource, view: View) -> Members:
    """The members of a layer on top of ``view``, by path. Raises InvalidOption, KernelError."""
    maker = _Maker(option, view)
    dest = _clean(f"{option}.dest", source.dest, empty=True)
    if source.path and os.path.isdir(source.path):
        maker.add_directory(source.path, dest)
    elif source.path:
        into = not dest or source.dest.endswith("/")
        maker.add_file(source.path, b"/".join(filter(None, (dest, os.fsencode(os.path.basename(source.path)) * into))))
    for number, entry in enumerate(source.entries):
        maker.add_entry(f"{option}.entries[{number}]", entry)
    try:
        maker.add_parents()
    except NotADirectory as error:
        raise InvalidOption(option, error.path, f"paths in directories; {error.directory!r} is none") from error
    return maker.members


class _Maker(LayerMaker):
    """Members out of what is said of them, or found on the host."""

    def __init__(self, option: str, view: View) -> None:
        super().__init__(view, source_date_epoch() * 10**9)
        self._option = option
        self._inodes: dict[tuple[int, int], bytes] = {}

    def add_directory(self, source: str, dest: bytes) -> None:
        """Everything in ``source``, sorted, so that of hard-linked names always the same one carries the content."""
        base = self.view.resolve(dest)
        try:
            entries = sorted(os.scandir(source), key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            raise KernelError(f"{self._option}.path: reading the directory", error) from error
        for entry in entries:
            path = b"/".join(filter(None, (base, os.fsencode(entry.name))))
            if entry.is_dir(follow_symlinks=False):
                self._add_found(entry.path, self.view.resolve(path), entry.stat(follow_symlinks=False))
                self.add_directory(entry.path, path)
            else:
                self._add_found(entry.path, path, entry.stat(follow_symlinks=False))

    def add_file(self, source: str, path: bytes) -> None:
        """One file of the host, which may be given through a link."""
        try:
            found = os.stat(source)
        except OSError as error:
            raise InvalidOption(
                f"{self._option}.path", source, f"a directory, tar archive or file on this host ({error.strerror})"
            ) from error
        if not stat.S_ISREG(found.st_mode):
            raise InvalidOption(f"{self._option}.path", source, "a directory, tar archive or file on this host")
        directory, _slash, base = path.rpartition(b"/")
        self._add_found(source, b"/".join(filter(None, (self.view.resolve(directory), base))), found)

    def add_entry(self, option: str, entry: Entry) -> None:
        path = _clean(f"{option}.path", entry.path)
        if entry.content is not None and entry.target is not None:
            raise InvalidOption(option, entry.path, "content or target, not both")
        kind = FILE if entry.content is not None else SYMLINK if entry.target is not None else DIRECTORY
        directory, _slash, base = path.rpartition(b"/")
        path = b"/".join(filter(None, (self.view.resolve(directory), base)))
        content = entry.content or b""
        mode = 0o777 if kind == SYMLINK else entry.mode
        if not (0 <= mode <= 0o7777 and 0 <= entry.uid < 2**32 - 1 and 0 <= entry.gid < 2**32 - 1):
            raise InvalidOption(option, entry.path, "a mode of 0000 to 7777, and a uid and gid under 4294967295")
        target = os.fsencode(entry.target or "")
        if kind == SYMLINK and (not target or b"\0" in target):
            raise InvalidOption(f"{option}.target", entry.target, "the path that the link leads to")
        self.put(path, Member(path, kind, mode, entry.uid, entry.gid, len(content), self.mtime, target), content)

    def _add_found(self, source: str, path: bytes, found: os.stat_result) -> None:
        """A file of the host as it is, save for its times; sockets are left out."""
        _refuse_whiteout(f"{self._option}.path", path)
        kind = KINDS.get(stat.S_IFMT(found.st_mode))
        if kind is None:
            return
        if kind == DIRECTORY:
            below = self.view.lookup(path)
            if below is not None and below.kind == DIRECTORY:
                self.put(path, directory_member(path, below, self.mtime), b"")
                return
        target = os.fsencode(os.readlink(source)) if kind == SYMLINK else b""
        if kind == FILE and found.st_nlink > 1:
            target = self._inodes.setdefault((found.st_dev, found.st_ino), path)
            kind, target = (HARD_LINK, target) if target != path else (FILE, b"")
        member = Member(
            name=path,
            kind=kind,
            mode=stat.S_IMODE(found.st_mode),
            uid=found.st_uid,
            gid=found.st_gid,
            size=found.st_size if kind == FILE else 0,
            mtime=self.mtime,
            target=target,
            device=(os.major(found.st_rdev), os.minor(found.st_rdev)),
            xattrs=kept_xattrs(source) if kind in (FILE, DIRECTORY) else {},
        )
        self.put(path, member, source)


def _clean(option: str, text: str, *, empty: bool = False) -> bytes:
    """A path in the image, relative to its root. Raises InvalidOption."""
    parts = [part for part in os.fsencode(text).split(b"/") if part not in (b"", b".")]
    if b".." in parts or b"\0" in os.fsencode(text) or not (parts or empty) or any(len(part) > 255 for part in parts):
        shown = text if len(text) <= 120 else text[:117] + "..."
        raise InvalidOption(option, shown, "a path inside the image, without '..'")
    _refuse_whiteout(option, b"/".join(parts))
    return b"/".join(parts)


def _refuse_whiteout(option: str, path: bytes) -> None:
    if path.startswith(WHITEOUT) or b"/" + WHITEOUT in path:
        raise InvalidOption(option, os.fsdecode(path), "no name that begins with .wh., which means removal in a layer")
