# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stopping all processes of a cgroup on v1 (cgroup-v1/freezer-subsystem.rst)."""

from __future__ import annotations

import errno
import os
import time

from ...errors import KernelError
from ...linux.cgroupfs import read_value, write_value

STATE = "freezer.state"


def is_frozen(directory: str) -> bool:
    """Whether the cgroup is frozen, or about to be."""
    return read_value(f"{directory}/{STATE}") in ("FROZEN", "FREEZING")


def apply_frozen(directory: str, frozen: bool, *, timeout: float = 2.0) -> bool:
    """Freeze or thaw ``directory`` and all below it; False where not all was frozen after ``timeout`` seconds.

    The state reads FREEZING until all are. It is written again then: a task that was being forked may need it.
    """
    path = f"{directory}/{STATE}"
    wanted = "FROZEN" if frozen else "THAWED"
    end = time.monotonic() + timeout
    while True:
        try:
            write_value(path, wanted)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENODEV):
                return True  # the cgroup is gone, or went between open(2) and write(2)
            cause = OSError(error.errno, os.strerror(error.errno or 0), path)
            raise KernelError(f"writing {wanted}", cause) from error
        if read_value(path) in (wanted, None):
            return True
        if time.monotonic() >= end:
            return False
        time.sleep(0.0002)
