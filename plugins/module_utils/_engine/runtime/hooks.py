# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hooks (runtime-spec, config.md, POSIX-platform Hooks): programs that get the container's state on stdin, in order."""

from __future__ import annotations

import _signal as signal
import os
import select

from ..errors import RuntimeFailed
from ..linux.inherited import reset_signals
from ..linux.lean import dumps, suppress
from .operations import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ..linux.openat2 import Root


def run_hooks(
    spec: Mapping[str, Any],
    stage: str,
    state: Mapping[str, Any],
    *,
    env: Mapping[str, str] | None = None,
    directory: str | int = "",
) -> None:
    """Run every hook of ``stage``. Raises RuntimeFailed at the first that fails or is not done within its timeout.

    ``env`` is for hooks that say nothing of theirs: runc's startContainer hooks have that of the process. Of
    ``directory`` the specification says nothing; with runc it is the root file system for createContainer hooks, and
    the bundle for those that run in the runtime's namespaces.
    """
    directory = directory or (state["bundle"] if stage not in ("createContainer", "startContainer") else "")
    for index, hook in enumerate(spec.get("hooks", {}).get(stage) or ()):
        status = _run(hook, dumps(state).encode(), env or {}, directory)
        if status != 0:
            why = "not done within its timeout" if status is None else f"failed with status {status}"
            raise RuntimeFailed(f"hooks.{stage}[{index}]: error running {stage} hook #{index}: {hook['path']} {why}")


def _run(hook: Mapping[str, Any], stdin: bytes, inherited: Mapping[str, str], directory: str | int) -> int | None:
    source = os.memfd_create("state")
    os.write(source, stdin)
    os.lseek(source, 0, os.SEEK_SET)
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(source, 0)
            reset_signals()
            if directory != "":
                with suppress(FileNotFoundError):  # a bundle may be gone when its container is deleted
                    os.chdir(directory)
            given = hook.get("env")
            env = dict(inherited) if given is None else dict(item.partition("=")[::2] for item in given)
            os.execve(hook["path"], list(hook.get("args") or [hook["path"]]), env)
        finally:
            os._exit(127)
    os.close(source)
    pidfd = os.pidfd_open(pid)
    try:
        done = select.select([pidfd], [], [], hook.get("timeout"))[0]
    finally:
        os.close(pidfd)
    if not done:
        os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    if not done:
        return None
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


class RunHooks(Operation):
    """The hooks of a stage that belongs to the container's own namespaces, in its ``root`` where that is given."""

    def __init__(
        self,
        spec: Mapping[str, Any],
        stage: str,
        state: Mapping[str, Any],
        *,
        env: Mapping[str, str] | None = None,
        root: Root | None = None,
    ) -> None:
        self.spec = spec
        self.stage = stage
        self.state = state
        self.env = env
        self.root = root

    def __str__(self) -> str:
        return f"run the {self.stage} hooks"

    def execute(self) -> None:
        run_hooks(self.spec, self.stage, self.state, env=self.env, directory=self.root.fd if self.root else "")
