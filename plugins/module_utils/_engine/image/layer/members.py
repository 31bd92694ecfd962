# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make an archive's members, one after the other, in a process whose root is the layer's directory.

Whiteouts and opaque directories (image-spec 1.1, layer.md) are made as the kernel's overlayfs spells them. A file costs
six system calls; names are bare, in the directory that is at hand (tree.py). Runs of zeros become holes.
"""

from __future__ import annotations

import contextlib
import errno
import marshal
import os
import shutil
import stat

from ...errors import InvalidImage
from ..store import write_all
from .budget import Account, Rules
from .rules import CAPABILITY, SPECIAL, refuse_device, refuse_privileged
from .sparse import ZEROS
from .tar import BLOCK_DEVICE, CHARACTER, DIRECTORY, FIFO, FILE, HARD_LINK, SYMLINK, Member, TarReader
from .tree import Tree, is_whiteout, make_opaque, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import BinaryIO

WHITEOUT = b".wh."
_OPAQUE = b".wh..wh..opq"
_RESERVED = b".wh..wh."  # AUFS's own bookkeeping, in images of long ago

# Attributes of the overlay's own in an archive (a redirect, for one) would let a layer speak for others: they are
# dropped (Documentation/filesystems/overlayfs.rst).
_OVERLAY_XATTRS = (b"trusted.overlay.", b"user.overlay.")
_DEVICES = {CHARACTER: stat.S_IFCHR, BLOCK_DEVICE: stat.S_IFBLK, FIFO: stat.S_IFIFO}
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# What the kernel says of names, targets, attributes and numbers that cannot be, whatever the disk is like.
_ABSURD = (errno.ENAMETOOLONG, errno.ERANGE, errno.E2BIG, errno.EINVAL, errno.ENOENT, errno.ELOOP, errno.EMLINK)
_PAGE = 4096
_HOLE = 8 * _PAGE  # fewer zeros are written: a file in pieces costs more than them
_NOTHING = bytes(_HOLE)


def clean_path(name: bytes) -> bytes:
    """A member's name relative to the root, without ``.`` and slashes too many; InvalidImage where it has ``..``."""
    if b"//" in name or b"." in name or name[:1] == b"/" or name[-1:] == b"/" or b"\0" in name:
        parts = [part for part in name.split(b"/") if part not in (b"", b".")]
        if b".." in parts or b"\0" in name:
            raise InvalidImage(f"the layer has an entry that points out of it: {show(name)}")
        return b"/".join(parts)
    return name


