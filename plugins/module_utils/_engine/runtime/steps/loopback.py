# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The loopback interface of a new network namespace, as an operation: one ioctl of netdevice(7), no netlink."""

from __future__ import annotations

import fcntl
import os
import struct

from ...linux.libc import check, libc
from .operations import Operation

_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1
_AF_INET = 2
_SOCK_DGRAM = 2


class LoopbackUp(Operation):
    """Bring up the loopback interface of a new network namespace."""

    def __str__(self) -> str:
        return "bring up the interface lo"

    def execute(self) -> None:
        fd = check(libc().socket(_AF_INET, _SOCK_DGRAM, 0))
        try:
            fcntl.ioctl(fd, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", _IFF_UP))
        finally:
            os.close(fd)
