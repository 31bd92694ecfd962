# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The monitor: one lean process that stays with a container from before its birth to after its end.

It is forked by the launcher, in a session of its own, or by the module itself (solo.py). A child of it creates the
container (creator.py) and goes, and with it the memory that this took; the init becomes the monitor's child. The
monitor copies its output to the log, waits for it, writes ``exit.json``, removes cgroup and runtime state, and ends. A
native init dies with its monitor (prctl(2), PR_SET_PDEATHSIG): nothing runs unwatched. SIGTERM goes on to the init.

Whoever wants the container hears of it in lines of JSON, and the pipe from there is the life line: a container that is
not started within ``patience`` seconds of that one's end is given up.

Every page that is written to after the fork is this monitor's alone, and reading a Python object writes its count of
references. So what a monitor does until its container ends, it does with as few modules, functions and objects as can
be: no json, no ctypes, no open(), whose codec would be imported, no contextlib.
"""

from __future__ import annotations

import _signal as signal
import gc
import os
import select
import time

from ..errors import EngineError
from ..linux.lean import loads
from .finish import finish_container
from .logs import format_log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn

    Pipe = tuple[int, int]
    Pipes = tuple[int, Pipe, Pipe, Pipe, Pipe, Pipe]

_READ_SIZE = 65536

# The init's pidfd, for the signal handler: set in the monitor, inherited by nobody.
_init: list[int] = []


def forward_signal(number: int, _frame: object) -> None:
    """The handler of SIGTERM, set by the launcher before it forks: what ends us ends the container instead."""
    if not _init:
        os._exit(128 + number)
    signal.pidfd_send_signal(_init[0], number)


class Birth:
    """What a monitor keeps of the creation of its container: the creator's pid (0: itself), and what it reads from.

    ``told`` gives the creator's answer, ``init`` what the init says, ``out`` and ``err`` are its output.
    """

    def __init__(self, creator: int, told: int, init: int, out: int, err: int) -> None:
        self.creator = creator
        self.told = told
        self.init = init
        self.out = out
        self.err = err

    def answer(self) -> bytes:
        """Wait for the creator's answer: pid and start time of the init, or a dash; nothing where it was killed."""
        answer = os.read(self.told, _READ_SIZE)
        os.close(self.told)
        return answer

    def reap(self) -> None:
        """Wait for the creator's end."""
        if self.creator:
            os.waitpid(self.creator, 0)


def main(words: Sequence[str]) -> int:
    """Be the monitor of a container that is there: what solo.py has become. ``words`` are numbers, as it gives them."""
    signal.signal(signal.SIGTERM, forward_signal)
    gc.disable()
    file, reader, writer, creator, init, out, err, pid, started = map(int, words)
    for fd in (file, reader, writer, init, out, err):
        os.set_inheritable(fd, False)
    request = loads(os.pread(file, os.fstat(file).st_size, 0))
    watch_container(request, Birth(creator, -1, init, out, err), b"%d %d" % (pid, started), (reader, writer))
    return 0


def run_monitor(request: dict[str, Any], reader: int, writer: int, lock: int) -> NoReturn:
    """Be the monitor of one container, with the pipes to and from the launcher: never returns.

    The launcher has let go of all that was its caller's, but for the session, and ``lock``, which is the creator's to
    keep.
    """
    status = 1
    try:
        os.setsid()
        announce(request, writer)
        birth = fork_creator(request, reader, writer)
        os.closerange(lock, lock + 1)
        watch_container(request, birth, birth.answer(), (reader, writer))
        status = 0
    except EngineError as error:
        os.write(2, str(error).encode())
    finally:
        os._exit(status)


def announce(request: dict[str, Any], writer: int) -> None:
    """Tell the launcher that its monitor is there."""
    _write(writer, b'{"name": "%s", "monitor": %d}\n' % (request["name"].encode(), os.getpid()))


