# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the init of a container does between its birth and its program, as one list (runtime-spec, runtime.md)."""

from __future__ import annotations

import _signal as signal
import os
import select

from ..errors import EngineError
from ..linux import inherited
from ..linux.capabilities import observe_last_capability
from ..linux.openat2 import Root
from .channel import Channel, DivertFailures, TellCreator
from .hooks import HookFailed, RunHooks
from .steps.cgroup_mounts import MountCgroups
from .steps.covers import CloseCovers, Covers, MakeReadOnly, Mask
from .steps.devices import LimitDevices, OpenConsole, device_rules, plan_devices
from .steps.execution import Execution, FindProgram, MakeTrampoline
from .steps.home import FindHome, MakeWorkingDirectory
from .steps.loopback import LoopbackUp
from .steps.mount_options import needs_sources, parse_mount_options
from .steps.mounts import FinishReadOnly, MountFilesystem, destination_of
from .steps.operations import Operation, execute_all
from .steps.privileges import Privileges, ReceiveFilter
from .steps.process import (
    BecomeNamespaceRoot,
    ChangeDirectory,
    ChangeUser,
    FreeAffinity,
    JoinCgroup,
    NewSession,
    OwnNull,
    OwnStdio,
    SealImports,
    SetHostname,
    SetOomScore,
    SetRlimit,
    SetUmask,
    TryDirectory,
    limit_files,
    plan_sysctl,
)
from .steps.rootfs import BindRoot, MakeRootReadOnly, OpenRoot, Propagation, SetPropagation, plan_change

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any, NoReturn

    from ..linux.trampoline import Birth
    from .console import ConsoleSender
    from .steps.mount_options import MountOptions
    from .steps.sources import Sources


class Init:
    """All that the init needs to know; decided by its creator before it is born."""

    def __init__(self, spec: Mapping[str, Any], *, bundle: str, channel: Channel, fifo: int) -> None:
        self.spec = spec
        self.bundle = bundle
        self.channel = channel
        self.fifo = fifo
        self.root = Root(os.path.join(bundle, spec["root"]["path"]))
        self.state: Mapping[str, Any] = {}
        self.task_files: Sequence[str] = ()
        self.cgroup_directory = ""
        self.is_attached = False
        self.limits_devices = True
        self.seccomp = b""
        self.seccomp_flags = 0
        self.filter_follows = False
        self.last_capability = observe_last_capability()
        self.rare = plan_rare(spec["process"], self.linux)
        self.before: Sequence[Operation] = (FreeAffinity(),)
        self.stdio: Sequence[int] = ()
        self.send_console: ConsoleSender | None = None
        self.preserve_fds = 0
        self.move_root = False
        self.die_with_parent = False
        self.new_keyring = True
        self.creator_leaves = False
        self.in_user_namespace = self.has("user")  # or its creator is in one
        self.debug = False
        self.sources: Sources | None = None
        self._execution: Execution | None = None

    def report(self, step: str) -> None:
        """Tell the creator of a step, while somebody wants to read that."""
        if self.debug:
            self.channel.tell({"debug": step})

    @property
    def linux(self) -> Mapping[str, Any]:
        return self.spec.get("linux") or {}

    def has_new(self, namespace: str) -> bool:
        """Whether the container has a namespace of that type of its own."""
        return any(n["type"] == namespace and not n.get("path") for n in self.linux.get("namespaces") or ())

    def has(self, namespace: str) -> bool:
        return any(n["type"] == namespace for n in self.linux.get("namespaces") or ())

    def privileges(self, process: Mapping[str, Any]) -> Privileges:
        return Privileges(
            process,
            self.channel,
            seccomp=self.seccomp,
            seccomp_flags=self.seccomp_flags,
            last_capability=self.last_capability,
        )

    def execution(self, birth: Birth | None = None) -> Execution:
        """How its process becomes its program. Asked for before the init is born, by whoever prepares that."""
        if self._execution is None:
            self._execution = Execution(self, birth)
        return self._execution


def run_init(init: Init) -> NoReturn:
    """Be the init: never returns."""
    try:
        inherited.set_parent_death_signal(signal.SIGKILL)
        _take_descriptors(init)
        init.report("child process in init()")
        execute_all(plan_init(init), init.report if init.debug else None)
    except EngineError as error:
        _tell_failure(init, str(error), hook=isinstance(error, HookFailed))
    except Exception as error:
        _tell_failure(init, f"{type(error).__name__}: {error}")
    finally:
        os._exit(127)


def _tell_failure(init: Init, why: str, *, hook: bool = False) -> None:
    try:
        init.channel.tell({"error": why, "hook": hook})
    except OSError:
        os.write(2, f"{why}\n".encode())


def _take_descriptors(init: Init) -> None:
    """Put the standard streams in place and close all else that was inherited, but what was asked for."""
    for target, fd in enumerate(init.stdio):
        os.dup2(fd, target)
    kept = [0, 1, 2, init.channel.reader, init.channel.writer, init.fifo]
    kept += [init.send_console.fd] if init.send_console else []
    kept += init.sources.descriptors() if init.sources else []
    inherited.close_others([*kept, *range(3, 3 + init.preserve_fds)])


