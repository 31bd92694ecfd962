# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a command does with signals that it is sent: pass them on to the process that it stays with, and until there is
one undo what it has begun.
"""

from __future__ import annotations

import _signal as signal

from ..linux.lean import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def end_by_exception() -> None:
    """SIGTERM and SIGHUP end this process as SIGINT does: by an exception, on whose way what was made is undone."""

    def end(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:  # nohup(1) has it ignored
            signal.signal(number, end)


class Forwarding:
    """Meanwhile the signals that we are sent go on to the process behind ``pidfd``, as with runc: it is that process
    which they are meant for, and whose end is ours. Those of a terminal's job control stop us, not a container."""

    _names = "HUP INT QUIT USR1 USR2 ALRM TERM IO PWR VTALRM PROF"

    def __init__(self, pidfd: int) -> None:
        self._pidfd = pidfd
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> None:
        numbers = [getattr(signal, "SIG" + name) for name in self._names.split(" ")]
        numbers += range(signal.SIGRTMIN, signal.SIGRTMAX + 1)
        self._handlers = {number: signal.signal(number, self._forward) for number in numbers}

    def __exit__(self, *_error: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _forward(self, number: int, _frame: object) -> None:
        with suppress(OSError):  # it has ended, and perhaps we have let go of it
            signal.pidfd_send_signal(self._pidfd, number)