def fork_creator(request: dict[str, Any], reader: int, writer: int) -> Birth:
    """Have a child create the container that is asked for; see run_creator()."""
    pipes = make_pipes()
    ourselves = os.getpid()
    child = os.fork()
    if child == 0:
        try:
            from .creator import run_creator  # a launcher has it by now; a monitor that only watches never needs it

            null, (_out, out), (_err, err), (told, teller), init_up, init_down = pipes
            os.close(told)
            run_creator(request, (reader, writer), (ourselves, teller), (init_up, init_down), (null, out, err))
        finally:
            os._exit(1)
    return keep_ours(child, pipes)


def make_pipes() -> Pipes:
    """What a container has as stdin, and the pipes: output, errors, the creator's answer, from and to the init."""
    return os.open("/dev/null", os.O_RDONLY), os.pipe(), os.pipe(), os.pipe(), os.pipe(), os.pipe()


def keep_ours(creator: int, pipes: Pipes) -> Birth:
    """Close the ends that are the creator's."""
    null, (out, out_writer), (err, err_writer), (told, teller), (init, init_writer), (reader, writer) = pipes
    for fd in (null, out_writer, err_writer, teller, init_writer, reader, writer):
        os.close(fd)
    return Birth(creator, told, init, out, err)


def watch_container(request: dict[str, Any], birth: Birth, answer: bytes, pipes: tuple[int, int]) -> None:
    """Stay with a container from the creator's ``answer`` to its end, and clear up."""
    reader, writer = pipes
    pid, _space, started = answer.partition(b" ")
    if not started:
        birth.reap()
        # The creator has told why, unless it was killed. The init, if it was born, ends as we do.
        finish_container(request, None, b"", 0)
        if not answer:
            text = b"the process that creates the container was killed"
            _write(writer, b'{"name": "%s", "error": "%s"}\n' % (request["name"].encode(), text))
        return
    pidfd = os.pidfd_open(int(pid))
    _init[:] = [pidfd]
    birth.reap()
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    error = watch(request, log, reader, birth, pidfd)
    finish_container(request, int(pid), error, log)


def watch(request: dict[str, Any], log: int, launcher: int, birth: Birth, pidfd: int) -> bytes:
    """Wait for whatever comes first, until the init, ``pidfd``, has ended and all that it wrote is in the log.

    Returns what the init said that went wrong when it was to become its program: nothing, as a rule.
    """
    init, streams = birth.init, {birth.out: "stdout", birth.err: "stderr"}
    error = b""
    poll = select.poll()
    for fd in (pidfd, launcher, init, *streams):
        poll.register(fd, select.POLLIN)
    timeout = None
    started = False
    while True:
        events = poll.poll(timeout)
        if not events and not started:
            error = b"it was not started by whoever created it"
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            timeout = None
        for fd, _event in events:
            if fd in streams:
                if not _copy(fd, log, streams[fd]):
                    poll.unregister(fd)
            elif fd == init:
                # Its end of the pipe closes when its program runs.
                poll.unregister(fd)
                started = True
                error = error or os.read(fd, _READ_SIZE)
                timeout = None
            elif fd == launcher:
                poll.unregister(fd)
                if not started and not request["runtime"]:
                    timeout = request["patience"] * 1000
        if any(fd == pidfd for fd, _event in events):
            break
    for fd, stream in streams.items():
        os.set_blocking(fd, False)
        while _copy(fd, log, stream):
            pass
    return error


def _copy(fd: int, log: int, stream: str) -> bool:
    """One read of a stream into the log; False where there is nothing (any more)."""
    try:
        content = os.read(fd, _READ_SIZE)
    except BlockingIOError:
        return False
    if content:
        _write(log, format_log(stream, content, time.time_ns()))
    return bool(content)


def _write(fd: int, content: bytes) -> None:
    """Write, if it can be: neither a full disk, nor a launcher that is gone, nor a missing right ends a monitor."""
    try:  # suppress() would be five pages more
        os.write(fd, content)
    except OSError:
        return
