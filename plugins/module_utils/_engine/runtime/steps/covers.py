# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths that a container may not read, or not write (runtime-spec, config-linux.md, Masked Paths, Readonly Paths).

What is laid over them comes from the host, opened before the root changes and known by its number, not by a path that
an image could choose (CVE-2025-31133).
"""

from __future__ import annotations

import errno
import os
import stat

from ...linux import mount as m
from ...linux.lean import Descriptor
from ...linux.mount import mount
from ...linux.mount_api import AT_RECURSIVE, clone_tree, make_mount, move_mount
from ...linux.mount_setattr import MOUNT_ATTR_RDONLY, has_mount_setattr, mount_setattr
from ...linux.openat2 import Root, fd_path
from .operations import Operation

_NULL_DEVICE = os.makedev(1, 3)


class Covers:
    """The null device for files, and one empty read-only file system for all directories, opened once each."""

    def __init__(self) -> None:
        self._null = -1
        self._empty = -1

    def null(self) -> int:
        """The host's /dev/null, by number, whatever is at its path."""
        if self._null < 0:
            fd = os.open("/dev/null", os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
            found = os.fstat(fd)
            if not stat.S_ISCHR(found.st_mode) or found.st_rdev != _NULL_DEVICE:
                os.close(fd)
                raise OSError(errno.ENODEV, "is not the null device of this host", "/dev/null")
            self._null = fd
        return self._null

    def cover_directory(self, target: int) -> None:
        """Lay the empty directory over a directory."""
        if self._empty >= 0:
            mount(fd_path(self._empty), fd_path(target), flags=m.MS_BIND)
        elif has_mount_setattr():
            self._empty = _make_empty()
            move_mount(self._empty, target)
        else:
            mount("tmpfs", fd_path(target), "tmpfs", m.MS_RDONLY, "nr_blocks=1,nr_inodes=1")

    def close(self) -> None:
        """Let go of both."""
        for fd in (self._null, self._empty):
            if fd >= 0:
                os.close(fd)
        self._null = self._empty = -1


def _make_empty() -> int:
    try:
        return make_mount("tmpfs", "tmpfs", ("nr_blocks=1", "nr_inodes=1"), MOUNT_ATTR_RDONLY)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # The kernel of Ubuntu 20.04 wants room for an inode beside the root's.
        return make_mount("tmpfs", "tmpfs", ("nr_blocks=1", "nr_inodes=2"), MOUNT_ATTR_RDONLY)


class Mask(Operation):
    """Hide what is at a path: the null device over a file, an empty read-only directory over a directory."""

    def __init__(self, root: Root, path: str, covers: Covers) -> None:
        self.root = root
        self.path = path
        self.covers = covers

    def __str__(self) -> str:
        return f"mask {self.path}"

    def execute(self) -> None:
        found = self.root.find(self.path)
        if found is None:
            return
        with found as fd:
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                self.covers.cover_directory(fd)
            else:
                mount(fd_path(self.covers.null()), fd_path(fd), flags=m.MS_BIND)


class CloseCovers(Operation):
    """Let go of what was laid over masked paths."""

    def __init__(self, covers: Covers) -> None:
        self.covers = covers

    def __str__(self) -> str:
        return "let go of what masks paths"

    def execute(self) -> None:
        self.covers.close()


class MakeReadOnly(Operation):
    """Bind a path on itself, read-only."""

    def __init__(self, root: Root, path: str) -> None:
        self.root = root
        self.path = path

    def __str__(self) -> str:
        return f"make {self.path} read-only"

    def execute(self) -> None:
        found = self.root.find(self.path)
        if found is None:
            return
        with found as fd:
            if not has_mount_setattr():
                from .classic_mounts import remount_read_only  # for kernels before 5.12

                mount(fd_path(fd), fd_path(fd), flags=m.MS_BIND | m.MS_REC)
                remount_read_only(self.root, self.path)
                return
            with Descriptor(clone_tree(fd, AT_RECURSIVE)) as tree:
                mount_setattr(tree, MOUNT_ATTR_RDONLY, 0)
                move_mount(tree, fd)
