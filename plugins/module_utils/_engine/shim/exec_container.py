# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a program in a container of the engine, by its name, on whatever runtime the container is."""

from __future__ import annotations

import json
import os

from ..errors import Conflict, NotFound
from ..linux.process import run_program
from ..runtime.exec import EnterOptions, enter_container, plan_entered_process, run_on_terminal, wait_exit
from ..runtime.membership import find_membership
from ..runtime.state import State, load_state
from .bundle import read_definition
from .external import external_command, spawn_runtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from ..model.container import Container
    from ..paths import Paths


def seal_command(container: Container) -> None:
    """Execute this process's command line again from a Python that cannot be written to, where it may be Python that
    enters the container and not a trampoline (runtime/seals.py)."""
    security = container.security
    if security.apparmor or security.label or security.seccomp:
        from ..linux.sealed import run_sealed  # few containers have these

        run_sealed()


def exec_process(
    paths: Paths,
    name: str,
    args: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str = "",
    user: str = "",
    tty: bool = False,
) -> int:
    """Run a program in a container, on this process's streams or on a terminal of its own; its exit code.

    128 and the signal's number where one ended it. Raises NotFound, Conflict, InvalidOption, RuntimeFailed.
    """
    read_definition(paths, name)
    try:
        state = load_state(paths.runtime_root, name)
    except NotFound as error:
        raise Conflict(f"container {name!r} is not running; start it first") from error
    spec = state.spec()
    process = plan_entered_process(state, spec, args, env=env or {}, cwd=cwd, user=user)
    process["terminal"] = tty
    if state.values.get("runtime"):
        return _exec_external(paths, state, process)
    options = EnterOptions()
    options.membership = find_membership(state.cgroups_path, paths.instance, state.pid)
    if not tty:
        return wait_exit(*enter_container(state, spec, process, options))
    return run_on_terminal(state, spec, process, options)


def _exec_external(paths: Paths, state: State, process: dict[str, Any]) -> int:
    """Have the runtime that made the container do it, on our streams."""
    runtime = state.values["runtime"]
    file = os.memfd_create("process", 0)
    os.write(file, json.dumps(process).encode())
    run_program(external_command(paths.run_root, runtime, "state", state.id))  # say clearly that it is gone
    command = external_command(paths.run_root, runtime, "exec", "--process", f"/proc/{os.getpid()}/fd/{file}", state.id)
    pid = spawn_runtime(command)
    return wait_exit(pid, os.pidfd_open(pid))
