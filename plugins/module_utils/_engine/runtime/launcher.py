# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The launcher: the lean process out of which monitors are forked (``launch`` of the engine's command line).

It speaks lines of JSON. First, on stdin, one object ``{"containers": [...]}``, one item a container. Then, for each:

    from the monitor   {"name", "monitor": pid}                                its process is there
    to the monitor     {"name", "task_files": [...], "directory": ""}          its cgroup is; or {"name", "error"}
    from the monitor   {"name", "pid", "started"}                              created; or {"name", "error"}

Its end, which the end of stdin brings about, tells the monitors that whoever wanted the containers is done or dead.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal

from ..linux.inherited import close_others, set_child_subreaper
from .channel import Channel
from .monitor import forward_signal, run_monitor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_STDIN = 0
_STDOUT = 1
_STDERR = 2


def main(_words: Sequence[str]) -> int:
    """Fork the monitors, pass on what they and stdin say, until stdin ends. The exit status."""
    close_others([_STDIN, _STDOUT, _STDERR])
    ours = Channel(_STDIN, _STDOUT)
    request = ours.hear()
    if request is None:
        return 0
    signal.signal(signal.SIGTERM, forward_signal)
    # What is there now is shared with all monitors; the collector would write to it.
    gc.collect()
    gc.freeze()
    monitors: dict[str, Channel] = {}
    for container in request["containers"]:
        mine, theirs = Channel.pair()
        if os.fork() == 0:
            for channel in (mine, *monitors.values()):
                os.close(channel.reader)
                os.close(channel.writer)
            if container["runtime"]:
                set_child_subreaper()
            run_monitor(container, theirs.reader, theirs.writer)
        theirs.close()
        monitors[container["name"]] = mine
    _relay(ours, monitors)
    return 0


def _relay(ours: Channel, monitors: dict[str, Channel]) -> None:
    poll = select.poll()
    poll.register(_STDIN, select.POLLIN)
    for channel in monitors.values():
        poll.register(channel.reader, select.POLLIN)
    while True:
        for fd, _event in poll.poll():
            if fd == _STDIN:
                while True:
                    message = ours.hear()
                    if message is None:
                        return
                    _pass_on(message, monitors[message["name"]])
                    if not ours.pending():
                        break
                continue
            content = os.read(fd, 65536)
            if content:
                os.write(_STDOUT, content)
            else:
                poll.unregister(fd)


def _pass_on(message: dict[str, Any], monitor: Channel) -> None:
    with contextlib.suppress(BrokenPipeError):  # it has told why it ended
        os.write(monitor.writer, json.dumps(message).encode() + b"\n")
