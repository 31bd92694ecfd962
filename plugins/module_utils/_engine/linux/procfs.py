# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of the kernel's own procfs, whatever has been mounted on /proc or in it (CVE-2025-52881, CVE-2019-19921).

The root must be that of a procfs (fstatfs(2), PROC_SUPER_MAGIC, and the inode that every procfs has there), and from
there to the file no mount is crossed: openat2(2), RESOLVE_NO_XDEV. That costs three system calls. Where a file is
covered, a procfs of our own is asked, which is mounted nowhere (fsopen(2), Linux 5.2). Before 5.6 it is the file's
device that is compared, which a file of the same procfs, bound over it, would pass. Errors: OSError with the path.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys

from .libc import check, libc
from .mount_api import make_mount
from .openat2 import RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_XDEV, openat2

PROC_SUPER_MAGIC = 0x9FA0  # linux/magic.h
DEVPTS_SUPER_MAGIC = 0x1CD1

# More than struct statfs has anywhere. Made here, because ctypes takes 60 us to make a type.
_Statfs = ctypes.c_char * 256
_PROC_ROOT_INO = 1  # linux/proc_ns.h
_RESOLVE = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS


def fstatfs_type(fd: int) -> int:
    """f_type of fstatfs(2): the file system that ``fd`` is open on, as no program can pretend it."""
    result = _Statfs()
    check(libc().fstatfs(fd, result))
    # A long, but on s390x, which is big-endian, an int: the first four bytes are right for either.
    return int.from_bytes(result.raw[:4], sys.byteorder)


def open_proc(path: str, flags: int) -> int:
    """Open ``/proc/<path>``, such as ``self/attr/exec``, close-on-exec."""
    root = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if fstatfs_type(root) == PROC_SUPER_MAGIC and os.fstat(root).st_ino == _PROC_ROOT_INO:
            return _open_beneath(root, path, flags)
    except OSError as error:
        # Covered by a mount, or left out of a procfs that shows processes alone (proc(5), subset=pid).
        if error.errno not in (errno.EXDEV, errno.ENOENT):
            raise
    finally:
        os.close(root)
    private = make_mount("proc", "proc", ())
    try:
        return _open_beneath(private, path, flags)
    finally:
        os.close(private)


def _open_beneath(root: int, path: str, flags: int) -> int:
    try:
        return openat2(root, path, flags, resolve=_RESOLVE)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise OSError(error.errno, error.strerror, f"/proc/{path}") from error
    from .resolve import walk_in_root  # for kernels before 5.6

    fd = walk_in_root(root, path, flags)
    if os.fstat(fd).st_dev != os.fstat(root).st_dev:
        os.close(fd)
        raise OSError(errno.EXDEV, "is covered by a mount", f"/proc/{path}")
    return fd


def write_proc(path: str, content: str) -> None:
    """One write(2) to ``/proc/<path>``."""
    fd = open_proc(path, os.O_WRONLY)
    try:
        os.write(fd, content.encode())
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"/proc/{path}") from error
    finally:
        os.close(fd)
