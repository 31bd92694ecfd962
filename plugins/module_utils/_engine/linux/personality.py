# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The execution domain of a process: personality(2), linux/personality.h. Errors: OSError."""

from __future__ import annotations

from .libc import check, libc

DOMAINS = {"LINUX": 0x0000, "LINUX32": 0x0008}


def personality(domain: int) -> None:
    """The domain of this thread; LINUX32 makes uname(2) tell of a 32-bit machine. Programs and children keep it."""
    check(libc().personality(domain))
