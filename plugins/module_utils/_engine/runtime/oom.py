# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hearing of a container that runs out of memory: an eventfd on v1, a file that can be polled on v2."""

from __future__ import annotations

import os
import select
import sys

from ..linux.cgroupfs import write_value
from ..linux.lean import suppress
from ..linux.libc import check, libc
from .stats import read_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class OomWatch:
    """``fd`` becomes ready, as ``mask`` has it, when there may be news; -1 where the host cannot tell. To be closed by
    ``with``.

    ``directories`` are a container's, by controller, or v2's one as ``""``.
    """

    def __init__(self, directories: Mapping[str, str]) -> None:
        unified, legacy = directories.get("", ""), directories.get("memory", "")
        self._files: list[int] = []
        self._table = f"{unified}/memory.events" if unified else f"{legacy}/memory.oom_control"
        self._told = self._count()
        self._is_eventfd = not unified
        self.fd = -1
        self.mask = select.POLLPRI if unified else select.POLLIN
        with suppress(OSError):  # no memory controller
            self._files.append(os.open(self._table, os.O_RDONLY | os.O_CLOEXEC))
            if unified:
                self.fd = self._files[0]
                os.read(self.fd, 4096)
            else:
                # cgroup-v1/memory.rst, "OOM Control"; EFD_CLOEXEC. os.eventfd() came with Python 3.10.
                fd = int(check(libc().eventfd(0, os.O_CLOEXEC | os.O_NONBLOCK)))
                self._files.append(fd)
                write_value(f"{legacy}/cgroup.event_control", f"{fd} {self._files[0]}")
                self.fd = fd

    def __enter__(self) -> OomWatch:
        return self

    def __exit__(self, *_error: object) -> None:
        for fd in self._files:
            os.close(fd)

    def news(self) -> int:
        """How often it ran out of memory since the last call: times told on v1, processes killed on v2."""
        if self._is_eventfd:
            with suppress(OSError):  # it has nothing
                # v1 tells before it kills, so the table may not have it yet; and it tells of the cgroup's end as well.
                told = int.from_bytes(os.read(self.fd, 8), sys.byteorder)
                return told if os.path.exists(self._table) else 0
            return 0
        with suppress(OSError):  # the cgroup is gone
            os.pread(self.fd, 4096, 0)
        before, self._told = self._told, max(self._told, self._count())
        return self._told - before

    def _count(self) -> int:
        """Kills: since Linux 4.13 in both files."""
        return read_table(self._table).get("oom_kill", 0)
