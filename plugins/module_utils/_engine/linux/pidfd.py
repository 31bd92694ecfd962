# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Python has not of pidfds. Raises OSError."""

from __future__ import annotations

from .libc import syscall

_SYS_PIDFD_GETFD = 438  # Linux 5.6; the same on every architecture


def pidfd_getfd(pidfd: int, fd: int) -> int:
    """pidfd_getfd(2): a copy, closed on exec, of descriptor ``fd`` of another process."""
    return syscall(_SYS_PIDFD_GETFD, pidfd, fd, 0)
