# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The root file system of a container, as operations of its init that run before pivot_root(2).

Every path is resolved inside the root by the kernel (openat2(2), RESOLVE_IN_ROOT), and what was opened is what is
mounted on: a link in an image, or one that changes meanwhile, leads nowhere else (CVE-2021-30465 and kin). The host's
own /proc, which /proc/self/fd/<n> is looked up in, is out of reach of images.
"""

from __future__ import annotations

import os
import stat

from ..linux import mount as m
from ..linux.mount import mount, pivot_root, umount2
from ..linux.mount_setattr import mount_setattr
from ..linux.openat2 import RESOLVE_NO_SYMLINKS, Root, fd_path
from .mount_options import MountOptions
from .operations import Operation

# Flags that a remount of a bind mount gives up unless it names them; statvfs(3) tells the same bits.
_KEPT = m.MS_RDONLY | m.MS_NOSUID | m.MS_NODEV | m.MS_NOEXEC | m.MS_NOATIME | m.MS_NODIRATIME
# ST_RELATIME is another bit than MS_RELATIME.
_ST_RELATIME = 4096

# The kernel's own file systems: nothing that an image contains may move them elsewhere (CVE-2019-19921).
_FIXED = ("/proc", "/sys", "/dev")

_NULL_DEVICE = os.makedev(1, 3)


class SetPropagation(Operation):
    """Decide whether mounts made here are seen in the namespace we came from (mount_namespaces(7))."""

    def __init__(self, flags: int) -> None:
        self.flags = flags

    def __str__(self) -> str:
        return "set the propagation of /"

    def execute(self) -> None:
        mount("none", "/", flags=self.flags)


class BindRoot(Operation):
    """Make the root a mount of its own, as pivot_root(2) wants it, and open it."""

    def __init__(self, root: Root) -> None:
        self.root = root

    def __str__(self) -> str:
        return f"bind the root file system {self.root.path}"

    def execute(self) -> None:
        mount(self.root.path, self.root.path, flags=m.MS_BIND | m.MS_REC)
        mount("none", self.root.path, flags=m.MS_PRIVATE)
        self.root.attach()


class MountFilesystem(Operation):
    """One entry of ``mounts`` (runtime-spec, config.md, Mounts)."""

    def __init__(self, root: Root, source: str, destination: str, fstype: str, options: MountOptions) -> None:
        self.root = root
        self.source = source
        self.destination = destination
        self.fstype = fstype
        self.options = options

    def __str__(self) -> str:
        if self.options.bind:
            return f"bind {self.source} on {self.destination}"
        return f"mount {self.fstype or self.source} on {self.destination}"

    def execute(self) -> None:
        options = self.options
        self._make_target()
        if options.bind:
            self._mount(self.source, "", options.flags & (m.MS_BIND | m.MS_REC), "")
            self._remount_bind()
        else:
            self._mount(self.source or self.fstype, self.fstype, options.flags, options.data)
        for propagation in options.propagation:
            self._mount("none", "", propagation, "")
        if options.recursive_set or options.recursive_clear:
            with self._opened() as fd:
                mount_setattr(fd, options.recursive_set, options.recursive_clear, recursive=True)

    def _make_target(self) -> None:
        if self.options.bind and not stat.S_ISDIR(os.stat(self.source).st_mode):
            self.root.make_file(self.destination)
        else:
            self.root.make_directories(self.destination)

    def _opened(self) -> AbstractContextManager[int]:
        return self.root.opened(self.destination, os.O_PATH, RESOLVE_NO_SYMLINKS if self._fixed() else 0)

    def _fixed(self) -> bool:
        return os.path.normpath(self.destination) in _FIXED

    def _mount(self, source: str, fstype: str, flags: int, data: str) -> None:
        with self._opened() as fd:
            mount(source, fd_path(fd), fstype, flags, data)

    def _remount_bind(self) -> None:
        """Bind mounts take on other flags in a second step alone (mount(2), NOTES)."""
        options = self.options
        wanted = options.flags & ~(m.MS_BIND | m.MS_REC | m.MS_REMOUNT)
        if not wanted and not options.cleared:
            return
        with self._opened() as fd:
            found = os.fstatvfs(fd).f_flag
            kept = found & _KEPT & ~options.cleared | (m.MS_RELATIME if found & _ST_RELATIME else 0)
            if wanted | kept != kept or found & _KEPT & options.cleared:
                mount("none", fd_path(fd), flags=m.MS_REMOUNT | m.MS_BIND | kept | wanted)


class Mask(Operation):
    """Hide what is at a path: /dev/null over a file, an empty read-only directory over a directory."""

    def __init__(self, root: Root, path: str) -> None:
        self.root = root
        self.path = path

    def __str__(self) -> str:
        return f"mask {self.path}"

    def execute(self) -> None:
        try:
            with self.root.opened(self.path) as fd:
                if stat.S_ISDIR(os.fstat(fd).st_mode):
                    mount("tmpfs", fd_path(fd), "tmpfs", m.MS_RDONLY, "nr_blocks=1,nr_inodes=1")
                else:
                    null = open_null()
                    try:
                        mount(fd_path(null), fd_path(fd), flags=m.MS_BIND)
                    finally:
                        os.close(null)
        except FileNotFoundError:
            return


def open_null() -> int:
    """The host's /dev/null, by number, whatever is at its path (CVE-2025-31133)."""
    fd = os.open("/dev/null", os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
    found = os.fstat(fd)
    if not stat.S_ISCHR(found.st_mode) or found.st_rdev != _NULL_DEVICE:
        os.close(fd)
        raise OSError(19, "is not the null device of this host", "/dev/null")
    return fd


class MakeReadOnly(Operation):
    """Bind a path on itself, read-only."""

    def __init__(self, root: Root, path: str) -> None:
        self.root = root
        self.path = path

    def __str__(self) -> str:
        return f"make {self.path} read-only"

    def execute(self) -> None:
        try:
            with self.root.opened(self.path) as fd:
                mount(fd_path(fd), fd_path(fd), flags=m.MS_BIND | m.MS_REC)
        except FileNotFoundError:
            return
        with self.root.opened(self.path) as fd:
            flags = os.fstatvfs(fd).f_flag & _KEPT | m.MS_RDONLY
            mount("none", fd_path(fd), flags=m.MS_REMOUNT | m.MS_BIND | flags)


class MakeRootReadOnly(Operation):
    """Take away the right to write to the root; mounts in it keep theirs."""

    def __init__(self, root: Root) -> None:
        self.root = root

    def __str__(self) -> str:
        return "make the root file system read-only"

    def execute(self) -> None:
        flags = os.fstatvfs(self.root.fd).f_flag & _KEPT | m.MS_RDONLY
        mount("none", fd_path(self.root.fd), flags=m.MS_REMOUNT | m.MS_BIND | flags)


class PivotRoot(Operation):
    """Make the root this process's, and let go of the host's. ``move``: without pivot_root(2), for an initramfs."""

    def __init__(self, root: Root, *, move: bool, propagation: int) -> None:
        self.root = root
        self.move = move
        self.propagation = propagation

    def __str__(self) -> str:
        return f"change the root to {self.root.path}"

    def execute(self) -> None:
        os.chdir(fd_path(self.root.fd))
        if self.move:
            mount(".", "/", flags=m.MS_MOVE)
            os.chroot(".")
        else:
            # Both roots are on top of one another then, the host's above (pivot_root(2), NOTES). It must not take
            # mounts of the host with it when it goes.
            pivot_root(".", ".")
            mount("none", ".", flags=m.MS_SLAVE | m.MS_REC)
            umount2(".", m.MNT_DETACH)
        os.chdir("/")
        if self.propagation:
            mount("none", "/", flags=self.propagation)
        self.root.close()


TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager
