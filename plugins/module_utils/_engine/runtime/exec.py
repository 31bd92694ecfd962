# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Enter a running container: one more process in all its namespaces and its cgroup, with no more rights than its init.

While it is ours it is not seen from inside, as a trampoline bears it into the pid namespace (CVE-2019-5736); it has no
descriptor but its streams, and its working directory is checked (CVE-2024-21626). It dies with its caller unless it is
to be left alone.
"""

from __future__ import annotations

import os
import select
import sys

from ..errors import Conflict, KernelError, RuntimeFailed
from ..linux import inherited
from ..linux.lean import suppress
from ..linux.mount_setattr import has_mount_setattr
from ..linux.namespaces import CLONE_NEWCGROUP, CLONE_NEWUSER, CLONE_PARENT, NAMESPACES, clone3, setns
from ..linux.openat2 import Root
from ..linux.process import in_user_namespace, is_alive
from ..linux.seccomp_profile import SECCOMP_FILTER_FLAG_NEW_LISTENER as NEW_LISTENER
from ..linux.seccomp_profile import parse_flags
from ..linux.trampoline import Birth
from .channel import Channel
from .create import Membership, compile_seccomp
from .init import DieWithParent, Init, plan_process
from .seals import refuse_tracer
from .signals import Forwarding
from .steps.devices import OpenConsole
from .steps.execution import Execution, FindProgram, MakeTrampoline
from .steps.home import FindHome
from .steps.operations import Operation, execute_all
from .steps.process import BecomeNamespaceRoot, FreeAffinity, NewSession, RaiseRlimit, SealImports, write_file
from .users import User, resolve_user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any, NoReturn

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
        if state.status() == "created":
            refuse_tracer(state.id, state.pid, spec, process)
        init = Init({**spec, "process": process}, bundle=state.bundle, channel=theirs, fifo=-1)
        init.in_user_namespace |= in_user_namespace()
        if profile := init.linux.get("seccomp"):
            init.seccomp, init.seccomp_flags = compile_seccomp(profile), parse_flags(profile)
        init.preserve_fds = options.preserve_fds
        init.debug = options.debug is not None
        init.before = _plan_before(state, init)
        if not init.has_new("mount"):
            init.root.attach(os.open(f"/proc/{state.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        pid = _enter(state, init, ours, target, flags, options)
        return pid, os.pidfd_open(pid)
    except OSError as error:
        raise KernelError(f"entering container {state.id}", error) from error
    finally:
        os.close(target)
        with suppress(OSError):
            ours.close()


def _plan_before(state: State, init: Init) -> Sequence[Operation]:
    """What a process does before it is in the container's cgroup and namespaces."""
    if not has_mount_setattr():
        from ..linux import resolve  # what kernels without openat2(2) need: in there it could not be imported

        del resolve
    before: list[Operation] = [FreeAffinity()]
    affinity = init.spec["process"].get("execCPUAffinity")
    if affinity:
        from .steps.scheduling import plan_affinity  # rarely asked for

        before, after = plan_affinity(affinity)
        init.rare = [*after, *init.rare]
    if init.spec["process"].get("apparmorProfile"):
        from .steps.labels import SetAppArmorProfile  # imported already (plan_rare())

        # For the next program, whose process this becomes. Now, by the host's procfs: that of the container does not
        # know us before we are in its pid namespace, and root of a user namespace may not have another (EPERM).
        before += [operation for operation in init.rare if isinstance(operation, SetAppArmorProfile)]
        init.rare = [operation for operation in init.rare if operation not in before]
    if state.values.get("resctrl"):
        from .intel_rdt import EnterClasses  # few hosts have such a thing

        before.append(EnterClasses(state.values["resctrl"]))
    return before


def _differing_namespaces(pid: int) -> int:
    """The types of namespace in which ``pid`` is elsewhere than we are."""
    flags = 0
    for flag, name in NAMESPACES.values():
        with suppress(FileNotFoundError):
            if os.readlink(f"/proc/{pid}/ns/{name}") != os.readlink(f"/proc/self/ns/{name}"):
                flags |= flag
    return flags


def _enter(state: State, init: Init, ours: Channel, target: int, flags: int, options: EnterOptions) -> int:
    """By way of a child that joins cgroup and namespaces: a pid namespace counts for children alone.

    It becomes all that the process shall be and then the trampoline, which bears that. So whoever looks from inside
    never sees a process of ours, and there is nothing to be opened or traced (CVE-2019-5736 with CAP_SYS_PTRACE).
    """
    reader, writer = os.pipe()
    # With a listener, whose creator hands it over with the pid, it is Python that enters the pid namespace.
    birth = None if init.seccomp_flags & NEW_LISTENER else _plan_birth(options, init.spec["process"], writer)
    init.execution(birth).prepare()
    cgroup = options.membership.open_birthplace()
    try:
        helper, helper_fd = clone3(0, cgroup=cgroup)
        if helper == 0:
            os.close(ours.reader)
            os.close(ours.writer)
            _run_helper(init, target, flags, options, writer)
    finally:
        if cgroup >= 0:
            os.close(cgroup)
        os.close(writer)
    init.channel.close()
    pid, error = _accompany(state, init, ours, reader, options)
    os.close(reader)
    os.close(helper_fd)
    os.waitpid(helper, 0)
    if error or not pid:
        if pid:
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)
        raise RuntimeFailed(error or "the process that enters the container was killed")
    return pid


