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
from .steps.operations import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, NoReturn

    from ..linux.openat2 import Root

_LONGEST = 1 << 31  # seconds; select(2) takes no more than 32 bits of them everywhere


class HookFailed(RuntimeFailed):
    """A hook ended with an error, or not within its timeout."""


def run_hooks(
    spec: Mapping[str, Any],
    stage: str,
    state: Mapping[str, Any],
    *,
    env: Mapping[str, str] | None = None,
    directory: str | int = "",
) -> None:
    """Run every hook of ``stage``. Raises HookFailed at the first that fails or is not done within its timeout.

    ``env`` is for hooks that say nothing of theirs: runc's startContainer hooks have that of the process. Of
    ``directory`` the specification says nothing; with runc it is the root file system for createContainer hooks, and
    the bundle for those that run in the runtime's namespaces.
    """
    directory = directory or (state["bundle"] if stage not in ("createContainer", "startContainer") else "")
    for index, hook in enumerate(spec.get("hooks", {}).get(stage) or ()):
        why = _run(hook, dumps(state).encode(), env or {}, directory)
        if why:
            raise HookFailed(_failure(stage, index, hook, why))


def run_poststop(spec: Mapping[str, Any], state: Mapping[str, Any], warn: Callable[[str], None]) -> None:
    """Run the poststop hooks, all of them: what fails is a warning (runtime.md, Lifecycle, 13)."""
    for index, hook in enumerate((spec.get("hooks") or {}).get("poststop") or ()):
        why = _run(hook, dumps(state).encode(), {}, state["bundle"])
        if why:
            warn(_failure("poststop", index, hook, why))


def _failure(stage: str, index: int, hook: Mapping[str, Any], why: str) -> str:
    return f"hooks.{stage}[{index}]: error running {stage} hook #{index}: {hook['path']} {why}"


def _run(hook: Mapping[str, Any], stdin: bytes, inherited: Mapping[str, str], directory: str | int) -> str:
    """What went wrong; nothing where all went well."""
    source, failure = os.memfd_create("state"), os.memfd_create("failure")
    try:
        os.write(source, stdin)
        os.lseek(source, 0, os.SEEK_SET)
        pid = os.fork()
        if pid == 0:
            _become(hook, source, failure, inherited, directory)
        status = _wait(pid, hook.get("timeout"))
        if status is None:
            return f"not done within its timeout, {hook['timeout']} s"
        told = os.pread(failure, 4096, 0).decode()
        return told or (_describe(status) if status else "")
    finally:
        os.close(source)
        os.close(failure)


def _describe(status: int) -> str:
    if status > 0:
        return f"failed with status {status}"
    from signal import strsignal  # for what rarely happens

    return f"ended by signal {-status} ({(strsignal(-status) or 'unknown').lower()})"


def _become(
    hook: Mapping[str, Any], source: int, failure: int, inherited: Mapping[str, str], directory: str | int
) -> NoReturn:
    try:
        os.setpgid(0, 0)  # so that what it leaves running ends with it
        os.dup2(source, 0)
        reset_signals()
        if directory != "":
            with suppress(FileNotFoundError):  # a bundle may be gone when its container is deleted
                os.chdir(directory)
        given = hook.get("env")
        env = dict(inherited) if given is None else dict(item.partition("=")[::2] for item in given)
        os.execve(hook["path"], list(hook.get("args") or [hook["path"]]), env)
    except (OSError, ValueError) as error:
        os.write(failure, f"cannot be run: {getattr(error, 'strerror', None) or error}".encode())
    finally:
        os._exit(127)


def _wait(pid: int, timeout: int | None) -> int | None:
    """The exit status (negative: a signal), or None after killing what took longer than ``timeout`` seconds."""
    pidfd = os.pidfd_open(pid)
    try:
        done = select.select([pidfd], [], [], timeout and min(timeout, _LONGEST))[0]
    except BaseException:  # whoever wanted it to run is told to end
        _end(pid)
        os.waitpid(pid, 0)
        raise
    finally:
        os.close(pidfd)
    if not done:
        _end(pid)
    status = os.waitpid(pid, 0)[1]
    if not done:
        return None
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _end(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)  # which may not have come to lead its group


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
        # "For hooks executed in the container namespace, it is the pid as seen by the container" (runtime.md, State).
        told = {**self.state, "status": "created", "pid": os.getpid()}
        run_hooks(self.spec, self.stage, told, env=self.env, directory=self.root.fd if self.root else "")
