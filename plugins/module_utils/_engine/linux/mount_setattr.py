# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attributes of a mount and of all mounts below it: mount_setattr(2), Linux 5.12 (linux/mount.h)."""

from __future__ import annotations

import os
import struct

from .libc import syscall

MOUNT_ATTR_RDONLY = 0x01
MOUNT_ATTR_NOSUID = 0x02
MOUNT_ATTR_NODEV = 0x04
MOUNT_ATTR_NOEXEC = 0x08
MOUNT_ATTR__ATIME = 0x70
MOUNT_ATTR_RELATIME = 0x00
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_IDMAP = 0x100000
MOUNT_ATTR_NOSYMFOLLOW = 0x200000

_SYS_MOUNT_SETATTR = 442  # the same on every architecture
_AT_RECURSIVE = 0x8000
_AT_EMPTY_PATH = 0x1000


def mount_setattr(fd: int, attr_set: int, attr_clr: int, *, recursive: bool = False, userns_fd: int = 0) -> None:
    """Set and clear attributes of the mount whose root ``fd`` is open on; IDMAP: to the ids of ``userns_fd``.

    Only a mount that was never attached takes ids (open_tree(2), OPEN_TREE_CLONE). EINVAL where its file system, or one
    below it, does not have that.
    """
    attributes = struct.pack("=QQQQ", attr_set, attr_clr, 0, userns_fd)
    flags = _AT_EMPTY_PATH | (_AT_RECURSIVE if recursive else 0)
    syscall(_SYS_MOUNT_SETATTR, fd, os.fsencode(""), flags, attributes, len(attributes))
