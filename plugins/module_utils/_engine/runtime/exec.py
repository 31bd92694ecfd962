# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Enter a running container: one more process in all its namespaces and its cgroup, with no more rights than its init.

While it is ours it cannot be looked into from inside (PR_SET_DUMPABLE, CVE-2019-5736), it has no descriptor but its
streams, and its working directory is checked (CVE-2024-21626). It dies with its caller unless it is to be left alone.
"""

from __future__ import annotations

import _signal as signal
import os
import select

from ..errors import Conflict, KernelError, RuntimeFailed
from ..linux import inherited
from ..linux.lean import suppress
from ..linux.namespaces import CLONE_NEWCGROUP, CLONE_NEWUSER, CLONE_PARENT, NAMESPACES, clone3, setns
from ..linux.openat2 import Root
from ..linux.process import is_alive
from .channel import Channel
from .create import Membership, compile_seccomp
from .devices import OpenConsole
from .execution import FindProgram, MakeTrampoline
from .init import DieWithParent, FindHome, Init, plan_process
from .operations import Operation, execute_all
from .process import BecomeNamespaceRoot, NewSession, write_file
from .users import User, resolve_user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from .console import ConsoleSender
    from .state import State


class EnterOptions:
    """How to enter. ``stdio`` is put on 0 to 2 where given; ``send_console`` takes the terminal that is made."""

    def __init__(self) -> None:
        self.stdio: Sequence[int] = ()
        self.send_console: ConsoleSender | None = None
        self.preserve_fds = 0
        self.die_with_parent = True
        self.debug: Callable[[str], None] | None = None
        self.membership = Membership()


def enter_container(
    state: State, spec: Mapping[str, Any], process: dict[str, Any], options: EnterOptions
) -> tuple[int, int]:
    """Start ``process`` (an OCI process) in a container: pid and pidfd of a child. Raises Conflict, RuntimeFailed."""
    if state.status() not in ("created", "running", "paused"):
        raise Conflict(f"container {state.id!r} is not running")
    target = os.pidfd_open(state.pid)
    ours, theirs = Channel.pair()
    try:
        if not is_alive(state.pid, state.started):
            raise Conflict(f"container {state.id!r} is not running")
        flags = _differing_namespaces(state.pid)
        if flags & CLONE_NEWUSER:
            from .mappings import prepare_entry  # what a container without a user namespace needs nothing of

            prepare_entry(process, state.pid, options.stdio)
        init = Init({**spec, "process": process}, bundle=state.bundle, channel=theirs, fifo=-1)
        init.seccomp, init.seccomp_flags = compile_seccomp(spec)
        init.preserve_fds = options.preserve_fds
        init.debug = options.debug is not None
        pid, pidfd = _enter(init, ours, target, flags, options)
        theirs.close()
        message = ours.hear()
        while message is not None and "debug" in message:
            options.debug(message["debug"]) if options.debug else None
            message = ours.hear()
        if message is not None:
            os.close(pidfd)
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)
            raise RuntimeFailed(f"container {state.id}: {message['error']}")
        return pid, pidfd
    except OSError as error:
        raise KernelError(f"entering container {state.id}", error) from error
    finally:
        os.close(target)
        with suppress(OSError):
            ours.close()


def _differing_namespaces(pid: int) -> int:
    """The types of namespace in which ``pid`` is elsewhere than we are."""
    flags = 0
    for flag, name in NAMESPACES.values():
        with suppress(FileNotFoundError):
            if os.readlink(f"/proc/{pid}/ns/{name}") != os.readlink(f"/proc/self/ns/{name}"):
                flags |= flag
    return flags


def _enter(init: Init, ours: Channel, target: int, flags: int, options: EnterOptions) -> tuple[int, int]:
    """By way of a child that joins cgroup and namespaces: a pid namespace counts for children alone."""
    membership = options.membership
    reader, writer = os.pipe()
    helper = os.fork()
    if helper == 0:
        try:
            inherited.set_dumpable(False)
            cgroup = os.open(membership.directory, os.O_RDONLY | os.O_DIRECTORY) if membership.directory else -1
            for path in membership.task_files:
                write_file(path, "0")
            # The cgroup namespace comes after the cgroup: where it is mounted with nsdelegate, as systemd does, nobody
            # comes in from outside of the namespace that they are in (cgroups(7), ENOENT).
            setns(target, flags & ~CLONE_NEWCGROUP)
            pid = clone3(CLONE_PARENT, cgroup=cgroup)[0]
            if pid == 0:
                if flags & CLONE_NEWCGROUP:
                    setns(target, CLONE_NEWCGROUP)
                os.close(ours.reader)
                os.close(ours.writer)
                _run_entered(init, options)
            os.write(writer, b"%d" % pid)
        except OSError as error:
            os.write(writer, f"joining the cgroup and the namespaces: {error}".encode())
        finally:
            os._exit(0)
    os.close(writer)
    told = os.read(reader, 4096).decode()
    os.close(reader)
    os.waitpid(helper, 0)
    if not told.isdigit():
        raise RuntimeFailed(told or "the process that enters the container was killed")
    return int(told), os.pidfd_open(int(told))


def _run_entered(init: Init, options: EnterOptions) -> None:
    try:
        for target, fd in enumerate(options.stdio):
            os.dup2(fd, target)
        sender = options.send_console
        kept = [0, 1, 2, init.channel.reader, init.channel.writer, *([sender.fd] if sender else [])]
        inherited.close_others([*kept, *range(3, 3 + options.preserve_fds)])
        init.report("nsexec container setup: in the namespaces of the container")
        init.report("child process in init()")
        execute_all(_plan_entered(init, options), init.report if init.debug else None)
    except Exception as error:
        with suppress(OSError):
            init.channel.tell({"error": str(error)})
    finally:
        os._exit(127)


def _plan_entered(init: Init, options: EnterOptions) -> Iterator[Operation]:
    process = init.spec["process"]
    root = Root("/")
    root.attach()
    yield DieWithParent(True)
    if init.has("user"):
        yield BecomeNamespaceRoot()
    yield NewSession()
    if options.send_console:
        size = process.get("consoleSize") or {}
        user = process.get("user") or {}
        rows = (size.get("height", 0), size.get("width", 0))
        yield OpenConsole(root, options.send_console, size=rows, owner=user.get("uid", 0), bind=False)
    yield FindHome(root, process)
    root.close()
    execution = init.execution(process)
    yield MakeTrampoline(execution)
    yield from plan_process(process, init)
    yield FindProgram(execution)
    yield DieWithParent(options.die_with_parent)
    init.report("setns_init: about to exec")
    yield from execution.plan()


def plan_entered_process(
    state: State, spec: Mapping[str, Any], args: Sequence[str], *, env: Mapping[str, str], cwd: str, user: str
) -> dict[str, Any]:
    """The container's own process with another command line, more environment, and perhaps another user."""
    process = {**spec["process"], "args": list(args), "terminal": False}
    variables = dict(item.partition("=")[::2] for item in process.get("env") or ())
    if user:
        found = resolve_user_in(state.pid, user)
        process["user"] = {"uid": found.uid, "gid": found.gid, "additionalGids": found.groups}
        variables["HOME"] = found.home
    variables.update(env)
    process["env"] = [f"{name}={value}" for name, value in variables.items()]
    process["cwd"] = cwd or process["cwd"]
    return process


