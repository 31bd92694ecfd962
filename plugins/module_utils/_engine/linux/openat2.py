# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths that are resolved inside a root, whatever links they are made of: openat2(2), Linux 5.6.

Where the kernel lacks it, resolve.py walks for it, by descriptors too. What changes while we look never leads outside:
at worst to another place inside.
"""

from __future__ import annotations

import errno
import os
import stat
import struct

from .lean import Descriptor, suppress
from .libc import syscall

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

_SYS_OPENAT2 = 437  # the same on every architecture
# With ".." in a path the kernel gives up, EAGAIN, when anything is renamed or mounted meanwhile, be it elsewhere.
_TRIES = 1000
_TRIES_TO_MAKE = 50
_MAX_LINKS = 40  # path_resolution(7)


def openat2(dir_fd: int, path: str, flags: int, *, resolve: int, mode: int = 0) -> int:
    """openat2(2): a descriptor that closes on exec. Raises OSError with ``path``."""
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, mode, resolve)
    name = os.fsencode(path)
    for _attempt in range(_TRIES):
        try:
            return syscall(_SYS_OPENAT2, dir_fd, name, how, len(how), path=path)
        except BlockingIOError:  # EAGAIN
            continue
    raise OSError(errno.EAGAIN, "changes all the time", path)


def open_in_root(root: int, path: str, flags: int, *, resolve: int = 0) -> int:
    """Open ``path`` as a process would whose root ``root`` is; links of procfs are not followed. Nothing is made."""
    try:
        return openat2(root, path, flags, resolve=RESOLVE_IN_ROOT | resolve)
    except OSError as error:
        # EPERM is what a filter says that is older than the call (docker before 20.10).
        if error.errno not in (errno.ENOSYS, errno.EPERM):
            raise
    from .resolve import walk_in_root  # for kernels before 5.6, such as that of RHEL 8

    return walk_in_root(root, path, flags, links=not resolve & RESOLVE_NO_SYMLINKS)


class Root:
    """The root directory of a container, seen from outside: what is opened or made through it stays inside.

    Symbolic links count as inside the container (RESOLVE_IN_ROOT), links of procfs such as /proc/self/exe are not
    followed. ``attach`` comes first.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.fd = -1

    def attach(self, fd: int = -1) -> None:
        """Take what ``fd`` is open on, or else what is at ``path`` now, as the root."""
        self.close()
        self.fd = fd if fd >= 0 else os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        """Let go of the root."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def opened(self, path: str, flags: int = os.O_PATH, resolve: int = 0) -> Descriptor:
        """A descriptor of ``path``, an O_PATH one unless ``flags`` say more."""
        return Descriptor(open_in_root(self.fd, path, flags, resolve=resolve))

    def find(self, path: str, flags: int = os.O_PATH, resolve: int = 0) -> Descriptor | None:
        """The same; None where there is nothing, not even where a link leads."""
        try:
            return self.opened(path, flags, resolve)
        except FileNotFoundError:
            return None

    def parent(self, path: str) -> tuple[Descriptor, str]:
        """The directory that ``path`` is in, made where it is missing, and the name in it."""
        directory, name = os.path.split(path.rstrip("/"))
        return self.find(directory or "/", os.O_PATH | os.O_DIRECTORY) or self.make(directory), name

    def make(self, path: str, *, directory: bool = True) -> Descriptor:
        """Make an empty directory or file at ``path``, or where a link there leads inside, and what is missing above.

        Names that are missing on the way count as directories, as they do for runc: a link to nowhere has them made.
        """
        made = self._make_last(path, directory)
        if made >= 0:
            return Descriptor(made)
        tries = _TRIES_TO_MAKE
        while True:
            tries -= 1
            try:
                return Descriptor(self._make(self._resolve(path), directory))
            except OSError as error:
                # A link has come where there was none: look again where it leads.
                if error.errno not in (errno.ENOTDIR, errno.ELOOP) or not tries:
                    raise OSError(error.errno, error.strerror, path) from error

    def _make_last(self, path: str, directory: bool) -> int:
        """Make it where, as a rule, nothing else is missing and nothing is a link; -1 where it is more than that."""
        above, name = os.path.split(path)
        if name in ("", ".", ".."):
            return -1
        try:
            found = self.opened(above or "/", os.O_PATH | os.O_DIRECTORY)
        except OSError:
            return -1
        with found as fd:
            try:
                if directory:
                    os.mkdir(name, 0o755, dir_fd=fd)
                else:
                    os.mknod(name, stat.S_IFREG | 0o644, dir_fd=fd)
                flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_DIRECTORY if directory else 0)
                made = os.open(name, flags, dir_fd=fd)
            except (FileExistsError, NotADirectoryError):
                return -1
        if not directory and stat.S_ISLNK(os.fstat(made).st_mode):
            os.close(made)
            return -1
        return made

    def _make(self, names: list[str], directory: bool) -> int:
        fd, flags = os.dup(self.fd), os.O_DIRECTORY
        try:
            for count, name in enumerate(names, 1):
                flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
                if directory or count < len(names):
                    flags |= os.O_DIRECTORY
                    with suppress(FileExistsError):
                        os.mkdir(name, 0o755, dir_fd=fd)
                else:
                    with suppress(FileExistsError):
                        os.mknod(name, stat.S_IFREG | 0o644, dir_fd=fd)
                # One name, no links, no "..": this leads nowhere but down.
                below = os.open(name, flags, dir_fd=fd)
                os.close(fd)
                fd = below
            if not flags & os.O_DIRECTORY and stat.S_ISLNK(os.fstat(fd).st_mode):
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        except OSError:
            os.close(fd)
            raise
        return fd

    def _resolve(self, path: str) -> list[str]:
        """The names that lead from the root to ``path`` without a link, as far as there are any now."""
        pending = path.split("/")[::-1]
        names: list[str] = []
        links = 0
        while pending:
            name = pending.pop()
            if name == "..":
                del names[-1:]
            if name in ("", ".", ".."):
                continue
            names.append(name)
            found = self.find("/".join(names), os.O_PATH | os.O_NOFOLLOW)
            if found is None:
                continue
            with found as fd:
                if not stat.S_ISLNK(os.fstat(fd).st_mode):
                    continue
                links += 1
                if links > _MAX_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                target = os.readlink("", dir_fd=fd)
            names = [] if target.startswith("/") else names[:-1]
            pending += target.split("/")[::-1]
        return names

    def make_directories(self, path: str) -> None:
        """``mkdir -p`` inside."""
        with self.find(path, os.O_PATH | os.O_DIRECTORY) or self.make(path):
            pass

    def is_directory(self, path: str) -> bool:
        """Whether ``path`` is a directory; False where there is nothing."""
        found = self.find(path)
        if found is None:
            return False
        with found as fd:
            return stat.S_ISDIR(os.fstat(fd).st_mode)

    def read_file(self, path: str, limit: int = 1 << 20) -> str:
        """The text of a regular file of at most ``limit`` bytes; nothing where there is none."""
        found = self.find(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        if found is None:
            return ""
        with found as fd:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return ""
            return os.read(fd, limit).decode("utf-8", "surrogateescape")


def fd_path(fd: int) -> str:
    """A path that leads to just what ``fd`` is open on, for system calls that take paths alone (proc_pid_fd(5))."""
    return f"/proc/self/fd/{fd}"
