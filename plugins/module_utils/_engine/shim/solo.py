# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One container, without a launcher: the module forks the monitor itself, so nobody waits for a Python to start.

The fork creates the container at once, or has a child do so. When that is done, and the module has gone on to networks
and names, it executes the installed engine, and so becomes as lean a monitor as a launcher's: its pid, its children and
its pipes stay. For many containers a launcher is cheaper: its monitors share their memory.
"""

from __future__ import annotations

import json
import os
import select

from ..errors import RuntimeFailed
from ..linux.inherited import close_others, set_child_subreaper
from ..linux.lean import suppress
from ..linux.namespaces import CLONE_NEWNS, setns
from .creator import create
from .monitor import Birth, fork_creator, make_pipes, watch_container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn


# A fork of the module becomes the monitor after so many seconds, if the module still has something to do then.
_DEFERENCE = 0.05


class SoloMonitor:
    """The monitor of one container, and the conversation with it: as launch.Launcher, for a single request.

    It is forked when that is made: so it has the request, and what the module writes before copies no page.
    """

    def __init__(self, engine: Sequence[str], lock: int = -1, *, subreaper: bool = False, alone: bool = False) -> None:
        """``alone``: it creates the container itself, which saves a fork of the module. Not where it will be in the
        container's cgroup (what that takes would count there), nor for another runtime, whose parent shall end."""
        self._engine = engine
        self._lock = lock
        self._subreaper = subreaper
        self._alone = alone
        self._pid = 0
        self._requests = -1
        self._heard: dict[str, Any] = {}

    def tell(self, message: dict[str, Any]) -> None:
        """Send the request, then its cgroup."""
        if "containers" in message:
            (request,) = message["containers"]
            self._fork(request)
            self._heard = {"name": request["name"], "monitor": self._pid}
            return
        content = json.dumps(message).encode() + b"\n"
        with suppress(BrokenPipeError):  # hear() tells
            while content:
                content = content[os.write(self._requests, content) :]

    def _fork(self, request: dict[str, Any]) -> None:
        request_reader, self._requests = os.pipe()
        answer_reader, answer_writer = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            pipes = request_reader, answer_writer
            _become_monitor(self._engine, request, pipes, self._lock, subreaper=self._subreaper, alone=self._alone)
        os.close(request_reader)
        os.close(answer_writer)
        self._answers = os.fdopen(answer_reader, "rb")

    def hear(self) -> dict[str, Any]:
        """Who the monitor is, then what came of the container. RuntimeFailed where it was killed instead."""
        if self._heard:
            heard, self._heard = self._heard, {}
            return heard
        line = self._answers.readline()
        if not line:
            raise RuntimeFailed("the monitor of the container, or who created it, was killed")
        return dict(json.loads(line))

    def close(self) -> None:
        """Let the monitor know that nobody waits for it. Idempotent."""
        if self._requests < 0:
            return
        os.close(self._requests)
        self._requests = -1
        self._answers.close()
        os.waitpid(self._pid, os.WNOHANG)


def _become_monitor(
    engine: Sequence[str],
    request: dict[str, Any],
    pipes: tuple[int, int],
    lock: int,
    *,
    subreaper: bool,
    alone: bool,
) -> NoReturn:
    """Leave all that is the module's, have the container created, be its monitor."""
    reader, writer = pipes
    try:
        os.setsid()
        os.chdir("/")
        os.umask(0o022)
        null = os.open("/dev/null", os.O_RDWR)
        for fd in range(3):
            os.dup2(null, fd)
        close_others([0, 1, 2, reader, writer, max(lock, 0)])
        if subreaper:
            set_child_subreaper()
        birth, answer = (_create if alone else _have_created)(request, reader, writer)
        os.closerange(lock, lock + 1)
        # Its end must be written down even where its container goes for lack of memory.
        with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as score:
            score.write("-900")
        if answer in (b"", b"-"):
            watch_container(request, birth, answer, pipes)
            os._exit(1)
        file = os.memfd_create("request")
        os.write(file, json.dumps(request).encode())
        kept = (file, reader, writer, birth.init, birth.out, birth.err)
        for fd in kept:
            os.set_inheritable(fd, True)
        # A Python starts, for which the container should not have to wait: the module lets go when it runs.
        select.select([reader], [], [], _DEFERENCE)
        numbers = [*kept[:3], birth.creator, *kept[3:], *answer.decode().split()]
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}
        os.execve(engine[0], [*engine, "monitor", *map(str, numbers)], environment)
    finally:
        os._exit(1)


def _have_created(request: dict[str, Any], reader: int, writer: int) -> tuple[Birth, bytes]:
    """Have a child create the container; its answer."""
    birth = fork_creator(request, reader, writer)
    return birth, birth.answer()


def _create(request: dict[str, Any], reader: int, writer: int) -> tuple[Birth, bytes]:
    """Create the container, and come back from the mount namespace that this takes."""
    null, (out, out_writer), (err, err_writer), answers, init_up, init_down = make_pipes()
    ours = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    stdio = (null, out_writer, err_writer)
    answer = create(request, (reader, writer), os.getpid(), (init_up, init_down), stdio, as_sibling=False)
    setns(ours, CLONE_NEWNS)
    # create() has closed what is the init's; where it failed, we end soon.
    for fd in (ours, *stdio, *answers, init_down[1]):
        os.close(fd)
    return Birth(0, -1, init_up[0], out, err), answer
