# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mounts as descriptors: open_tree(2) and move_mount(2), Linux 5.2 (linux/mount.h)."""

from __future__ import annotations

import os

from .libc import syscall

_SYS_OPEN_TREE = 428  # the same on every architecture, as the next
_SYS_MOVE_MOUNT = 429
_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH = 4


def open_tree_clone(path: str, *, recursive: bool = False) -> int:
    """A descriptor of a new mount, attached nowhere, of what is at ``path``; it goes when the descriptor is closed."""
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | (_AT_RECURSIVE if recursive else 0)
    return syscall(_SYS_OPEN_TREE, _AT_FDCWD, os.fsencode(path), flags, path=path)


def move_mount(fd: int, target: str) -> None:
    """Attach the mount that ``fd`` stands for at ``target``."""
    syscall(_SYS_MOVE_MOUNT, fd, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH, path=target)
