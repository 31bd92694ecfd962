# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The end of a container, as its monitor deals with it: it is written down, then what is left is taken away."""

from __future__ import annotations

import os
import time

from ..errors import EngineError
from ..linux.files import write_json
from ..linux.lean import suppress
from ..runtime.channel import parse_line
from ..runtime.state import State, load_state
from .logs import format_log, format_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def finish_container(request: dict[str, Any], pid: int | None, told: bytes, log: int) -> None:
    """Reap ``pid`` and record its end (not for a container that was never there: None), then remove the rest.

    What has no state of ours is left to whoever removes the container: if our run was killed, another may be making the
    container anew by now, in a cgroup of the same name.
    """
    if pid is not None:
        _record(request, pid, _error_in(told), log)
    elif not _has_our_state(request):
        return
    if request["runtime"]:
        from .external import delete_external  # few containers are on another runtime

        with suppress(EngineError):
            delete_external(request["run_root"], request["runtime"], request["name"], request["cgroups_path"])
    _remove_cgroup(request)
    State(request["state_root"], request["name"], {}).remove()


def _has_our_state(request: dict[str, Any]) -> bool:
    try:
        return load_state(request["state_root"], request["name"]).creator[0] == os.getpid()
    except EngineError:
        return False


def _record(request: dict[str, Any], pid: int, error: str, log: int) -> None:
    status = os.waitpid(pid, 0)[1]
    code = 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    now = time.time_ns()
    record = {"exit_code": code, "finished_at": format_time(now), "error": error}
    with suppress(OSError):
        if error:
            os.write(log, format_log("stderr", f"{error}\n".encode(), now))
    with suppress(FileNotFoundError):  # the container is being removed
        write_json(os.path.join(request["run"], "exit.json"), record, durable=False)


def _error_in(told: bytes) -> str:
    """What an init said last: nothing, a line of JSON, or words of the monitor's own."""
    try:
        return str(parse_line(told)["error"]) if told.startswith(b"{") else told.decode()
    except (ValueError, KeyError):
        return told.decode(errors="replace")


def _remove_cgroup(request: dict[str, Any]) -> None:
    # Where the engine has been removed meanwhile, whoever removes the container removes the cgroup.
    try:
        from ..cgroup.manager import open_cgroups  # here, so that a monitor stays small until its container ends
    except ImportError:
        return
    path = request["cgroups_path"]
    with suppress(EngineError, OSError):
        cgroups = open_cgroups(request["instance"])
        if cgroups.processes(path):
            cgroups.kill(path)
        cgroups.destroy(path)
