# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Processes by pid and start time, and cgroups by name: how a fleet finds again what belongs to it.

A pid alone may be another process by the time it is used; a pid with its start time (field 22 of proc(5)
`/proc/pid/stat`, clock ticks since boot) is one process for ever. Signals go through a pidfd that was opened
before the check, so nothing is ever sent to a stranger.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .errors import FleetError

SEARCH = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"


@dataclass(frozen=True)
class Process:
    pid: int
    start: int

    @classmethod
    def of(cls, pid: int) -> Process:
        return cls(pid, parse_start(pid))

    def alive(self) -> bool:
        """False too for a zombie: it holds no namespace, mount or cgroup any more."""
        try:
            return parse_start(self.pid) == self.start
        except ProcessLookupError:
            return False


def parse_start(pid: int) -> int:
    """The start time of a process that still runs; ProcessLookupError when it does not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
            fields = stat.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessLookupError(f"no process {pid}") from None
    if fields[0] in "ZX":
        raise ProcessLookupError(f"process {pid} has ended")
    return int(fields[19])


def kill(pid: int, still_ours: Callable[[], bool], timeout: float = 10) -> None:
    """Ends one process and waits for it; does nothing when it is gone or no longer ours."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if not still_ours():
            return
        signal.pidfd_send_signal(fd, signal.SIGKILL)
        if not select.select([fd], [], [], timeout)[0]:
            raise FleetError(f"process {pid} is still there {timeout:.0f} s after SIGKILL; look at /proc/{pid}/stack")
    except ProcessLookupError:
        pass
    finally:
        os.close(fd)
    with contextlib.suppress(ChildProcessError):  # ours to reap only when this very process started it
        os.waitpid(pid, os.WNOHANG)


def kill_all(processes: Iterable[Process]) -> None:
    for process in processes:
        kill(process.pid, process.alive)


def run(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> str:
    """The output of a program that must succeed."""
    try:
        done = subprocess.run(argv, input=stdin, text=True, capture_output=True, timeout=timeout, check=False)
    except FileNotFoundError:
        raise FleetError(f"{argv[0]} is not installed; install the Debian package that has it") from None
    if done.returncode:
        detail = (done.stderr or done.stdout).strip()
        raise FleetError(
            f"{' '.join(argv)} ended with status {done.returncode}: {detail}"
            + (f"\ninput was:\n{stdin}" if stdin else "")
        )
    return done.stdout


def require(programs: dict[str, str]) -> None:
    """FleetError that names the Debian packages to install, unless all the programs (keys) are there."""
    if os.geteuid() != 0:
        raise FleetError(f"making hosts takes root, and this is uid {os.geteuid()}; run it again under sudo")
    missing = {package for program, package in programs.items() if not shutil.which(program, path=SEARCH)}
    if missing:
        raise FleetError(f"programs are missing on this machine; apt-get install {' '.join(sorted(missing))}")


def wait_until(ready: Callable[[], bool], what: str, timeout: float, pause: float = 0.02) -> None:
    end = time.monotonic() + timeout
    while not ready():
        if time.monotonic() > end:
            raise FleetError(f"waited {timeout:.0f} s in vain for {what}")
        time.sleep(pause)