class Unpacker:
    """Makes members where this process has its root. ``late`` keeps what is to be done last; it may be large.

    ``nodes``: whether this process may make devices; where it may not (in a user namespace) they are left out, since
    nobody there could open them.
    """

    def __init__(self, account: Account, rules: Rules, late: BinaryIO, *, nodes: bool) -> None:
        self._account = account
        self._rules = rules
        self._late = late
        self._nodes = nodes
        self._tree = Tree()
        self._postponed = 0
        self._removed: dict[
            bytes, int
        ] = {}  # directories that other entries took the place of; how many were late then

    def unpack(self, reader: TarReader) -> None:
        """Make every member; what directories are like is set last: each new name changes their times, a set-group-ID
        bit or a default ACL would rub off on what is made in them."""
        add_entry = self._account.add_entry
        for member in reader:
            add_entry()
            try:
                self._add(member, reader)
            except OSError as error:
                raise _blamed(error, member.name) from error
        self._set_directories()

    def _add(self, member: Member, reader: TarReader) -> None:
        path = clean_path(member.name)
        directory, _slash, base = path.rpartition(b"/")
        if base.startswith(WHITEOUT):
            self._whiteout(directory, base)
        elif not path:
            self._postpone(path, member)
        elif member.kind == FILE:
            self._tree.enter(directory)
            self._make_file(base, member, reader)
        else:
            self._tree.enter(directory)
            self._make(base, member)

    def _whiteout(self, directory: bytes, base: bytes) -> None:
        if base == _OPAQUE:
            self._tree.enter(directory)
            make_opaque(b".")
            return
        hidden = base[len(WHITEOUT) :]
        if base.startswith(_RESERVED) or not hidden:
            return
        if hidden in (b".", b".."):
            raise InvalidImage(f"the layer has a whiteout that points out of it: {show(base)}")
        self._tree.enter(directory)
        try:
            os.mknod(hidden, stat.S_IFCHR, os.makedev(0, 0))
        except FileExistsError:
            # A whiteout hides what lower layers have, never its own layer's: for a directory of this layer that is
            # opaque.
            if stat.S_ISDIR(os.lstat(hidden).st_mode):
                make_opaque(hidden)

    def _make_file(self, base: bytes, member: Member, reader: TarReader) -> None:
        # Owner before mode: chown(2) clears set-user-ID bits and file capabilities, and leaves the other bits.
        special = member.mode & SPECIAL
        mode = member.mode & ~SPECIAL
        if not self._rules.setuid and (special or CAPABILITY in member.xattrs):
            refuse_privileged(member.name, special)
        try:
            fd = os.open(base, _CREATE, mode)
        except FileExistsError:
            self._clear(base, FILE)
            fd = os.open(base, _CREATE, mode)
        try:
            if member.size:
                self._write(fd, member, reader.body())
            os.fchown(fd, member.uid, member.gid)
            if special:
                os.fchmod(fd, member.mode)
            if member.xattrs:
                self._set_xattrs(fd, member.xattrs)
            os.utime(fd, ns=(member.mtime, member.mtime))
        finally:
            os.close(fd)

    def _write(self, fd: int, member: Member, chunks: Iterable[bytes | memoryview]) -> None:
        self._account.add_size(member.size)
        if member.size < _PAGE:
            for chunk in chunks:
                write_all(fd, chunk)
            return
        ends_in_hole = False
        for chunk in chunks:
            ends_in_hole = _write_pages(fd, chunk)
        if ends_in_hole:
            os.ftruncate(fd, member.size)

    def _make(self, base: bytes, member: Member) -> None:
        """Make what is no file, in place of what an earlier entry of that name made."""
        hidden = self._clear(base, member.kind)
        if member.kind == DIRECTORY:
            with contextlib.suppress(FileExistsError):
                os.mkdir(base, 0o700)
            if hidden:
                make_opaque(base)
            self._postpone(self._tree.path_of(base), member)
            return
        if member.kind == HARD_LINK:
            self._link(base, member)
            return
        if member.kind == SYMLINK:
            os.symlink(member.target, base)
        elif not self._make_node(base, member):
            return
        os.chown(base, member.uid, member.gid, follow_symlinks=False)
        if member.kind != SYMLINK:
            os.chmod(base, member.mode)
        if member.xattrs:
            self._set_xattrs(base, member.xattrs)
        os.utime(base, ns=(member.mtime, member.mtime), follow_symlinks=False)

    def _make_node(self, base: bytes, member: Member) -> bool:
        if member.kind != FIFO:
            if not self._rules.devices:
                refuse_device(member.name)
            if not self._nodes and not _is_whiteout(member):
                return False
        os.mknod(base, _DEVICES[member.kind] | 0o600, os.makedev(*member.device))
        return True

    def _clear(self, base: bytes, kind: bytes) -> bool:
        """Remove what stands in an entry's way; True where that was a whiteout of this layer."""
        try:
            found = os.lstat(base)
        except FileNotFoundError:
            return False
        if stat.S_ISDIR(found.st_mode):
            if kind != DIRECTORY:
                shutil.rmtree(base)
                self._removed[self._tree.path_of(base)] = self._postponed
                self._tree.forget()
            return False
        os.unlink(base)
        if stat.S_ISLNK(found.st_mode):
            self._tree.forget()
        return is_whiteout(found)

    def _link(self, base: bytes, member: Member) -> None:
        """A hard link to an earlier entry of this layer, which may itself be a symbolic link but is never followed."""
        try:
            os.link(b"/" + clean_path(member.target), base, follow_symlinks=False)
        except OSError as error:
            refused = (errno.ENOENT, errno.ENOTDIR, errno.EPERM, errno.EISDIR, errno.ELOOP, errno.EEXIST)
            if error.errno not in refused:
                raise
            raise InvalidImage(
                f"the layer has a hard link {show(base)} to {show(member.target)}, which is no file of the layer"
            ) from error

    def _set_xattrs(self, target: int | bytes, xattrs: Mapping[bytes, bytes]) -> None:
        for key, value in xattrs.items():
            if key.startswith(_OVERLAY_XATTRS):
                continue
            try:
                os.setxattr(target, key, value, follow_symlinks=isinstance(target, int))
            except OSError as error:
                # user.* exists on files and directories alone, security.selinux only where SELinux is (xattr(7)).
                if error.errno not in (errno.EPERM, errno.ENOTSUP):
                    raise

    def _postpone(self, path: bytes, member: Member) -> None:
        """``path`` has no link in it: what one leads to may be another directory later."""
        what = (path, member.mode, member.uid, member.gid, member.mtime, dict(member.xattrs))
        self._late.write(marshal.dumps(what))
        self._postponed += 1

    def _set_directories(self) -> None:
        self._late.seek(0)
        os.chdir("/")
        had: dict[bytes, set[bytes]] = {}
        for number in range(self._postponed):
            path, mode, uid, gid, mtime, xattrs = marshal.load(self._late)
            if self._removed and self._is_gone(path, number):
                continue
            try:
                fd = os.open(b"/" + path, _OPEN)
                try:
                    os.fchown(fd, uid, gid)
                    os.fchmod(fd, mode)
                    for key in had.pop(path, set()).difference(xattrs):  # an earlier entry's
                        _remove_xattr(fd, key)
                    if xattrs:
                        self._set_xattrs(fd, xattrs)
                        had[path] = {key for key in xattrs if not key.startswith(_OVERLAY_XATTRS)}
                    os.utime(fd, ns=(mtime, mtime))
                finally:
                    os.close(fd)
            except OSError as error:
                raise _blamed(error, path) from error

    def _is_gone(self, path: bytes, number: int) -> bool:
        """Whether the directory that record ``number`` speaks of was removed since, or one that it was in."""
        while path:
            if self._removed.get(path, 0) > number:
                return True
            path = path.rpartition(b"/")[0]
        return False


