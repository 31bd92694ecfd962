# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Create a container: the init is born in its namespaces, sets itself up and waits on exec.fifo (OCI ``create``).

Whatever fails, what was made so far is undone: namespaces and mounts end with the init, which is killed; the state
directory is removed. The cgroup is the caller's to make before and to remove after.
"""

from __future__ import annotations

import _signal as signal
import os
import select
import time

from ..errors import InvalidOption, KernelError, RuntimeFailed
from ..linux.inherited import set_dumpable
from ..linux.lean import suppress
from ..linux.namespaces import CLONE_NEWCGROUP, CLONE_NEWTIME, CLONE_PARENT, NAMESPACES, clone3
from ..linux.process import send_signal, start_time, wait_gone
from ..linux.seccomp import compile_filter
from ..linux.seccomp_profile import FLAGS, check_profile, parse_flags
from .channel import Channel
from .hooks import run_hooks
from .init import Init, plan_outside, run_init
from .state import State, create_state, find_freezer
from .steps.operations import execute_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from .console import ConsoleSender
    from .steps.net_devices import Moves


_KILL_TIMEOUT = 10.0

# The last seccomp profile, which the next container is likely to have too, and the filter that it came to.
_compiled: list[tuple[Mapping[str, Any], bytes]] = []


class Membership:
    """How an init joins its cgroup: files of v1 that it writes to, or a directory of v2 that it is born in.

    Where there is ``attach``, that is called with its pid instead of the birth.
    """

    def __init__(
        self, task_files: Sequence[str] = (), directory: str = "", attach: Callable[[int], None] | None = None
    ) -> None:
        self.task_files = task_files
        self.directory = directory
        self.attach = attach

    def open_birthplace(self) -> int:
        """A descriptor of the directory to be born in; -1 for none."""
        if not self.directory or self.attach:
            return -1
        return os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


class CreateOptions:
    """What create takes beside the bundle. ``as_sibling``: the init becomes a child of the caller's parent.
    ``seccomp``: the filter of the spec, where it has been compiled already. ``rootless``: we may not limit devices,
    and need not. ``tell_birth`` is called with the pid of the init as soon as its namespaces are there.
    ``leaves``: the caller does not stay until the program runs. ``last_state`` is told where an init was born."""

    def __init__(self) -> None:
        self.stdio: Sequence[int] = ()
        self.send_console: ConsoleSender | None = None
        self.preserve_fds = 0
        self.move_root = False
        self.die_with_parent = False
        self.as_sibling = False
        self.rootless = False
        self.in_user_namespace = False
        self.membership = Membership()
        self.channels: tuple[Channel, Channel] | None = None
        self.seccomp = b""
        self.leaves = False
        self.last_state: Mapping[str, Any] = {}
        self.new_keyring = True
        self.debug: Callable[[str], None] | None = None
        self.tell_birth: Callable[[int], None] | None = None
        self.creator = (os.getpid(), start_time(os.getpid()))


class Created:
    """An init that waits to be started. ``channel`` ends when its program runs, or tells why that failed."""

    def __init__(self, state: State, pidfd: int, channel: Channel) -> None:
        self.state = state
        self.pidfd = pidfd
        self.channel = channel

    @property
    def pid(self) -> int:
        return self.state.pid


def create_container(root: str, identity: str, bundle: str, spec: Mapping[str, Any], options: CreateOptions) -> Created:
    """Create ``identity`` out of a valid ``spec``. Raises EngineError after undoing what was done."""
    state = claim_container(root, identity, bundle, spec, options)
    try:
        return fill_container(state, spec, options)
    except BaseException:
        state.remove()
        raise


def claim_container(root: str, identity: str, bundle: str, spec: Mapping[str, Any], options: CreateOptions) -> State:
    """Take the id, and write down what is going to be made by it. Raises Conflict where somebody has it."""
    bundle = os.path.abspath(bundle)
    rootfs = os.path.join(bundle, spec["root"]["path"])
    if not os.path.isdir(rootfs):
        raise InvalidOption("root.path", spec["root"]["path"], f"a directory ({rootfs} is none)")
    profile = (spec.get("linux") or {}).get("seccomp")
    if profile and not options.seccomp and not _is_compiled(profile):
        check_profile(profile)
    return create_state(root, identity, describe_container(bundle, rootfs, spec, options))


def fill_container(state: State, spec: Mapping[str, Any], options: CreateOptions) -> Created:
    """Make the container whose id is claimed. Where that fails, the claim is what is left."""
    state.values["freezer"] = find_freezer(options.membership)
    try:
        return _create(state, spec, options)
    except OSError as error:
        raise KernelError(f"creating container {state.id}", error) from error


def describe_container(bundle: str, rootfs: str, spec: Mapping[str, Any], options: CreateOptions) -> dict[str, Any]:
    """What state.json says of a container that has no init yet."""
    return {
        "pid": 0,
        "started": 0,
        "bundle": bundle,
        "rootfs": rootfs,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cgroupsPath": (spec.get("linux") or {}).get("cgroupsPath") or "",
        "annotations": spec.get("annotations") or {},
        "hooks": any((spec.get("hooks") or {}).values()),
        "freezer": "",
        "creator": list(options.creator),
    }


def compile_seccomp(profile: Mapping[str, Any]) -> bytes:
    """The filter of a profile. The last one is kept for the next container."""
    if not _is_compiled(profile):
        _compiled[:] = [(profile, compile_filter(profile))]
    return _compiled[0][1]


def _is_compiled(profile: Mapping[str, Any]) -> bool:
    return bool(_compiled) and _compiled[0][0] == profile


def _create(state: State, spec: Mapping[str, Any], options: CreateOptions) -> Created:
    os.mkfifo(state.fifo, 0o600)
    fifo = os.open(state.fifo, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    ours, theirs = options.channels or Channel.pair()
    pid, init = 0, None
    try:
        init = Init(spec, bundle=state.bundle, channel=theirs, fifo=fifo)
        init.in_user_namespace |= options.in_user_namespace
        if init.in_user_namespace or not init.has_new("mount"):
            from .elsewhere import prepare_elsewhere  # most containers stay where our files are

            prepare_elsewhere(init, state)
        _fill(init, state, options)
        init.execution().prepare()
        init.limits_devices = not options.rootless
        execute_all(plan_outside(init))
        if init.linux.get("intelRdt") is not None:
            _prepare_classes(state, init)
        if state.values.keys() & {"shared_mounts", "resctrl"}:
            state.save()  # of what outlives the init whoever deletes the container has to know, should we be killed
        pid, pidfd = _bear(init, ours, options)
        if init.sources:
            init.sources.close()
        theirs.close()
        if options.debug:
            options.debug(f"nsexec container setup: the init is process {pid}, in its namespaces")
        state.values["pid"], state.values["started"] = pid, start_time(pid)
        options.last_state = state.told("stopped")
        if options.tell_birth:
            options.tell_birth(pid)
        # While the init is busy with its root.
        program = compile_seccomp(init.linux["seccomp"]) if init.filter_follows else b""
        _accompany(state, spec, ours, program, options)
        return Created(state, pidfd, ours)
    except BaseException:
        if pid:
            _end_init(pid, state.values["started"])
        raise
    finally:
        os.close(fifo)


def _fill(init: Init, state: State, options: CreateOptions) -> None:
    """Tell the init what was asked for."""
    init.seccomp = options.seccomp
    if profile := init.linux.get("seccomp"):
        init.seccomp_flags = parse_flags(profile)
        if options.debug:
            options.debug(f"seccomp filter flags: {init.seccomp_flags & ~FLAGS['SECCOMP_FILTER_FLAG_TSYNC']}")
        if not init.seccomp and _is_compiled(profile):
            init.seccomp = compile_seccomp(profile)
        init.filter_follows = not init.seccomp
    init.state = state.told("creating")
    init.task_files, init.cgroup_directory = options.membership.task_files, options.membership.directory
    init.is_attached = options.membership.attach is not None
    init.stdio = options.stdio
    init.send_console = options.send_console
    init.preserve_fds = options.preserve_fds
    init.move_root = options.move_root
    init.die_with_parent = options.die_with_parent
    init.new_keyring = options.new_keyring
    init.debug = options.debug is not None
    init.creator_leaves = options.leaves


def _end_init(pid: int, started: int) -> None:
    """Kill an init that is of no use, and all that is in its namespaces with it."""
    send_signal(pid, started, signal.SIGKILL)
    wait_gone(pid, started, _KILL_TIMEOUT)
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)


def _prepare_classes(state: State, init: Init) -> None:
    """The class of service of the container's caches; the state has to know what there is to be removed."""
    from .intel_rdt import EnterClasses, check_intel_rdt  # few hosts have such a thing

    classes = check_intel_rdt(init.linux["intelRdt"], state.id)
    classes.prepare()
    state.values["resctrl"] = classes.record
    init.before = [*init.before, EnterClasses(classes.record)]


