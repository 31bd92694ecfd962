# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two names change places at once: renameat2(2) with RENAME_EXCHANGE, Linux 3.15."""

from __future__ import annotations

import errno
import os

from .libc import syscall

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
# asm/unistd.h; musl has a wrapper only since 1.2.6.
_RENAMEAT2 = {"x86_64": 316, "i686": 353, "aarch64": 276, "riscv64": 276, "armv7l": 382, "ppc64le": 357, "s390x": 347}


def rename_exchange(one: str, other: str) -> None:
    """What is at each path is at the other one from then on. Raises OSError with ``other``: ENOSYS where this machine
    does not know how, EINVAL where the file system does not."""
    number = _RENAMEAT2.get(os.uname().machine, -1)
    if number < 0:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), other)
    paths = [os.fsencode(one), os.fsencode(other)]
    syscall(number, _AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE, path=other)