def _is_whiteout(member: Member) -> bool:
    """Overlayfs's own spelling of one, which anybody may make (mknod(2), Linux 5.8)."""
    return member.kind == CHARACTER and member.device == (0, 0)


def _remove_xattr(fd: int, key: bytes) -> None:
    try:
        os.removexattr(fd, key)
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.EPERM, errno.ENOTSUP):  # it was not to be set either
            raise


def _blamed(error: OSError, name: bytes) -> Exception:
    """What the kernel refuses of an entry is the layer's fault, or the disk's."""
    if error.errno not in _ABSURD:
        return error
    return InvalidImage(f"the layer has an entry that cannot be made: {show(name)}: {error.strerror}")


def _write_pages(fd: int, chunk: bytes | memoryview) -> bool:
    """Write ``chunk`` at the file's position, save for runs of zeros, which are seeked over; True if it ends in one.

    Looking at the first byte of each page is enough to know most that cannot be part of a run.
    """
    if isinstance(chunk, memoryview) and chunk.obj is ZEROS.obj:
        os.lseek(fd, len(chunk), os.SEEK_CUR)
        return True
    heads = bytes(chunk[::_HOLE])
    start = 0
    position = heads.find(0) * _HOLE
    while position >= 0:
        if bytes(chunk[position : position + _HOLE]) == _NOTHING:
            if start < position:
                write_all(fd, memoryview(chunk)[start:position])
            os.lseek(fd, _HOLE, os.SEEK_CUR)
            start = position + _HOLE
        position = heads.find(0, position // _HOLE + 1) * _HOLE
    if start < len(chunk):
        write_all(fd, memoryview(chunk)[start:])
        return False
    return True
