# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Unpack a layer into a directory that serves as a lower directory of an overlay.

Promises: the directory holds what the archive says (image-spec 1.1, layer.md), with whiteouts and opaque directories
as the kernel's overlayfs spells them; it depends on the layer's bytes alone, so images share it; nothing outside of
it is ever touched, whatever the archive says; it has the digest that was asked for, or is not there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from typing import NamedTuple

from ...errors import DigestMismatch, InvalidImage, KernelError
from ..store import write_all
from .compression import LayerStream
from .tar import BLOCK_DEVICE, CHARACTER, DIRECTORY, FIFO, FILE, HARD_LINK, SYMLINK, Member, TarReader
from .tree import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

PARTIAL = ".partial"
WHITEOUT = b".wh."
_OPAQUE = b".wh..wh..opq"
_RESERVED = b".wh..wh."  # AUFS's own bookkeeping, in images of long ago

# Documentation/filesystems/overlayfs.rst: "whiteouts and opaque directories". Attributes of the overlay's own in an
# archive (a redirect, for one) would let a layer speak for others: they are dropped.
OPAQUE_XATTR = "trusted.overlay.opaque"
_OVERLAY_XATTRS = (b"trusted.overlay.", b"user.overlay.")


class Budget(NamedTuple):
    """How much a layer may hold: uncompressed bytes, and entries."""

    size: int = 64 << 30
    entries: int = 4_000_000


DEFAULT_BUDGET = Budget()


def unpack_layer(file: BinaryIO, target: str, diff_id: str, *, budget: Budget = DEFAULT_BUDGET) -> None:
    """Unpack a layer, compressed or not, into ``target``.partial and check it; whoever calls renames it into place.

    Raises DigestMismatch where the uncompressed content is not ``diff_id``, InvalidImage where it is malformed or
    hostile, KernelError where the disk or kernel refuses; ``target``.partial is gone then.
    """
    partial = target + PARTIAL
    remove_tree(partial)
    os.makedirs(partial, mode=0o755)
    os.chmod(partial, 0o755)
    try:
        stream = LayerStream(file, limit=budget.size, algorithm=diff_id.partition(":")[0])
        with Tree(partial) as tree:
            _unpack(TarReader(stream.read), tree, budget)
        found = stream.digest()
        if found != diff_id:
            raise DigestMismatch("layer", diff_id, found)
    except BaseException as error:
        remove_tree(partial)
        if isinstance(error, InvalidImage):
            raise InvalidImage(f"layer {diff_id}: {error}") from error
        if isinstance(error, OSError):
            raise KernelError(f"unpacking the layer {diff_id}", error) from error
        raise


def remove_tree(path: str) -> None:
    """Remove ``path`` without following a symbolic link (rmtree works through directory descriptors)."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)


def _unpack(reader: TarReader, tree: Tree, budget: Budget) -> None:
    """Apply every member; directory times last, since each new name changes them."""
    times: dict[bytes, int] = {}
    for count, member in enumerate(reader, 1):
        if count > budget.entries:
            raise InvalidImage(f"the layer has more than {budget.entries} entries")
        path = clean_path(member.name)
        directory, _slash, base = path.rpartition(b"/")
        if base.startswith(WHITEOUT):
            _whiteout(tree, directory, base)
        elif not path:
            _set_attributes(tree.root, member)
            times[path] = member.mtime
        else:
            _create(tree, directory, base, member, reader)
            if member.kind == DIRECTORY:
                times[path] = member.mtime
    for path in sorted(times, reverse=True):
        with _still_there(tree, path) as fd:
            if fd >= 0:
                os.utime(fd, ns=(times[path], times[path]))


def clean_path(name: bytes) -> bytes:
    """A member's name relative to the root, without ``.`` and slashes too many; InvalidImage where it has ``..``."""
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in parts or b"\0" in name:
        raise InvalidImage(f"the layer has an entry that points out of it: {name.decode(errors='backslashreplace')!r}")
    return b"/".join(parts)


def _whiteout(tree: Tree, directory: bytes, base: bytes) -> None:
    if base == _OPAQUE:
        os.setxattr(tree.directory(directory), OPAQUE_XATTR, b"y")
        return
    hidden = base[len(WHITEOUT) :]
    if base.startswith(_RESERVED) or not hidden:
        return
    if hidden in (b".", b".."):
        raise InvalidImage(f"the layer has a whiteout that points out of it: {base.decode()!r}")
    parent = tree.directory(directory)
    try:
        os.mknod(hidden, stat.S_IFCHR, os.makedev(0, 0), dir_fd=parent)
    except FileExistsError:
        # A whiteout hides what lower layers have, never its own layer's: for a directory of this layer that is opaque.
        if stat.S_ISDIR(os.lstat(_at(parent, hidden)).st_mode):
            _make_opaque(parent, hidden)


