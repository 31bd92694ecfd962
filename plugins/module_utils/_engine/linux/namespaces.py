# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Namespaces (namespaces(7)): clone3(2) into new ones, unshare(2), setns(2), and the maps of user_namespaces(7)."""

from __future__ import annotations

import _signal as signal
import ctypes
import os
import struct

from .libc import check, libc
from .procfs import write_proc

CLONE_NEWTIME = 0x00000080
CLONE_PIDFD = 0x00001000
CLONE_PARENT = 0x00008000
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_INTO_CGROUP = 0x200000000  # Linux 5.7

# Runtime-spec's names (config-linux.md, Namespaces): the flag, and the file in /proc/<pid>/ns.
NAMESPACES = {
    "user": (CLONE_NEWUSER, "user"),
    "mount": (CLONE_NEWNS, "mnt"),
    "pid": (CLONE_NEWPID, "pid"),
    "network": (CLONE_NEWNET, "net"),
    "ipc": (CLONE_NEWIPC, "ipc"),
    "uts": (CLONE_NEWUTS, "uts"),
    "cgroup": (CLONE_NEWCGROUP, "cgroup"),
    "time": (CLONE_NEWTIME, "time"),
}

_SYS_CLONE3 = 435  # the same on every architecture

# PyDLL keeps the interpreter's lock across the call, so the child, which is a copy, holds it too.
_python = ctypes.PyDLL(None, use_errno=True)
_python.syscall.restype = ctypes.c_long


def clone3(flags: int, *, cgroup: int = -1) -> tuple[int, int]:
    """fork() with ``flags``: (pid, pidfd) in the parent, (0, -1) in the child. The caller has one thread.

    ``cgroup`` is a descriptor of the cgroup v2 directory that the child is born in. The child's exit is told by
    SIGCHLD, save with CLONE_PARENT, where the caller's own parent gets what the caller's exit sends.
    """
    pidfd = ctypes.c_int(-1)
    flags |= CLONE_PIDFD | (CLONE_INTO_CGROUP if cgroup >= 0 else 0)
    exit_signal = 0 if flags & CLONE_PARENT else int(signal.SIGCHLD)
    # struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid,
    # set_tid_size, cgroup.
    arguments = struct.pack("=11Q", flags, ctypes.addressof(pidfd), 0, 0, exit_signal, 0, 0, 0, 0, 0, max(cgroup, 0))
    _python.PyOS_BeforeFork()
    pid = _python.syscall(ctypes.c_long(_SYS_CLONE3), arguments, ctypes.c_size_t(len(arguments)))
    if pid == 0:
        _python.PyOS_AfterFork_Child()
        return 0, -1
    code = ctypes.get_errno()
    _python.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(code, os.strerror(code))
    return int(pid), pidfd.value


def unshare(flags: int) -> None:
    """unshare(2)."""
    check(libc().unshare(flags))


def setns(fd: int, flags: int) -> None:
    """setns(2): ``fd`` is a namespace, or (Linux 5.8) a pidfd, whose namespaces of the types in ``flags`` count."""
    check(libc().setns(fd, flags))


def sethostname(name: str) -> None:
    """sethostname(2), in this process's UTS namespace."""
    content = name.encode()
    check(libc().sethostname(content, ctypes.c_size_t(len(content))))


def setdomainname(name: str) -> None:
    """setdomainname(2), in this process's UTS namespace."""
    content = name.encode()
    check(libc().setdomainname(content, ctypes.c_size_t(len(content))))


def write_id_map(path: str, mappings: list[tuple[int, int, int]]) -> None:
    """Write ``/proc/<pid>/uid_map`` or ``gid_map``: (in the container, on the host, how many), in one write(2)."""
    lines = (f"{inside} {outside} {size}\n" for inside, outside, size in mappings)
    write_proc(path[len("/proc/") :], "".join(lines))