def _accompany(state: State, init: Init, channel: Channel, reader: int, options: EnterOptions) -> tuple[int, str]:
    """Hear what becomes of a process until its program runs: its pid (0: there is none), and what went wrong."""
    pid, error = 0, ""
    while True:
        message = channel.hear()
        if message is None or "error" in message:
            error = str(message["error"]) if message else ""
            return pid or int.from_bytes(os.read(reader, 4), sys.byteorder), error
        if "debug" in message and options.debug:
            options.debug(message["debug"])
        if message.get("stage") == "listener":
            from .listener import hand_over  # few profiles notify

            pid = int.from_bytes(os.read(reader, 4), sys.byteorder)
            seccomp = init.spec["linux"]["seccomp"]
            hand_over(seccomp, state.told(), pid=pid, number=message["fd"], release=channel.release)


def _run_helper(init: Init, target: int, flags: int, options: EnterOptions, writer: int) -> NoReturn:
    try:
        if options.membership.attach:
            options.membership.attach(os.getpid())
        join: list[Operation] = [JoinContainer(target, flags, options.membership.task_files)]
        if not init.has_new("mount"):
            from .shared_mounts import ChangeRoot  # next to nobody does without a mount namespace

            join.append(ChangeRoot(init.root))
        execute_all([*init.before, SealImports(), *join])
        for place, fd in enumerate(options.stdio):
            os.dup2(fd, place)
        sender = options.send_console
        kept = [0, 1, 2, init.channel.reader, init.channel.writer, writer, *([sender.fd] if sender else [])]
        inherited.close_others([*kept, *range(3, 3 + options.preserve_fds)])
        init.report("nsexec container setup: in the namespaces of the container")
        init.report("child process in init()")
        execute_all(_plan_entered(init, options, writer), init.report if init.debug else None)
    except Exception as error:
        with suppress(OSError):
            init.channel.tell({"error": str(error)})
    finally:
        os._exit(127)


def _plan_entered(init: Init, options: EnterOptions, announce: int) -> Iterator[Operation]:
    process = init.spec["process"]
    root = Root("/")
    root.attach()
    yield DieWithParent(True)
    if init.has("user"):
        yield BecomeNamespaceRoot()
    yield FindHome(root, process)
    execution = init.execution()
    yield MakeTrampoline(execution)
    if execution.trampoline < 0 or execution.birth is None:
        yield EnterPidNamespace(execution, announce)
    limits = process.get("rlimits") or ()
    if execution.birth and execution.birth.processes:
        limits = [limit for limit in limits if limit["type"] != "RLIMIT_NPROC"]
        yield RaiseRlimit("RLIMIT_NPROC", execution.birth.processes[1])
    yield NewSession()
    if options.send_console:
        size = process.get("consoleSize") or {}
        user = process.get("user") or {}
        rows = (size.get("height", 0), size.get("width", 0))
        control = execution.birth is None
        owner = user.get("uid", 0)
        yield OpenConsole(root, options.send_console, size=rows, owner=owner, bind=False, control=control)
    root.close()
    yield from plan_process({**process, "rlimits": limits}, init)
    yield FindProgram(execution)
    if process.get("noNewPrivileges") and not execution.filtered:
        yield from init.privileges(process).filter
    yield DieWithParent(options.die_with_parent)
    init.report("setns_init: about to exec")
    yield from execution.plan()


def _plan_birth(options: EnterOptions, process: Mapping[str, Any], announce: int) -> Birth:
    birth = Birth(announce)
    birth.die_with_parent = options.die_with_parent
    birth.terminal = options.send_console is not None
    for limit in process.get("rlimits") or ():
        if limit["type"] == "RLIMIT_NPROC":
            birth.processes = limit["soft"], limit["hard"]
    return birth


class JoinContainer(Operation):
    """The cgroups of v1 and all namespaces; that of pids is for children."""

    def __init__(self, target: int, flags: int, task_files: Sequence[str]) -> None:
        self.target = target
        self.flags = flags
        self.task_files = task_files

    def __str__(self) -> str:
        return "join the cgroup and the namespaces"

    def execute(self) -> None:
        inherited.set_dumpable(False)
        for path in self.task_files:
            write_file(path, "0")
        # The cgroup namespace comes after the cgroup: where it is mounted with nsdelegate, as systemd does, nobody
        # comes in from outside of the namespace that they are in (cgroups(7), ENOENT).
        setns(self.target, self.flags & ~CLONE_NEWCGROUP)
        if self.flags & CLONE_NEWCGROUP:
            setns(self.target, CLONE_NEWCGROUP)


class EnterPidNamespace(Operation):
    """Go on as a child, where no trampoline bears it."""

    def __init__(self, execution: Execution, announce: int) -> None:
        self.execution = execution
        self.announce = announce

    def __str__(self) -> str:
        return "enter the pid namespace"

    def execute(self) -> None:
        self.execution.birth = None
        pid = clone3(CLONE_PARENT)[0]
        if pid:
            os.write(self.announce, pid.to_bytes(4, sys.byteorder))
            os._exit(0)
        os.close(self.announce)


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
    with Forwarding(pidfd):
        relay(receive_console(receiver), pidfd)
        return wait_exit(pid, pidfd)


def wait_exit(pid: int, pidfd: int) -> int:
    """Wait for a child and pass signals on to it meanwhile; its exit code as a shell counts."""
    try:
        with Forwarding(pidfd):
            select.select([pidfd], [], [])
            status = os.waitpid(pid, 0)[1]
    finally:
        os.close(pidfd)
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
