# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What openat2(2) with RESOLVE_IN_ROOT does, for kernels that lack it: a walk of one name at a time, by descriptors.

The kernel is never asked to follow a link or to go up: links are read and their names walked in turn, ".." goes back to
the descriptor that we came from. So nothing that is swapped or moved meanwhile leads out of the root.
"""

from __future__ import annotations

import errno
import os
import stat

_MAX_LINKS = 40  # path_resolution(7)


def walk_in_root(root: int, path: str, flags: int, *, links: bool = True) -> int:
    """Open ``path`` below ``root``, close-on-exec. Without ``links`` a symbolic link is ELOOP. Raises OSError."""
    way = [os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root)]
    try:
        return _walk(way, path, flags, links=links)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error
    finally:
        for fd in way:
            os.close(fd)


def _walk(way: list[int], path: str, flags: int, *, links: bool) -> int:
    pending = [name for name in reversed(path.split("/")) if name]
    if path.endswith("/"):
        pending.insert(0, ".")
    followed = 0
    while pending:
        name = pending.pop()
        if name in (".", ".."):
            if not stat.S_ISDIR(os.fstat(way[-1]).st_mode):
                raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            if name == ".." and len(way) > 1:
                os.close(way.pop())
            continue
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=way[-1])
        if not stat.S_ISLNK(os.fstat(fd).st_mode) or (not pending and links and flags & os.O_NOFOLLOW):
            way.append(fd)
            continue
        target = os.readlink("", dir_fd=fd)
        os.close(fd)
        followed += 1
        if not links or followed > _MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if target.startswith("/"):
            while len(way) > 1:
                os.close(way.pop())
        pending += [part for part in reversed(target.split("/")) if part]
    return _reopen(way[-1], flags)


def _reopen(fd: int, flags: int) -> int:
    """A descriptor of its own, with ``flags``, of just what ``fd`` is open on (proc_pid_fd(5))."""
    if flags & os.O_DIRECTORY and not stat.S_ISDIR(os.fstat(fd).st_mode):
        raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    if flags & os.O_PATH:
        return os.dup(fd)
    if stat.S_ISLNK(os.fstat(fd).st_mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return os.open(f"/proc/self/fd/{fd}", flags & ~os.O_NOFOLLOW | os.O_CLOEXEC)
