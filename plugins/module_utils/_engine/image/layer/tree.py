# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Walk in a directory that is the root of this process (chroot(2)): no path, link or ``..`` leads out of it.

The working directory is where the next entry goes: it stays from entry to entry, and every call takes a bare name, also
those that have no *at() form. What is not there yet is made on the way.
"""

from __future__ import annotations

import errno
import os
import stat

from ...errors import InvalidImage, Unsupported

# Documentation/filesystems/overlayfs.rst: "whiteouts and opaque directories".
OPAQUE_XATTR = "trusted.overlay.opaque"
_MAX_LINKS = 40  # path_resolution(7)
_MAX_DEPTH = 256  # who removes a tree goes down it with a descriptor and a call each, of 1,024 and 1,000
_PATH_MAX = 4095
_SHOWN = 200  # characters of a name that a person reads


class Tree:
    """The working directory, by its path. Nobody else may be writing in this root."""

    def __init__(self) -> None:
        os.chdir("/")
        self._path: bytes | None = b""
        self._place = b"/"  # without links

    def enter(self, path: bytes) -> None:
        """Make the directory ``path`` the working directory; what lacks of it is made (0755, root's).

        Raises InvalidImage where a file stands in the way, or where it is too deep.
        """
        if path == self._path:
            return
        self._path = None
        if path.count(b"/") >= _MAX_DEPTH or len(path) > _PATH_MAX:
            raise _too_deep(path)
        try:
            os.chdir(b"/" + path)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise InvalidImage(f"the layer has too many symbolic links in {show(path)}") from error
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                raise
            _walk(path)
        self._place = os.getcwdb()
        if self._place.count(b"/") > _MAX_DEPTH:  # links may have led deeper than the path says
            raise _too_deep(path)
        self._path = path

    def path_of(self, base: bytes) -> bytes:
        """The path of ``base`` in the working directory, from the root, with no link in it."""
        return (self._place + b"/" + base).lstrip(b"/")

    def forget(self) -> None:
        """Something that was there was taken away: the working directory may be gone, or another by its path."""
        self._path = None


def make_opaque(directory: bytes) -> None:
    """Have ``directory`` hide what lower layers have in it."""
    try:
        os.setxattr(directory, OPAQUE_XATTR, b"y", follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOTSUP):
            raise Unsupported(
                "the layer has a directory that hides what is below (an opaque one), and here trusted extended "
                "attributes cannot be set, which say so: that takes root outside of a user namespace, and a file "
                "system that has them"
            ) from error
        raise


def is_whiteout(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def show(path: bytes) -> str:
    text = repr(path.decode(errors="backslashreplace"))
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def _too_deep(path: bytes) -> InvalidImage:
    return InvalidImage(f"the layer has directories nested more than {_MAX_DEPTH} deep: {show(path)}")


def _walk(path: bytes) -> None:
    """Go there name by name: links are followed by us, since what they lead to may have to be made."""
    os.chdir("/")
    pending = path.split(b"/")[::-1]
    links = depth = 0
    while pending:
        part = pending.pop()
        if part in (b"", b"."):
            continue
        if part == b"..":
            os.chdir("..")  # at the root that is the root (path_resolution(7))
            depth = max(0, depth - 1)
            continue
        if depth == _MAX_DEPTH:  # before it is made: a link may lead two thousand directories down
            raise _too_deep(path)
        target = _step(part)
        if target is None:
            depth += 1
            continue
        links += 1
        if links > _MAX_LINKS:
            raise InvalidImage(f"the layer has too many symbolic links in {show(path)}")
        if target.startswith(b"/"):
            os.chdir("/")
            depth = 0
        pending += target.split(b"/")[::-1]


def _step(part: bytes) -> bytes | None:
    """Go one directory down; or return the target of the link that is there instead."""
    try:
        found = os.lstat(part)
    except FileNotFoundError:
        os.mkdir(part, 0o755)
        os.chdir(part)
        return None
    if stat.S_ISLNK(found.st_mode):
        return os.readlink(part)
    if is_whiteout(found):
        # A whiteout of this very layer: the new directory is not merged with the lower layers' one.
        os.unlink(part)
        os.mkdir(part, 0o755)
        make_opaque(part)
    elif not stat.S_ISDIR(found.st_mode):
        raise InvalidImage(f"the layer has a file where it needs the directory {show(part)}")
    os.chdir(part)
    return None
