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

import _signal as signal
import gc
import os
import select

from ..linux.inherited import close_others, set_child_subreaper
from ..linux.lean import dumps, suppress
from ..linux.procfs import write_proc
from ..runtime.channel import Channel
from .creator import run_creator
from .pools import fill_pools

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, NoReturn

# Here, so that it is loaded before monitors are forked, which fork creators.
_CREATOR = run_creator
# Where launch.Launcher puts the host's lock.
_LOCK = 3
# So many at a time: each takes four descriptors until it is forked, of the 1024 that there may be.
_BATCH = 100


def main(_words: Sequence[str]) -> int:
    """Fork the monitors, pass on what they and stdin say, until stdin ends. The exit status."""
    close_others([0, 1, 2, _LOCK])
    ours = Channel(os.dup(0), os.dup(1))
    request = ours.hear()
    if request is None:
        return 0
    _detach()
    run_monitor = _load_monitor()
    monitors: dict[str, Channel] = {}
    containers = request["containers"]
    for first in range(0, len(containers), _BATCH):
        monitors.update(_fork_monitors(containers[first : first + _BATCH], run_monitor))
    _relay(ours, monitors)
    return 0


def _detach() -> None:
    """Be what a monitor shall be, but for its session: done once here, it costs the monitors no memory."""
    gc.disable()
    os.chdir("/")
    os.umask(0o022)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for fd in range(3):
        os.dup2(null, fd)
    # The container may go for lack of memory; that it went must still be written down. An init says what it shall have.
    with suppress(OSError):
        write_proc("self/oom_score_adj", "-900")


def _load_monitor() -> Callable[..., NoReturn]:
    """run_monitor(), loaded and rehearsed last of all, so that what monitors use is on few pages (pools.py)."""
    gc.collect()
    fill_pools()
    from .monitor import forward_signal, run_monitor  # see above
    from .rehearsal import rehearse_monitor  # see above

    signal.signal(signal.SIGTERM, forward_signal)
    rehearse_monitor()
    return run_monitor


def _fork_monitors(containers: list[dict[str, Any]], run_monitor: Callable[..., NoReturn]) -> dict[str, Channel]:
    """Fork a monitor for each, and keep the channels to them.

    What there is now is shared by all of them, save the pages that the loop of forks itself writes to: so it does
    nothing else. The collector would write to all.
    """
    pairs = [Channel.pair() for _container in containers]
    end = 1 + max(fd for pair in pairs for channel in pair for fd in (channel.reader, channel.writer))
    gc.collect()
    gc.freeze()
    child, index = 1, -1
    for index in range(len(containers)):  # noqa: B007 -- the child goes on with it
        child = os.fork()
        if child == 0:
            break
    if child == 0:
        reader, writer = pairs[index][1].reader, pairs[index][1].writer
        low, high = min(reader, writer), max(reader, writer)
        os.closerange(_LOCK + 1, low)
        os.closerange(low + 1, high)
        os.closerange(high + 1, end)
        if containers[index]["runtime"]:
            set_child_subreaper()
        run_monitor(containers[index], reader, writer, _LOCK)
    for _ours, theirs in pairs:
        theirs.close()
    return {container["name"]: ours for container, (ours, _theirs) in zip(containers, pairs)}


def _relay(ours: Channel, monitors: dict[str, Channel]) -> None:
    poll = select.poll()
    poll.register(ours.reader, select.POLLIN)
    waiting = {channel.reader: name for name, channel in monitors.items()}
    for fd in waiting:
        poll.register(fd, select.POLLIN)
    if ours.pending() and not _pass_on(ours, monitors):  # it was read together with the request
        return
    while True:
        for fd, _event in poll.poll():
            if fd == ours.reader:
                if not _pass_on(ours, monitors):
                    return
                continue
            content = os.read(fd, 65536)
            if not content:
                poll.unregister(fd)
                if fd in waiting:
                    content = dumps({"name": waiting[fd], "error": "its monitor was killed"}).encode() + b"\n"
            if b'"pid": ' in content or b'"error": ' in content:
                waiting.pop(fd, None)
            os.write(ours.writer, content)


def _pass_on(ours: Channel, monitors: dict[str, Channel]) -> bool:
    """Hand what stdin has to the monitors; False where it has ended."""
    while True:
        message = ours.hear()
        if message is None:
            return False
        with suppress(BrokenPipeError):  # it has told why it ended
            monitors[message["name"]].tell(message)
        if not ours.pending():
            return True
