# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for what comes when it comes: on a busy machine that is later than anybody would sleep."""

from __future__ import annotations

import os
import time
from collections.abc import Callable


def wait_for(condition: Callable[[], object], what: str = "what was waited for", timeout: float = 20.0) -> None:
    """Poll until ``condition`` is true. Raises AssertionError after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"no {what} within {timeout} s"
        time.sleep(0.01)


def has_open(pid: int, name: str) -> bool:
    """Whether the process has a file open whose name, as proc(5) tells it in fd, ends so."""
    files = f"/proc/{pid}/fd"
    return any(os.path.realpath(f"{files}/{fd}").endswith(name) for fd in os.listdir(files))