def _create(tree: Tree, directory: bytes, base: bytes, member: Member, reader: TarReader) -> None:
    """Make one entry, in place of what an earlier entry of that name made."""
    parent = tree.directory(directory)
    hidden = _clear(parent, base, member.kind)
    if member.kind == FILE:
        _write_file(parent, base, member, reader.body())
        return
    if member.kind == HARD_LINK:
        _link(tree, parent, base, member)
        return
    if member.kind == DIRECTORY:
        with contextlib.suppress(FileExistsError):
            os.mkdir(base, 0o700, dir_fd=parent)
        with tree.opened(parent, base) as fd:
            _set_attributes(fd, member)
            if hidden:
                os.setxattr(fd, OPAQUE_XATTR, b"y")
        return
    if member.kind == SYMLINK:
        os.symlink(member.target, base, dir_fd=parent)
    else:
        kinds = {CHARACTER: stat.S_IFCHR, BLOCK_DEVICE: stat.S_IFBLK, FIFO: stat.S_IFIFO}
        os.mknod(base, kinds[member.kind] | 0o600, os.makedev(*member.device), dir_fd=parent)
    os.chown(base, member.uid, member.gid, dir_fd=parent, follow_symlinks=False)
    if member.kind != SYMLINK:
        os.chmod(base, member.mode, dir_fd=parent)  # not a link: made here, in a directory that only we write
    _set_xattrs(_at(parent, base), member, follow_symlinks=False)
    os.utime(base, ns=(member.mtime, member.mtime), dir_fd=parent, follow_symlinks=False)


def _clear(parent: int, base: bytes, kind: bytes) -> bool:
    """Remove what stands in an entry's way; True where that was a whiteout of this layer."""
    try:
        found = os.stat(base, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if stat.S_ISDIR(found.st_mode):
        if kind != DIRECTORY:
            shutil.rmtree(_at(parent, base))
        return False
    os.unlink(base, dir_fd=parent)
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def _write_file(parent: int, base: bytes, member: Member, chunks: Iterator[bytes]) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(base, flags, 0o600, dir_fd=parent)
    try:
        for chunk in chunks:
            write_all(fd, chunk)
        _set_attributes(fd, member)
        os.utime(fd, ns=(member.mtime, member.mtime))
    finally:
        os.close(fd)


def _link(tree: Tree, parent: int, base: bytes, member: Member) -> None:
    """A hard link to an earlier entry of this layer, which may itself be a symbolic link but is never followed."""
    directory, _slash, name = clean_path(member.target).rpartition(b"/")
    keep = os.dup(parent)
    try:
        os.link(name, base, src_dir_fd=tree.directory(directory), dst_dir_fd=keep, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EPERM, errno.EISDIR):
            raise InvalidImage(
                f"the layer has a hard link {base.decode(errors='backslashreplace')!r} to "
                f"{member.target.decode(errors='backslashreplace')!r}, which is no file of the layer"
            ) from error
        raise
    finally:
        os.close(keep)


def _set_attributes(fd: int, member: Member) -> None:
    """Owner first: chown(2) clears set-user-ID bits and file capabilities."""
    os.fchown(fd, member.uid, member.gid)
    os.fchmod(fd, member.mode)
    _set_xattrs(fd, member)


def _set_xattrs(target: int | bytes, member: Member, *, follow_symlinks: bool = True) -> None:
    for key, value in member.xattrs.items():
        if key.startswith(_OVERLAY_XATTRS):
            continue
        try:
            os.setxattr(target, key, value, follow_symlinks=follow_symlinks)
        except OSError as error:
            # user.* exists on files and directories alone, security.selinux only where SELinux is (xattr(7)).
            if error.errno not in (errno.EPERM, errno.ENOTSUP):
                raise


def _make_opaque(parent: int, base: bytes) -> None:
    os.setxattr(_at(parent, base), OPAQUE_XATTR, b"y", follow_symlinks=False)


@contextlib.contextmanager
def _still_there(tree: Tree, path: bytes) -> Iterator[int]:
    """A directory that was made earlier; -1 where a later entry took its place."""
    try:
        yield tree.directory(path, create=False)
    except (FileNotFoundError, InvalidImage):
        yield -1


def _at(parent: int, base: bytes) -> bytes:
    """A name in an open directory, for calls that have no *at() form."""
    return b"/proc/self/fd/%d/%b" % (parent, base)
