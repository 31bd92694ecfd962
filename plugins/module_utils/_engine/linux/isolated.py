# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a program of the host so that nothing of it stays: whatever it mounts and starts ends with it.

It has a mount namespace and a pid namespace of its own (namespaces(7)), whose first process ends with whoever asked
for the program; the kernel kills what is left in there then, and unmounts what was mounted.
"""

from __future__ import annotations

import _signal as signal
import os
import select

from ..errors import BuildFailed
from .inherited import close_others, set_parent_death_signal
from .mount import MS_PRIVATE, MS_REC, mount
from .namespaces import CLONE_NEWNS, CLONE_NEWPID, unshare
from .process import start_time
from .worker import Worker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import NoReturn

_TAIL = 20  # lines that an error shows
_LONGEST = 1 << 16  # of a line that is told as one


def run_isolated(
    argv: Sequence[str], *, env: Mapping[str, str], timeout: float, told: str, tell: Callable[[str], None]
) -> None:
    """Run ``argv``, the path of a program first, as root of this host; ``tell`` gets its output, line by line.

    Raises BuildFailed, which calls it ``told``, where it fails or is not done after ``timeout`` seconds, and
    KernelError where this process may not make namespaces.
    """
    reader, writer = os.pipe()
    worker = Worker(lambda: _run(argv, env, timeout, reader, writer))
    os.close(writer)
    tail: list[str] = []
    try:
        for line in _lines(reader):
            tail = [*tail[1 - _TAIL :], line]
            tell(line)
    except BaseException:
        worker.kill()
        raise
    finally:
        os.close(reader)
    status = worker.result()
    if status is None:
        raise BuildFailed(f"{told}, stopped after {timeout:g} s", 128 + signal.SIGKILL, "\n".join(tail))
    if status:
        raise BuildFailed(told, status, "\n".join(tail))


def _lines(reader: int) -> Iterator[str]:
    """What comes until its end."""
    rest = b""
    while True:
        piece = os.read(reader, 1 << 16)
        *lines, rest = (rest + piece).replace(b"\r", b"\n").split(b"\n")
        if not piece or len(rest) > _LONGEST:
            lines, rest = [*lines, rest], b""
        yield from (line.decode(errors="backslashreplace") for line in lines if line)
        if not piece:
            return


def _run(argv: Sequence[str], env: Mapping[str, str], timeout: float, reader: int, writer: int) -> int | None:
    """In the worker: the exit status of the first process of new namespaces; None where it took too long."""
    os.close(reader)
    unshare(CLONE_NEWNS | CLONE_NEWPID)
    parent = os.getpid()
    said = os.memfd_create("said")
    pid = os.fork()
    if pid == 0:
        _be_first(argv, env, writer, said, parent)
    os.close(writer)
    in_time = bool(select.select([os.pidfd_open(pid)], [], [], timeout)[0])
    if not in_time:
        os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]  # once nothing else is left in there
    if not in_time:
        return None
    why = os.pread(said, 4096, 0)
    if why:
        number, _space, text = why.decode(errors="replace").partition(" ")
        raise OSError(int(number), text)
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def _be_first(argv: Sequence[str], env: Mapping[str, str], writer: int, said: int, parent: int) -> NoReturn:
    """The namespaces' first process, to which all orphans come (pid_namespaces(7)): all ends with it."""
    status = 127
    try:
        set_parent_death_signal(signal.SIGKILL)
        # /proc is still the parent's, which has no number in here; it may have gone before it could be told apart.
        if start_time(parent):
            mount("", "/", flags=MS_REC | MS_PRIVATE)
            mount("proc", "/proc", "proc")
            nothing = os.open("/dev/null", os.O_RDONLY)
            for fd, target in ((nothing, 0), (writer, 1), (writer, 2)):
                os.dup2(fd, target)
            close_others([0, 1, 2, said])
            status = _wait_for(os.posix_spawn(argv[0], list(argv), dict(env), setsid=True))
    except OSError as error:
        os.write(said, f"{error.errno or 0} {error.strerror}: {argv[0]}".encode())
    finally:
        os._exit(status)


def _wait_for(program: int) -> int:
    """Reap all children until ``program`` has ended; its exit status."""
    while True:
        pid, status = os.wait()
        if pid == program:
            return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
