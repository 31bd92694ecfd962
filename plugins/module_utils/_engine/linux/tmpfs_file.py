# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program on a tmpfs that is mounted nowhere and read-only, for hosts whose files in memory cannot be executed
(vm.memfd_noexec=2, Linux 6.3). fsopen(2), fsconfig(2), fsmount(2): Linux 5.2; the caller has CAP_SYS_ADMIN."""

from __future__ import annotations

import os

from .libc import syscall
from .mount_setattr import MOUNT_ATTR_RDONLY, mount_setattr

# The same on every architecture (linux/mount.h).
_SYS_FSOPEN, _SYS_FSCONFIG, _SYS_FSMOUNT = 430, 431, 432
_CLOEXEC = 1
_FSCONFIG_CMD_CREATE = 6


def open_on_tmpfs(content: bytes) -> int:
    """The file, open for reading; it closes on exec, and with it the tmpfs goes."""
    context = syscall(_SYS_FSOPEN, b"tmpfs", _CLOEXEC)
    try:
        syscall(_SYS_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0)
        mount = syscall(_SYS_FSMOUNT, context, _CLOEXEC, 0)
    finally:
        os.close(context)
    # `mount` stays open until exec: with it the kernel would unmount what is executed.
    file = os.open("trampoline", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o755, dir_fd=mount)
    try:
        os.fchmod(file, 0o755)  # whatever the umask
        os.write(file, content)
    finally:
        os.close(file)
    mount_setattr(mount, MOUNT_ATTR_RDONLY, 0)
    return os.open("trampoline", os.O_RDONLY | os.O_CLOEXEC, dir_fd=mount)
