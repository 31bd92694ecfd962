# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Descriptors and the attributes of a process that are inherited: close_range(2), prctl(2), keyctl(2), signals."""

from __future__ import annotations

import _signal as signal
import gc
import os

from .libc import check, libc, syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36

_SYS_CLOSE_RANGE = 436  # Linux 5.9; the same on every architecture
_LAST_FD = 0x7FFFFFFF
_SYS_KEYCTL = {"x86_64": 250, "i686": 288, "aarch64": 219, "riscv64": 219, "armv7l": 311, "ppc64le": 271, "s390x": 280}
_KEYCTL_JOIN_SESSION_KEYRING = 1


def close_others(keep: Iterable[int]) -> None:
    """Close every descriptor of this process save those in ``keep``: a fork that shall not be what its caller was."""
    # A file that the caller's garbage still holds would be closed once more by the collector: another has its number.
    gc.freeze()
    first = 0
    for fd in sorted(set(keep)):
        if fd > first:
            syscall(_SYS_CLOSE_RANGE, first, fd - 1, 0)
        first = fd + 1
    syscall(_SYS_CLOSE_RANGE, first, _LAST_FD, 0)


def prctl(option: int, argument: int | bytes) -> None:
    """prctl(2) with one argument."""
    check(libc().prctl(option, argument, 0, 0, 0))


def set_parent_death_signal(number: int) -> None:
    """Have the kernel send ``number`` to this process when its parent ends; 0: nothing. A change of user clears it."""
    prctl(PR_SET_PDEATHSIG, number)


def set_child_subreaper() -> None:
    """Have orphans among this process's descendants become its children."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)


def set_dumpable(dumpable: bool) -> None:
    """Whether processes of the same user may look into this one through /proc (proc_pid_exe(5), _fd(5), _mem(5))."""
    prctl(PR_SET_DUMPABLE, int(dumpable))


def set_name(name: str) -> None:
    """What ps shows in brackets: at most 15 bytes are kept."""
    prctl(PR_SET_NAME, name.encode()[:15])


def join_new_session_keyring() -> None:
    """Leave the keys of whoever started us behind (keyctl_join_session_keyring(3)). Nothing where keys are off."""
    number = _SYS_KEYCTL.get(os.uname().machine)
    if number is None:
        return
    try:
        syscall(number, _KEYCTL_JOIN_SESSION_KEYRING, None)
    except OSError:
        return


def reset_signals() -> None:
    """Undo what Python does to signals (it ignores SIGPIPE and SIGXFSZ, which exec keeps) and unblock all."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