def plan_init(init: Init) -> Iterator[Operation]:
    """The operations, in order."""
    spec, process = init.spec, init.spec["process"]
    if init.is_attached:
        yield TellCreator(init.channel, "cgroup")
    # This first, because root of a user namespace is nobody to the files of v1.
    yield JoinCgroup(init.task_files, namespace=init.has_new("cgroup"))
    yield from init.before
    if init.has("user"):
        # The creator writes the maps and the score for the OOM killer, for which a user namespace's root has no say.
        yield TellCreator(init.channel, "born")
        yield OpenRoot(init.root)
        yield BecomeNamespaceRoot()
    elif process.get("oomScoreAdj") is not None:
        yield SetOomScore(process["oomScoreAdj"], user_namespace=init.in_user_namespace)
    yield NewSession(new_keyring=init.new_keyring)
    if spec.get("hostname") or spec.get("domainname"):
        yield SetHostname(spec.get("hostname") or "", spec.get("domainname") or "")
    if init.has_new("network"):
        yield LoopbackUp()
    if init.linux.get("netDevices"):
        yield TellCreator(init.channel, "devices")
    for name, value in (init.linux.get("sysctl") or {}).items():
        yield plan_sysctl(name, value)
    yield from plan_rootfs(init)
    if init.filter_follows:
        yield ReceiveFilter(init.channel, init)
    execution = init.execution()
    yield MakeTrampoline(execution)
    yield from plan_process(process, init, waits=True)
    yield FindProgram(execution)
    if process.get("noNewPrivileges") and not execution.filtered:
        yield from init.privileges(process).filter  # now, because the creator is to hand its listener over
    init.report("init: closing the pipe to signal completion")
    init.debug = False
    # Before the creator hears of it, which may end at once then. One that ends without a word ends us: the pipe tells.
    yield DieWithParent(init.die_with_parent)
    if not init.in_user_namespace:  # whose root may not write to the host's files anyway, and whose creator looks in
        yield Hide()
    yield TellCreator(init.channel, "ready")
    if init.creator_leaves:
        yield DivertFailures(init.channel, init.fifo)
    yield WaitForStart(init.fifo)
    yield from limit_files(process)
    if (spec.get("hooks") or {}).get("startContainer"):
        yield RunHooks(spec, "startContainer", init.state, env=execution.variables())
    yield from execution.plan()


def plan_outside(init: Init) -> Iterator[Operation]:
    """What the creator does before the init is born, because root of a user namespace may not."""
    if init.limits_devices:
        yield LimitDevices(init.task_files, init.cgroup_directory, device_rules(init.linux))
    if needs_sources(init.spec) and os.geteuid() == 0:  # an ordinary user is no less in its namespace than here
        from .steps.sources import OpenSources, Sources  # few containers need it

        init.sources = Sources()
        yield OpenSources(init.sources, init.spec, init.bundle)


def plan_rootfs(init: Init) -> Iterator[Operation]:
    """The mount namespace, from the host's view of it to the container's."""
    spec, linux, root = init.spec, init.linux, init.root
    process = spec["process"]
    propagation = Propagation(linux.get("rootfsPropagation") or "")
    if init.has_new("mount"):
        yield SetPropagation(propagation)
    yield BindRoot(root, propagation)
    own_dev = True
    read_only_later = []
    for index, entry in enumerate(spec.get("mounts") or ()):
        options = parse_mount_options(entry.get("options") or (), entry.get("type") or "")
        operation = _plan_mount(init, index, entry, options)
        own_dev = own_dev and not (operation.destination == "/dev" and options.bind)
        if isinstance(operation, MountFilesystem) and operation.read_only_later:
            read_only_later.append(operation)
        yield operation
    if own_dev:
        yield from plan_devices(root, linux)
    hooks = spec.get("hooks") or {}
    if hooks.get("prestart") or hooks.get("createRuntime"):
        yield TellCreator(init.channel, "namespaces")
    if hooks.get("createContainer"):
        yield RunHooks(spec, "createContainer", init.state, root=root)
    if process.get("terminal") and init.send_console:
        size = process.get("consoleSize") or {}
        owner = (process.get("user") or {}).get("uid", 0)
        size = (size.get("height", 0), size.get("width", 0))
        yield OpenConsole(root, init.send_console, size=size, owner=owner)
    yield FindHome(root, process)
    yield MakeWorkingDirectory(root, process)
    for path in linux.get("readonlyPaths") or ():
        yield MakeReadOnly(root, path)
    covers = Covers()
    for path in dict.fromkeys(map(os.path.normpath, linux.get("maskedPaths") or ())):
        yield Mask(root, path, covers)
    yield CloseCovers(covers)
    for mounted in read_only_later:
        yield FinishReadOnly(mounted)
    if spec["root"].get("readonly"):
        yield MakeRootReadOnly(root)
    change = plan_change(root, propagation, own=init.has_new("mount"), move=init.move_root)
    yield SealImports()
    yield change


