# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mounts as descriptors: open_tree(2), move_mount(2), fsopen(2), fsconfig(2), fsmount(2), Linux 5.2.

What is made here is mounted nowhere, seen by nobody, and gone when its last descriptor is closed, until move_mount()
puts it on what another descriptor is open on: no path is looked up a second time between a mount and its attributes.
Raises OSError; where the file system says what is wrong, in its words (fsopen(2), "message retrieval").
"""

from __future__ import annotations

import os

from .libc import syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

OPEN_TREE_CLONE = 1
AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000

# The same on every architecture.
_SYS_OPEN_TREE = 428
_SYS_MOVE_MOUNT = 429
_SYS_FSOPEN = 430
_SYS_FSCONFIG = 431
_SYS_FSMOUNT = 432

_MOVE_MOUNT_F_EMPTY_PATH = 0x04
_MOVE_MOUNT_T_EMPTY_PATH = 0x40
_FSOPEN_CLOEXEC = 1
_FSMOUNT_CLOEXEC = 1
_FSCONFIG_SET_FLAG = 0
_FSCONFIG_SET_STRING = 1
_FSCONFIG_CMD_CREATE = 6


def open_tree(dir_fd: int, path: str, flags: int) -> int:
    """open_tree(2): with OPEN_TREE_CLONE a copy of the mount at ``path``, with AT_RECURSIVE of all below it too."""
    return syscall(_SYS_OPEN_TREE, dir_fd, os.fsencode(path), flags | os.O_CLOEXEC, path=path or None)


def clone_tree(fd: int, flags: int = 0) -> int:
    """A copy of the mount, rooted in what ``fd`` is open on."""
    return open_tree(fd, "", OPEN_TREE_CLONE | AT_EMPTY_PATH | flags)


def move_mount(fd: int, target: int) -> None:
    """move_mount(2): put the mount ``fd`` on what ``target`` is open on; ``fd`` goes on to stand for it."""
    syscall(_SYS_MOVE_MOUNT, fd, b"", target, b"", _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH)


def make_mount(fstype: str, source: str, parameters: Iterable[str], attributes: int = 0) -> int:
    """A new file system: ``parameters`` are ``name`` or ``name=value``, ``attributes`` are MOUNT_ATTR_*."""
    context = syscall(_SYS_FSOPEN, fstype.encode(), _FSOPEN_CLOEXEC, path=fstype)
    try:
        _configure(context, _FSCONFIG_SET_STRING, "source", source)
        for parameter in parameters:
            name, equals, value = parameter.partition("=")
            if equals:
                _configure(context, _FSCONFIG_SET_STRING, name, value)
            else:
                _configure(context, _FSCONFIG_SET_FLAG, name, None)
        _configure(context, _FSCONFIG_CMD_CREATE, None, None)
        return syscall(_SYS_FSMOUNT, context, _FSMOUNT_CLOEXEC, attributes)
    finally:
        os.close(context)


def _configure(context: int, command: int, name: str | None, value: str | None) -> None:
    key, text = (os.fsencode(item) if item is not None else None for item in (name, value))
    try:
        syscall(_SYS_FSCONFIG, context, command, key, text, 0)
    except OSError as error:
        raise OSError(error.errno, _message(context) or f"{name or 'create'}: {error.strerror}") from error


def _message(context: int) -> str:
    """The last thing that the file system said: after its kind, which is a letter."""
    last = ""
    try:
        while True:
            last = os.read(context, 4096).decode(errors="replace").strip()[2:]
    except OSError:
        return last
