# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attributes of a mount and of all mounts below it: mount_setattr(2), Linux 5.12 (linux/mount.h)."""

from __future__ import annotations

import ctypes
import errno
import struct

from .libc import libc, syscall

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


def mount_setattr(
    fd: int, attr_set: int, attr_clr: int, *, propagation: int = 0, userns_fd: int = 0, recursive: bool = False
) -> None:
    """Change the mount whose root ``fd`` is open on, mounted or not: all of it or nothing.

    ``propagation`` is one of MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE; ``userns_fd`` the user namespace that
    MOUNT_ATTR_IDMAP takes its mapping from, for a mount that was never attached (open_tree(2), OPEN_TREE_CLONE): EINVAL
    where its file system, or one below it, does not have that.
    """
    attributes = struct.pack("=QQQQ", attr_set, attr_clr, propagation, userns_fd)
    flags = _AT_EMPTY_PATH | (_AT_RECURSIVE if recursive else 0)
    syscall(_SYS_MOUNT_SETATTR, fd, b"", flags, attributes, len(attributes))


_found: list[bool] = []


def has_mount_setattr() -> bool:
    """Whether this kernel has it, and with it all of linux/mount_api.py, which is older. Asked once."""
    if not _found:
        # What is too short is refused before anything else is looked at: else a filter has answered. Not by way of an
        # exception, whose first one in a process costs more than the call.
        libc().syscall(_SYS_MOUNT_SETATTR, -1, b"", _AT_EMPTY_PATH, None, 0)
        _found.append(ctypes.get_errno() == errno.EINVAL)
    return _found[0]