def _plan_mount(
    init: Init, index: int, entry: Mapping[str, Any], options: MountOptions
) -> MountFilesystem | MountCgroups:
    destination = destination_of(entry, init.root.path)
    fstype = entry.get("type") or ""
    if fstype in ("cgroup", "cgroup2") and not options.bind:
        return MountCgroups(init.root, destination, fstype, options, namespaced=init.has("cgroup"))
    source = entry.get("source") or ""
    if options.bind:
        source = os.path.join(init.bundle, source)
    elif init.linux.get("mountLabel"):
        from .steps.labels import label_parameters  # few hosts have SELinux

        options.parameters = label_parameters(fstype, options.parameters, init.linux["mountLabel"])
    if init.in_user_namespace and not options.bind:
        from .steps.substitutes import plan_mount  # imported already where there is one

        return plan_mount(init, source, destination, fstype, options)
    operation = MountFilesystem(init.root, source, destination, fstype, options)
    if init.sources:
        operation.tree = init.sources.trees.get(index, -1)
        operation.mapped = index in init.sources.mapped
        operation.id_map = -1 if operation.mapped else init.sources.id_maps.get(index, -1)
        if index in init.sources.later:
            from .steps.late_sources import fetch_source  # imported already where it is asked for

            operation.fetch = lambda: fetch_source(init.channel, index, init.root.fd)
    return operation


def plan_rare(process: Mapping[str, Any], linux: Mapping[str, Any]) -> Sequence[Operation]:
    """What most processes do without, so that they need not load it.

    Planned by whoever makes the process: from inside the container nothing is imported any more.
    """
    operations: list[Operation] = []
    if any(process.get(name) for name in ("scheduler", "ioPriority")) or any(
        linux.get(name) for name in ("memoryPolicy", "personality")
    ):
        from .steps.scheduling import plan_scheduling  # see above

        operations += plan_scheduling(process, linux)
    if process.get("apparmorProfile") or process.get("selinuxLabel"):
        from .steps.labels import plan_labels  # see above

        operations += plan_labels(process)
    return operations


def plan_process(process: Mapping[str, Any], init: Init, *, waits: bool = False) -> Iterator[Operation]:
    """What the process is: limits, user, privileges, directory. Used by exec; and an init ``waits`` after it."""
    user = process.get("user") or {"uid": 0, "gid": 0}
    # An init that waits has seven open files, some more on the way, and those that it passes on.
    least = 64 + init.preserve_fds if waits else 0
    for limit in process.get("rlimits") or ():
        yield SetRlimit(limit["type"], limit["soft"], limit["hard"], least=least)
    yield from init.rare
    if not process.get("terminal"):
        yield OwnNull()
        yield OwnStdio(user["uid"])
    privileges = init.privileges(process)
    directory = TryDirectory(process["cwd"])
    yield directory
    if not process.get("noNewPrivileges"):
        # Without no_new_privs only CAP_SYS_ADMIN may load a filter, so it comes before that is given up.
        yield from privileges.filter
    yield from privileges.before_user
    groups = user.get("additionalGids") or ()
    yield ChangeUser(user["uid"], user.get("gid") or 0, groups, user_namespace=init.in_user_namespace)
    yield from privileges.after_user
    yield DieWithParent(True)
    if user.get("umask") is not None:
        yield SetUmask(user["umask"])
    yield ChangeDirectory(directory)


class DieWithParent(Operation):
    """Whether the end of the parent ends this process. A change of user undoes it, so it is said again after that."""

    def __init__(self, die: bool) -> None:
        self.die = die

    def __str__(self) -> str:
        return "tie this process's life to its parent's" if self.die else "let this process outlive its parent"

    def execute(self) -> None:
        inherited.set_parent_death_signal(signal.SIGKILL if self.die else 0)


class Hide(Operation):
    """Keep whoever enters the container before it is started, and its startContainer hooks, from opening what this
    process is run from (/proc/1/exe): that is the host's Python still (CVE-2019-5736). See ptrace(2), access mode
    checking: it does not hold with CAP_SYS_PTRACE (seals.py)."""

    def __str__(self) -> str:
        return "keep others from looking into this process"

    def execute(self) -> None:
        inherited.set_dumpable(False)


class WaitForStart(Operation):
    """Wait until somebody writes to exec.fifo, which this process has had open since before it lost sight of it. It has
    it open for writing too, so that nobody who opens and closes it without a word is taken for one who starts it."""

    def __init__(self, fifo: int) -> None:
        self.fifo = fifo

    def __str__(self) -> str:
        return "wait to be started"

    def execute(self) -> None:
        # Process 1 of a pid namespace gets no signal that it has no handler for (pid_namespaces(7)), and a created
        # container is to be stopped as one that runs. The program gets the defaults back: execve(2) sees to that.
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
            signal.signal(number, lambda number, _frame: os._exit(128 + number))
        poll = select.poll()
        poll.register(self.fifo, select.POLLIN)
        poll.poll()
        os.read(self.fifo, 1)
