# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths that are resolved inside a root, whatever links they are made of: openat2(2), Linux 5.6."""

from __future__ import annotations

import os
import stat
import struct

from .lean import Descriptor, suppress
from .libc import syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    pass

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

_SYS_OPENAT2 = 437  # the same on every architecture


def openat2(dir_fd: int, path: str, flags: int, *, resolve: int, mode: int = 0) -> int:
    """openat2(2): a descriptor that closes on exec. Raises OSError with ``path``."""
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, mode, resolve)
    return syscall(_SYS_OPENAT2, dir_fd, os.fsencode(path), how, len(how), path=path)


class Root:
    """The root directory of a container, seen from outside: what is opened or made through it stays inside.

    Symbolic links count as inside the container (RESOLVE_IN_ROOT), links of procfs such as /proc/self/exe are not
    followed. ``attach`` comes first.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.fd = -1

    def attach(self) -> None:
        """Take what is at ``path`` now as the root."""
        self.close()
        self.fd = os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        """Let go of the root."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def opened(self, path: str, flags: int = os.O_PATH, resolve: int = 0) -> Descriptor:
        """A descriptor of ``path``, an O_PATH one unless ``flags`` say more."""
        return Descriptor(openat2(self.fd, path, flags, resolve=RESOLVE_IN_ROOT | resolve))

    def parent(self, path: str) -> tuple[Descriptor, str]:
        """The directory that ``path`` is in, made where it is missing, and the name in it."""
        directory, name = os.path.split(path.rstrip("/"))
        self.make_directories(directory or "/")
        return self.opened(directory or "/", os.O_PATH | os.O_DIRECTORY), name

    def make_directories(self, path: str, mode: int = 0o755) -> None:
        """``mkdir -p`` inside."""
        try:
            with self.opened(path, os.O_PATH | os.O_DIRECTORY):
                return
        except FileNotFoundError:
            pass
        parts = [part for part in path.split("/") if part not in ("", ".")]
        for count in range(1, len(parts) + 1):
            parent = "/" + "/".join(parts[: count - 1])
            with self.opened(parent, os.O_PATH | os.O_DIRECTORY) as fd, suppress(FileExistsError):
                os.mkdir(parts[count - 1], mode, dir_fd=fd)

    def make_file(self, path: str) -> None:
        """An empty file at ``path``, or where a link there leads inside, if there is nothing: to bind a file on."""
        flags = os.O_CREAT | os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
        with suppress(FileNotFoundError), self.opened(path):
            return
        self.make_directories(os.path.dirname(path))
        os.close(openat2(self.fd, path, flags, resolve=RESOLVE_IN_ROOT, mode=0o644))

    def is_directory(self, path: str) -> bool:
        """Whether ``path`` is a directory; False where there is nothing."""
        try:
            with self.opened(path) as fd:
                return stat.S_ISDIR(os.fstat(fd).st_mode)
        except FileNotFoundError:
            return False

    def read_file(self, path: str, limit: int = 1 << 20) -> str:
        """The text of a regular file of at most ``limit`` bytes; nothing where there is none."""
        try:
            with self.opened(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY) as fd:
                if not stat.S_ISREG(os.fstat(fd).st_mode):
                    return ""
                return os.read(fd, limit).decode("utf-8", "surrogateescape")
        except FileNotFoundError:
            return ""


def fd_path(fd: int) -> str:
    """A path that leads to just what ``fd`` is open on, for system calls that take paths alone (proc_pid_fd(5))."""
    return f"/proc/self/fd/{fd}"
