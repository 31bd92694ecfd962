# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The C library, for system calls that Python 3.9 does not have."""

from __future__ import annotations

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
# ctypes makes a function when it is first asked for, and what is not made here is made by every child that is forked.
for _name in ("capget", "capset", "fstatfs", "mount", "prctl", "sched_setaffinity", "sethostname", "umount2"):
    getattr(_libc, _name, None)


def libc() -> ctypes.CDLL:
    """The C library of this process, with errno kept per call."""
    return _libc


def check(result: int, path: str | bytes | None = None) -> int:
    """Return ``result``, or raise OSError with errno and ``path`` where it is negative."""
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), path)
    return result


def syscall(number: int, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None, path: str | None = None) -> int:
    """syscall(2): integers are passed as longs, bytes as pointers. Raises OSError with ``path``."""
    long = ctypes.c_long
    return check(_libc.syscall(number, *[long(a) if isinstance(a, int) else a for a in arguments]), path)
