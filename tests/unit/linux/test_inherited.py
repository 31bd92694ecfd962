# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is left of others' descriptors in a fork."""

from __future__ import annotations

import gc
import os
from pathlib import Path

from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.inherited import close_others


class Forgotten:
    """Garbage that only the collector finds, with a file that it has not closed."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("wb")
        self.itself = self


def test_what_the_caller_forgot_closes_no_file_that_has_its_number_now(tmp_path: Path) -> None:
    gc.disable()
    for number in range(20):
        Forgotten(tmp_path / str(number))
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            close_others([0, 1, 2])
            opened = [os.open("/dev/null", os.O_RDONLY) for _number in range(40)]
            gc.collect()
            for fd in opened:
                os.fstat(fd)
            status = 0
        finally:
            os._exit(status)
    gc.enable()
    assert os.waitpid(pid, 0)[1] == 0
