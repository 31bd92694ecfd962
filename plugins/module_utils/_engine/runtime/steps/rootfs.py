# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The root file system of a container and the propagation of its mounts, as operations of its init.

Every path is resolved inside the root by the kernel (openat2(2), RESOLVE_IN_ROOT), and what was opened is what is
mounted on: a link in an image, or one that changes meanwhile, leads nowhere else (CVE-2021-30465 and kin). The host's
own /proc, which /proc/self/fd/<n> is looked up in, is out of reach of images.
"""

from __future__ import annotations

import errno
import os

from ...linux import mount as m
from ...linux.mount import mount, pivot_root, umount2
from ...linux.mount_api import AT_RECURSIVE, clone_tree, move_mount
from ...linux.mount_setattr import MOUNT_ATTR_RDONLY, has_mount_setattr, mount_setattr
from ...linux.openat2 import Root
from .mount_options import PROPAGATION
from .operations import Operation


class Propagation:
    """What ``rootfsPropagation`` means for the mount namespace (config-linux.md, Rootfs Mount Propagation).

    Without it, and with ``slave``, what is mounted on the host meanwhile is seen in bind mounts of the container, and
    never the other way round. ``shared`` leaves the host's mounts in their peer groups, so that a volume can be shared
    both ways, and gives the root a group of its own. With ``private`` and ``unbindable`` nothing is seen.
    """

    def __init__(self, word: str) -> None:
        flags = PROPAGATION.get(word, 0)
        kind = flags & ~m.MS_REC
        self.shared = kind == m.MS_SHARED
        # Of the namespace, before anything is mounted. What cannot be bound could not become the root either.
        self.before = 0 if self.shared else m.MS_SLAVE if kind in (0, m.MS_SLAVE) else m.MS_PRIVATE
        # Of the root: only a slave goes on hearing of the host.
        self.root = 0 if kind == m.MS_SLAVE else m.MS_PRIVATE
        # Of the root when it is one.
        self.after = flags if kind in (m.MS_SHARED, m.MS_UNBINDABLE) else 0


class SetPropagation(Operation):
    """Decide whether mounts made here are seen in the namespace we came from (mount_namespaces(7))."""

    def __init__(self, propagation: Propagation) -> None:
        self.propagation = propagation

    def __str__(self) -> str:
        return "set the propagation of /"

    def execute(self) -> None:
        if self.propagation.before:
            mount("none", "/", flags=self.propagation.before | m.MS_REC)


class OpenRoot(Operation):
    """Open the root while we are who we were: another user namespace's root may not be let into the directory above."""

    def __init__(self, root: Root) -> None:
        self.root = root

    def __str__(self) -> str:
        return f"open the root file system {self.root.path}"

    def execute(self) -> None:
        self.root.attach()


class BindRoot(Operation):
    """Make the root a mount of its own, as pivot_root(2) wants it, and open it."""

    def __init__(self, root: Root, propagation: Propagation) -> None:
        self.root = root
        self.propagation = propagation

    def __str__(self) -> str:
        return f"bind the root file system {self.root.path}"

    def execute(self) -> None:
        path = self.root.path
        if self.propagation.shared:
            _make_parent_private(os.path.realpath(path))
        if not has_mount_setattr():
            mount(path, path, flags=m.MS_BIND | m.MS_REC)
            if self.propagation.root:
                mount("none", path, flags=self.propagation.root)
            self.root.attach()
            return
        if self.root.fd < 0:
            self.root.attach()
        tree = clone_tree(self.root.fd, AT_RECURSIVE)
        if self.propagation.root:
            mount_setattr(tree, 0, 0, propagation=self.propagation.root)
        move_mount(tree, self.root.fd)
        self.root.attach(tree)


def _make_parent_private(path: str) -> None:
    """Leave the peer group of the mount that ``path`` is on: the host would see the root mounted there."""
    while True:
        try:
            mount("none", path, flags=m.MS_PRIVATE)
            return
        except OSError as error:
            if error.errno != errno.EINVAL or path == "/":  # EINVAL: no mount point
                raise
        path = os.path.dirname(path)


class MakeRootReadOnly(Operation):
    """Take away the right to write to the root; mounts in it keep theirs."""

    def __init__(self, root: Root) -> None:
        self.root = root

    def __str__(self) -> str:
        return "make the root file system read-only"

    def execute(self) -> None:
        if has_mount_setattr():
            mount_setattr(self.root.fd, MOUNT_ATTR_RDONLY, 0)
            return
        from .classic_mounts import remount_read_only  # for kernels before 5.12

        remount_read_only(self.root, "/")


class PivotRoot(Operation):
    """Make the root this process's, and let go of the host's. ``move``: without pivot_root(2), for an initramfs."""

    def __init__(self, root: Root, propagation: Propagation, *, move: bool) -> None:
        self.root = root
        self.propagation = propagation
        self.move = move
        if move:
            from . import no_pivot  # now, because later there is nowhere to import it from; next to nobody needs it

            del no_pivot

    def __str__(self) -> str:
        return f"change the root to {self.root.path}"

    def execute(self) -> None:
        if self.move:
            from .no_pivot import move_root  # imported already

            move_root(self.root)
        else:
            self._pivot()
        os.chdir("/")
        if self.propagation.after:
            mount("none", "/", flags=self.propagation.after)
        self.root.close()

    def _pivot(self) -> None:
        """Both roots are on top of one another after pivot_root(2), the host's above (NOTES there)."""
        old = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) if self.propagation.shared else -1
        os.fchdir(self.root.fd)
        pivot_root(".", ".")
        if old >= 0:
            # It must not take mounts of the host with it when it goes; where nothing was left shared, it cannot.
            os.fchdir(old)
            mount("none", ".", flags=m.MS_SLAVE | m.MS_REC)
            os.close(old)
        umount2(".", m.MNT_DETACH)


def plan_change(root: Root, propagation: Propagation, *, own: bool, move: bool) -> Operation:
    """What makes ``root`` this process's, in a mount namespace of its ``own`` or of others."""
    if own:
        return PivotRoot(root, propagation, move=move)
    from ..shared_mounts import ChangeRoot  # next to nobody does without a mount namespace

    return ChangeRoot(root)
