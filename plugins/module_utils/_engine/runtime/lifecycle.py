# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to a container once it is created: start, kill, delete (runtime-spec, runtime.md, Operations)."""

from __future__ import annotations

import _signal as signal
import errno
import os
import select

from ..errors import Conflict, InvalidOption, RuntimeFailed, StateCorrupt
from ..linux.files import remove_if_exists
from ..linux.lean import Descriptor, suppress
from ..linux.process import is_alive, send_signal, wait_gone
from .channel import parse_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..cgroup.interface import Cgroups
    from .state import State

_EXEC_TIMEOUT = 10.0
_KILL_TIMEOUT = 10.0
_PIPE_SIZE = 65536  # of which an error is the first line


def start_state(state: State) -> None:
    """Let the init go on to its program, and wait until it has. Conflict where it is not *created*."""
    status = state.status()
    if status != "created":
        raise Conflict(f"cannot start container {state.id!r}: it is {status}, not created")
    try:
        fifo = os.open(state.fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        # Nobody has it open for reading: whoever started the container was stopped before removing the fifo.
        remove_if_exists(state.fifo)
        return
    with Descriptor(fifo):
        _tell_init(state, fifo)
        # Now that the init is the reader no more, whose end we waited for. By this name, as its own is gone.
        reader = os.open(f"/proc/self/fd/{fifo}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with Descriptor(reader):
        told = os.read(reader, _PIPE_SIZE)
    _raise_failure(state, told)


def _tell_init(state: State, fifo: int) -> None:
    try:
        os.write(fifo, b"0")
    except BrokenPipeError:
        remove_if_exists(state.fifo)
        return
    remove_if_exists(state.fifo)
    poll = select.poll()
    poll.register(fifo, 0)
    # POLLERR: the init has closed its end, by exec or by ending. Hooks have timeouts of their own.
    if not poll.poll(_EXEC_TIMEOUT * 1000):
        if not state.hooks().get("startContainer"):
            raise RuntimeFailed(f"container {state.id!r} was told to start, but has not in {_EXEC_TIMEOUT:g} s")
        poll.poll()


class StartFailed(RuntimeFailed):
    """The init could not become its program, or a startContainer ``hook`` failed."""

    def __init__(self, why: str, *, hook: bool) -> None:
        super().__init__(why)
        self.hook = hook


def _raise_failure(state: State, told: bytes) -> None:
    """What an init has written to its fifo before it ended, after the word that started it, had it not read that."""
    line = told.lstrip(b"0").partition(b"\n")[0]
    if not line:
        return
    try:
        message = parse_line(line)
        why, hook = str(message["error"]), bool(message.get("hook"))
    except (ValueError, TypeError, KeyError):  # the init of a created container can be written for by its exec
        why, hook = f"its init said what cannot be read, {line[:80]!r}", False
    raise StartFailed(f"container {state.id}: {why}", hook=hook)


def parse_signal(option: str, text: str) -> int:
    """``TERM``, ``SIGTERM`` or ``15`` as a number. Raises InvalidOption."""
    if text.isascii() and text.isdigit() and 0 <= int(text) <= signal.SIGRTMAX:
        return int(text)
    name = text.upper() if text.upper().startswith("SIG") else "SIG" + text.upper()
    if name.startswith("SIGRTMIN+") and name[9:].isdigit() and signal.SIGRTMIN + int(name[9:]) <= signal.SIGRTMAX:
        return int(signal.SIGRTMIN) + int(name[9:])
    number = getattr(signal, name, None)
    if not isinstance(number, int) or "_" in name:
        raise InvalidOption(option, text, "a signal such as SIGTERM, TERM or 15")
    return int(number)


def kill_state(state: State, number: int) -> None:
    """Send the init a signal. Conflict where there is none any more."""
    if state.pid == 0 or not send_signal(state.pid, state.started, number):
        raise Conflict(f"cannot signal container {state.id!r}: container not running")


def delete_state(state: State, cgroups: Cgroups | None, *, force: bool, warn: Callable[[str], None]) -> None:
    """Remove a container and its cgroup; ``force`` kills it first. Conflict where it runs."""
    status = state.status()
    if status != "stopped" and not force:
        raise Conflict(f"cannot delete container {state.id!r}: it is {status}; stop it, or use --force")
    if status == "paused" and cgroups is not None:
        cgroups.kill(state.cgroups_path)  # v1: what is frozen does not die, and this lets it go on
    if state.pid and is_alive(state.pid, state.started):
        send_signal(state.pid, state.started, signal.SIGKILL)
        if not wait_gone(state.pid, state.started, _KILL_TIMEOUT):
            raise RuntimeFailed(f"container {state.id!r}: process {state.pid} does not end after SIGKILL")
    if cgroups is not None and state.cgroups_path:
        cgroups.kill(state.cgroups_path)
        cgroups.destroy(state.cgroups_path)
    hooks: dict[str, Any] = {}
    with suppress(StateCorrupt):  # a bundle that is gone takes its hooks along
        hooks = state.hooks()
    told = state.told("stopped")
    state.remove()
    if hooks.get("poststop"):
        from .hooks import run_poststop  # most containers have none

        run_poststop({"hooks": hooks}, told, warn)
