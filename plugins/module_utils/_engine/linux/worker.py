# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work that a child process does: forked, it dies with whoever started it, and what it raises is raised there.

A worker is for work that must not hold up the rest (a core of its own), or that must not reach the rest (a root of its
own). Start workers while there are no threads.
"""

from __future__ import annotations

import _signal as signal
import gc
import os
import select
import sys

from .. import errors
from ..errors import EngineError, KernelError
from .lean import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, NoReturn

    Work = Callable[[], Any]


class Worker:
    """A child that runs ``work``, whose value is JSON. result() or kill() must be called, once."""

    def __init__(self, work: Work) -> None:
        from .inherited import set_parent_death_signal  # ctypes, which most runs do without

        reader, writer = os.pipe()
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(reader)
            _run(work, writer, parent, set_parent_death_signal)
        os.close(writer)
        self._reader = reader

    def fileno(self) -> int:
        """What select(2) finds readable once the worker is done."""
        return self._reader

    def result(self) -> Any:
        """Wait for the end; the value of ``work``. Raises what it raised: an EngineError, OSError as KernelError."""
        told, status = self._end()
        if not told:
            how = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"status {os.WEXITSTATUS(status)}"
            raise KernelError("a worker process", OSError(0, f"ended by {how}; is there too little memory?"))
        answer = loads(told)
        if "kind" not in answer:
            return answer["value"]
        raise _error(answer)

    def kill(self) -> None:
        """End it, and wait until it is gone with all that it started."""
        os.kill(self.pid, signal.SIGKILL)
        self._end()

    def _end(self) -> tuple[bytes, int]:
        """What it told. The pipe ends with the last process that has it: a worker's own workers have it too."""
        told = []
        while True:
            piece = os.read(self._reader, 1 << 16)
            if not piece:
                break
            told.append(piece)
        os.close(self._reader)
        return b"".join(told), os.waitpid(self.pid, 0)[1]


def run_workers(works: Iterable[Work], at_most: int, tick: Callable[[], None] | None = None) -> None:
    """Do all of ``works``, ``at_most`` at a time. The first error ends the others, and is raised.

    ``tick`` is called five times a second meanwhile.
    """
    pending = iter(works)
    running: list[Worker] = []
    try:
        while True:
            while len(running) < at_most and (work := next(pending, None)) is not None:
                running.append(Worker(work))
            if not running:
                return
            done = select.select(running, [], [], 0.2 if tick else None)[0]
            for worker in done:
                running.remove(worker)
                worker.result()
            if tick:
                tick()
    finally:
        for worker in running:
            worker.kill()


def _run(work: Work, writer: int, parent: int, set_parent_death_signal: Callable[[int], None]) -> NoReturn:
    """The child's life. Nothing of the caller's is to run in it: no handler, no exit function, no buffered output."""
    status = 1
    try:
        set_parent_death_signal(signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        # What the parent has made is not looked at again by the collector: its pages stay shared.
        gc.freeze()
        try:
            answer = {"value": work()}
        except BaseException as error:
            answer = _told(error)
        told = dumps(answer).encode(errors="backslashreplace")
        while told:
            told = told[os.write(writer, told) :]
        status = 0
    finally:
        os._exit(status)


def _told(error: BaseException) -> dict[str, Any]:
    if isinstance(error, OSError):
        error = KernelError("in a worker process", error)
    if isinstance(error, EngineError):
        fields = {key: value for key, value in vars(error).items() if isinstance(value, (str, int, type(None)))}
        return {"kind": type(error).__name__, "message": str(error), "fields": fields}
    # A fault of ours: where it is, since no traceback comes along.
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place is not None else "?"
    return {"kind": "", "message": f"{type(error).__name__}: {error} ({where})", "fields": {}}


def _error(answer: dict[str, Any]) -> BaseException:
    kind = getattr(errors, answer["kind"], None) if answer["kind"] else None
    if kind is None:
        return RuntimeError(f"a worker process failed: {answer['message']}")
    error: EngineError = kind.__new__(kind, answer["message"])
    vars(error).update(answer["fields"])
    return error


def seal_imports() -> None:
    """Import nothing from here on: in another root, Python would look for modules among whatever is there."""
    sys.meta_path.clear()
    sys.path.clear()
