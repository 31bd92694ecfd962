# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other processes: run a program of the host, and know a process by its pid and start time."""

from __future__ import annotations

import _signal as signal
import os
import select

from ..errors import ProgramFailed, Unsupported
from .files import read_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def run_program(
    argv: Sequence[str], *, stdin: bytes = b"", env: Mapping[str, str] | None = None, timeout: float = 60.0
) -> bytes:
    """Run ``argv`` (found in PATH) to its end and return what it wrote to stdout.

    Raises Unsupported where there is no such program, ProgramFailed where it exits with an error or is
    not done after ``timeout`` seconds. Files in memory stand for its three streams, so no pipe can fill up.
    """
    program = find_program(argv[0])
    if program is None:
        raise Unsupported(f"the program {argv[0]!r} is not installed on this host; install it and run again")
    streams = [os.memfd_create(name) for name in ("stdin", "stdout", "stderr")]
    try:
        os.write(streams[0], stdin) if stdin else None
        os.lseek(streams[0], 0, os.SEEK_SET)
        actions = [(os.POSIX_SPAWN_DUP2, fd, target) for target, fd in enumerate(streams)]
        pid = os.posix_spawn(program, list(argv), dict(os.environ if env is None else env), file_actions=actions)
        status = _wait(pid, timeout)
        if status is None:
            raise ProgramFailed(argv, -signal.SIGKILL, f"not done after {timeout:g} s")
        if status != 0:
            raise ProgramFailed(argv, status, _content(streams[2]).decode(errors="replace"), _content(streams[1]))
        return _content(streams[1])
    finally:
        for fd in streams:
            os.close(fd)


def find_program(name: str) -> str | None:
    """Where PATH has the program ``name``; a path is itself. (shutil.which() costs 3 ms of imports.)"""
    directories = [""] if "/" in name else os.environ.get("PATH", os.defpath).split(":")
    for directory in directories:
        path = os.path.join(directory, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def _wait(pid: int, timeout: float) -> int | None:
    """The exit status (negative: a signal), or None after killing what took longer than ``timeout`` seconds."""
    pidfd = os.pidfd_open(pid)
    try:
        done = select.select([pidfd], [], [], timeout)[0]
    finally:
        os.close(pidfd)
    if not done:
        os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    if not done:
        return None
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _content(fd: int) -> bytes:
    return os.pread(fd, os.fstat(fd).st_size, 0)


def start_time(pid: int) -> int:
    """When ``pid`` started, in clock ticks since boot (proc_pid_stat(5), field 22); 0 where there is no such process.

    A zombie counts as gone: it runs nothing any more.
    """
    try:
        fields = read_whole(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])


def is_alive(pid: int, started: int) -> bool:
    """Whether the process that had ``pid`` and start time ``started`` still runs (a pid alone may be reused)."""
    return pid > 0 and start_time(pid) == started


def send_signal(pid: int, started: int, number: int) -> bool:
    """Signal that very process, through a pidfd; False where it is gone."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if start_time(pid) != started:
            return False
        # pidfd_send_signal(2); os has no function for it before signal.pidfd_send_signal of Python 3.9.
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(pidfd)
    return True


def wait_gone(pid: int, started: int, timeout: float) -> bool:
    """Wait until that process has ended, at most ``timeout`` seconds; True where it has."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        if start_time(pid) != started:
            return True
        return bool(select.select([pidfd], [], [], timeout)[0])
    finally:
        os.close(pidfd)


def in_user_namespace() -> bool:
    """Whether this process is in another user namespace than the first: then its root is not the machine's."""
    try:
        # PROC_USER_INIT_INO in include/linux/proc_ns.h: the first has always had this number.
        return os.readlink("/proc/self/ns/user") != "user:[4026531837]"
    except FileNotFoundError:  # a kernel without user namespaces
        return False