def _bear(init: Init, ours: Channel, options: CreateOptions) -> tuple[int, int]:
    """Clone the init into new namespaces, by way of a process that joins those that are given by their path."""
    flags, joined = CLONE_PARENT if options.as_sibling else 0, 0
    paths = []
    for entry in init.linux.get("namespaces") or ():
        flag = NAMESPACES[entry["type"]][0]
        if entry.get("path"):
            joined |= flag
            paths.append((flag, entry["path"]))
        elif flag != CLONE_NEWCGROUP:  # unshared by the init, once it is in its cgroup
            flags |= flag
    if joined and options.as_sibling:
        from .joining import join_namespaces  # few containers join any

        # Whoever wants a sibling is there for it alone; of a helper their common parent would know nothing.
        set_dumpable(False)
        join_namespaces(paths)
        joined = 0
    cgroup = options.membership.open_birthplace()
    try:
        if not joined and not flags & CLONE_NEWTIME:
            pid, pidfd = clone3(flags, cgroup=cgroup)
            if pid == 0:
                os.close(ours.reader)
                os.close(ours.writer)
                run_init(init)
            return pid, pidfd
        return _bear_in_joined(init, ours, flags, paths, cgroup)
    finally:
        if cgroup >= 0:
            os.close(cgroup)


def _bear_in_joined(
    init: Init, ours: Channel, flags: int, paths: list[tuple[int, str]], cgroup: int
) -> tuple[int, int]:
    from ..linux.timens import unshare_time  # most containers join nothing, and have the clocks of the host
    from .joining import join_namespaces, own_user_namespace  # few containers join any
    from .steps.time_offsets import parse_time_offsets  # the same

    reader, writer = os.pipe()
    # clone(CLONE_PARENT) so that the helper, too, has the parent that the init shall have.
    helper, helper_fd = clone3(flags & CLONE_PARENT)
    if helper == 0:
        status = 1
        try:
            if not init.in_user_namespace:  # there its creator could not write its maps; a change of user does the same
                set_dumpable(False)
            join_namespaces(paths)
            if flags & CLONE_NEWTIME:
                flags &= ~own_user_namespace(flags)
                unshare_time(parse_time_offsets(init.linux))
                flags &= ~CLONE_NEWTIME
            pid = clone3(flags | CLONE_PARENT, cgroup=cgroup)[0]
            if pid == 0:
                os.close(ours.reader)
                os.close(ours.writer)
                run_init(init)
            os.write(writer, str(pid).encode())
            status = 0
        except OSError as error:
            os.write(writer, f"joining a namespace or cloning into new ones: {error}".encode())
        finally:
            os._exit(status)
    os.close(writer)
    told = os.read(reader, 4096).decode()
    os.close(reader)
    select.select([helper_fd], [], [])
    os.close(helper_fd)
    with suppress(ChildProcessError):  # a sibling is for our parent to wait for
        os.waitpid(helper, 0)
    if not told.isdigit():
        raise RuntimeFailed(told or "the process that joins the namespaces was killed")
    return int(told), os.pidfd_open(int(told))


