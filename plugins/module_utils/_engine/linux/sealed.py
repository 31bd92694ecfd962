# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have this process run from a view of its binary that cannot be written to through /proc/<pid>/exe (CVE-2019-5736).

For a process whose children set themselves up in the pid namespace of other containers: those see them as Python.
Not to be dumpable helps against those without CAP_SYS_PTRACE alone (ptrace(2), Ptrace access mode checking).
"""

from __future__ import annotations

import os

from .libc import syscall
from .mount_setattr import MOUNT_ATTR_RDONLY, mount_setattr
from .trampoline import open_sealed

_SYS_OPEN_TREE = 428  # Linux 5.2; the same on every architecture
_AT_FDCWD = -100
_OPEN_TREE_CLONE = 1
_EXE = "/proc/self/exe"


def run_sealed() -> None:
    """Execute this process's own command line again, from a mount of its binary that is nowhere and read-only, or from
    a sealed copy where there is no mount_setattr(2) (Linux 5.12) or no right to it. Nothing where that has been done.

    Costs a start of Python, 7 ms. To be called before anything is opened, made or changed.
    """
    if is_unwritable(_EXE):
        return
    fd = open_unwritable(_EXE)
    with open("/proc/self/cmdline", "rb") as file:
        arguments = file.read().split(b"\0")[:-1]
    os.execve(fd, arguments, os.environ)


def open_unwritable(path: str) -> int:
    """A descriptor of that program, to be executed by."""
    try:
        fd = syscall(_SYS_OPEN_TREE, _AT_FDCWD, path.encode(), _OPEN_TREE_CLONE | os.O_CLOEXEC)
        mount_setattr(fd, MOUNT_ATTR_RDONLY, 0)
    except OSError:
        with open(path, "rb") as binary:
            fd = open_sealed(binary.read())
    return fd


def is_unwritable(path: str) -> bool:
    """Whether the binary that a process's link ``exe`` (proc_pid_exe(5)) leads to cannot be written to through the
    mount that it is run from."""
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY) or os.readlink(path).startswith("/memfd:")
