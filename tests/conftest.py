# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all tests have in common."""

from __future__ import annotations

import contextlib
import os
import tempfile

from hypothesis import settings

# A machine that is slow for a moment is no fault of what is tested.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

_MEMORY = "/dev/shm"
_ROOM = 8 << 30


def pytest_configure() -> None:
    """Temporary files are in memory where it has room for them: on some disks, a thousand files take a second."""
    if _is_like_a_disk(_MEMORY):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", _MEMORY)


def _is_like_a_disk(path: str) -> bool:
    """Whether devices, set-user-ID programs and attributes (tmpfs has ``user.`` ones since Linux 6.6) can be there."""
    with contextlib.suppress(OSError), tempfile.NamedTemporaryFile(dir=path) as file:
        found = os.statvfs(path)
        os.setxattr(file.name, "user.test", b"")
        barred = found.f_flag & (os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC)
        return not barred and found.f_bavail * found.f_frsize >= _ROOM
    return False