def resolve_user_in(pid: int, text: str) -> User:
    """Who ``text`` is by the files of the container that process ``pid`` is in."""
    root = Root(f"/proc/{pid}/root")
    root.attach()
    try:
        return resolve_user(text, root)
    finally:
        root.close()


def run_on_terminal(
    state: State,
    spec: Mapping[str, Any],
    process: dict[str, Any],
    options: EnterOptions,
    entered: Callable[[int, int], None] | None = None,
) -> int:
    """Enter with a terminal, which is this process's own for as long as it takes. ``entered`` hears pid and pidfd."""
    from .console import ConsoleSender, receive_console, relay  # sockets and ttys, for those who want a terminal

    options.send_console, receiver = ConsoleSender.pair()
    if os.isatty(0):
        columns, lines = os.get_terminal_size(0)
        process["consoleSize"] = {"height": lines, "width": columns}
    pid, pidfd = enter_container(state, spec, process, options)
    if entered:
        entered(pid, pidfd)
    options.send_console.close()
    relay(receive_console(receiver), pidfd)
    return wait_exit(pid, pidfd)


def wait_exit(pid: int, pidfd: int) -> int:
    """Wait for a child and pass SIGINT and SIGTERM on to it meanwhile; its exit code as a shell counts."""

    def forward(number: int, _frame: object) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, number)

    handlers = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        select.select([pidfd], [], [])
        status = os.waitpid(pid, 0)[1]
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(pidfd)
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