def _accompany(state: State, spec: Mapping[str, Any], channel: Channel, program: bytes, options: CreateOptions) -> None:
    """Do for the init what it asks for, until it is ready and known to the state file."""
    moved: list[Moves] = []
    try:
        _attend(state, spec, channel, program, options, moved)
    except BaseException:
        for moves in moved:
            moves.undo()
        raise
    finally:
        for moves in moved:
            os.close(moves.netns)


def _attend(
    state: State,
    spec: Mapping[str, Any],
    channel: Channel,
    program: bytes,
    options: CreateOptions,
    moved: list[Moves],
) -> None:
    pid, debug, attach = state.pid, options.debug, options.membership.attach
    while True:
        message = channel.hear()
        if message is None:
            raise RuntimeFailed(f"container {state.id}: its init was killed while it was being set up")
        if "error" in message:
            raise RuntimeFailed(f"container {state.id}: {message['error']}")
        if "debug" in message:
            if debug:
                debug(message["debug"])
            continue
        if message["stage"] == "cgroup" and attach:
            attach(pid)
        elif message["stage"] == "born":
            from .mappings import attend_birth  # imported already where there is a user namespace

            attend_birth(spec, pid)
        elif message["stage"] in ("devices", "source"):
            moved += _give(state, spec, message)
        elif message["stage"] == "listener":
            _hand_listener_over(state, spec, message["fd"], channel)
            continue
        elif message["stage"] == "filter":
            channel.send(program)
            continue
        elif message["stage"] == "namespaces":
            # "After step 2 in the lifecycle" (runtime.md, State), which these are steps 3 and 4 of.
            told = state.told("created", pid)
            run_hooks(spec, "prestart", told)
            run_hooks(spec, "createRuntime", told)
        else:
            state.save()
            channel.release()
            return
        channel.release()


def _hand_listener_over(state: State, spec: Mapping[str, Any], number: int, channel: Channel) -> None:
    from .listener import hand_over  # few profiles notify

    told = state.told("creating", state.pid)
    hand_over(spec["linux"]["seccomp"], told, pid=state.pid, number=number, release=channel.release)


def _give(state: State, spec: Mapping[str, Any], asked: Mapping[str, Any]) -> Sequence[Moves]:
    """What of the host's only we can give to the init: network devices, or the source of a mount."""
    if asked["stage"] == "devices":
        from .steps.net_devices import move_into  # few containers take devices of the host

        return [move_into(state.pid, spec["linux"]["netDevices"])]
    from .steps.late_sources import send_source  # imported already where there are such mounts

    send_source(state, spec, asked)
    return ()
