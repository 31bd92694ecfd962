"""Run a function in a child of its own, for what cannot be undone: filters, dropped capabilities, changed users."""

from __future__ import annotations

import json
import os
import select
import signal
from collections.abc import Callable
from typing import Any


class Died(Exception):
    """The child was ended by ``signal``."""

    def __init__(self, number: int) -> None:
        self.signal = signal.Signals(number)
        super().__init__(self.signal.name)


def run_forked(function: Callable[[], Any], timeout: float = 20.0) -> Any:
    """What ``function`` returns in a child (as JSON). Its OSError comes back as one, a signal as Died."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            try:
                answer = {"value": function()}
            except OSError as error:
                answer = {"errno": error.errno, "strerror": error.strerror}
            except BaseException as error:
                answer = {"failure": repr(error)}
            os.write(writer, json.dumps(answer).encode())
        finally:
            os._exit(0)
    os.close(writer)
    try:
        if not select.select([reader], [], [], timeout)[0]:
            os.kill(pid, signal.SIGKILL)
        text = os.read(reader, 1 << 16)
    finally:
        os.close(reader)
        status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        raise Died(os.WTERMSIG(status))
    answer = json.loads(text)
    if "errno" in answer:
        raise OSError(answer["errno"], answer["strerror"])
    assert "value" in answer, answer
    return answer["value"]
