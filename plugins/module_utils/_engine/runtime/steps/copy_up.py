# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a tmpfs covers, copied into it (``tmpcopyup``): names, contents, links, modes, owners, times, attributes.

By descriptors and without following links, so that what changes meanwhile leads nowhere else. Devices and sockets are
made anew where the kernel allows it. Errors: OSError with the name.
"""

from __future__ import annotations

import os
import stat

from ...linux.lean import Descriptor, suppress

_BLOCK = 1 << 20


def copy_up(source: int, target: int) -> None:
    """Copy what is in the directory ``source`` is open on into the directory ``target`` is open on."""
    with Descriptor(os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=source)) as directory:
        _copy_directory(directory, target)


def _copy_directory(source: int, target: int) -> None:
    for name in os.listdir(source):
        try:
            _copy_entry(name, source, target)
        except OSError as error:
            raise OSError(error.errno, f"copying {name}: {error.strerror}") from error
    _copy_attributes(source, target)


def _copy_entry(name: str, source: int, target: int) -> None:
    found = os.stat(name, dir_fd=source, follow_symlinks=False)
    if stat.S_ISDIR(found.st_mode):
        os.mkdir(name, 0o700, dir_fd=target)
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        with (
            Descriptor(os.open(name, flags, dir_fd=source)) as below,
            Descriptor(os.open(name, flags, dir_fd=target)) as copy,
        ):
            _copy_directory(below, copy)
    elif stat.S_ISREG(found.st_mode):
        flags = os.O_NOFOLLOW | os.O_CLOEXEC
        with (
            Descriptor(os.open(name, os.O_RDONLY | os.O_NONBLOCK | flags, dir_fd=source)) as old,
            Descriptor(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | flags, 0o600, dir_fd=target)) as new,
        ):
            while os.sendfile(new, old, None, _BLOCK):
                pass
            _copy_attributes(old, new)
    else:
        if stat.S_ISLNK(found.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        else:
            os.mknod(name, found.st_mode, found.st_rdev, dir_fd=target)
            os.chmod(name, stat.S_IMODE(found.st_mode), dir_fd=target)  # made here, in what only we see
        os.chown(name, found.st_uid, found.st_gid, dir_fd=target, follow_symlinks=False)
        os.utime(name, ns=(found.st_atime_ns, found.st_mtime_ns), dir_fd=target, follow_symlinks=False)


def _copy_attributes(source: int, target: int) -> None:
    found = os.fstat(source)
    # The root of a tmpfs has come as O_PATH, which chmod(2) and its like do not take.
    with Descriptor(os.open(f"/proc/self/fd/{target}", os.O_RDONLY | os.O_CLOEXEC)) as fd:
        os.fchown(fd, found.st_uid, found.st_gid)
        os.fchmod(fd, stat.S_IMODE(found.st_mode))
        for name in os.listxattr(source):
            with suppress(OSError):  # file systems and kernels differ in those that they have
                os.setxattr(fd, name, os.getxattr(source, name))
        os.utime(fd, ns=(found.st_atime_ns, found.st_mtime_ns))
