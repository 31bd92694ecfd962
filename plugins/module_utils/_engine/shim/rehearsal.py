# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a launcher does so that the monitors that it forks share more of its memory: a quarter less is each one's own.

A page that is written to after the fork is copied. Python writes where nobody would think so: what a name means on a
is remembered at its first use (the method cache, Objects/typeobject.c), and code is specialised when it has run a few
times (PEP 659).
"""

from __future__ import annotations

import os

from ..linux.lean import suppress
from .monitor import announce, keep_ours, make_pipes, watch

# Code is specialised after eight runs in Python 3.11, and its places by and by.
_TIMES = 10


def rehearse_monitor() -> None:
    """Watch over nothing, on pipes that have ended, a few times."""
    request = {"name": "rehearsal", "runtime": "", "patience": 1.0}
    log = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for _time in range(_TIMES):
        (launcher, writer), (end, ended) = os.pipe(), os.pipe()
        announce(request, writer)
        os.close(writer)
        os.close(ended)
        os.close(os.pidfd_open(os.getpid()))
        with suppress(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
        pipes = make_pipes()
        for _reader, writer in pipes[1:3]:
            os.write(writer, b"a line of output\n")
        birth = keep_ours(0, pipes)
        birth.answer().partition(b" ")
        watch(request, log, launcher, birth, end)
        for fd in (launcher, end, birth.init, birth.out, birth.err):
            os.close(fd)
    os.close(log)
