# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stopping all processes of a cgroup on v2 (cgroup-v2.rst, cgroup.freeze): done when cgroup.events says so."""

from __future__ import annotations

import time

from ...linux.cgroupfs import read_value
from ..controller import write_limit


def is_frozen(directory: str) -> bool:
    """Whether the cgroup was told to freeze, and all in it."""
    return read_value(f"{directory}/cgroup.freeze") == "1"


def apply_frozen(directory: str, frozen: bool, *, timeout: float = 2.0) -> bool:
    """Freeze or thaw ``directory`` and all below it; False where that is not done after ``timeout`` seconds."""
    write_limit(f"{directory}/cgroup.freeze", str(int(frozen)))
    end = time.monotonic() + timeout
    while f"frozen {int(not frozen)}" in (read_value(f"{directory}/cgroup.events") or ""):
        if time.monotonic() >= end:
            return False
        time.sleep(0.0002)
    return True
