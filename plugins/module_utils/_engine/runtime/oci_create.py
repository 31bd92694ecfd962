# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``create`` and ``run`` of the command line: a bundle and an id, with the cgroup made and removed on the way."""

from __future__ import annotations

import os
import sys

from ..cgroup.place import is_scope, place_container
from ..cgroup.resources import Resources
from ..errors import Conflict, InvalidOption, KernelError, RuntimeFailed, printable
from ..linux.files import read_whole, write_atomic
from ..linux.inherited import set_child_subreaper
from ..linux.process import in_user_namespace
from .config.validate import read_config
from .create import Created, CreateOptions, claim_container, fill_container
from .exec import wait_exit
from .membership import membership_of
from .seals import has_own_users, may_trace
from .signals import Forwarding, end_by_exception
from .state import SPEC_FILE, State, find_freezer, parse_id
from .steps.privileges import find_ungrantable

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any

    from ..cgroup.interface import Cgroups
    from ..cgroup.units import Property
    from .oci import Runtime


class Creation:
    """What the command line says about a new container."""

    def __init__(self) -> None:
        self.pid_file = ""
        self.console_socket = ""
        self.pidfd_socket = ""
        self.preserve_fds = 0
        self.no_pivot = False
        self.no_new_keyring = False
        self.detach = True
        self.keep = False
        self.subreaper = False


def create(runtime: Runtime, identity: str, bundle: str, creation: Creation) -> Created:
    """Create a container on this process's streams. Its cgroup goes again where that fails."""
    spec = read_bundle(runtime, identity, bundle)
    return _create(runtime, identity, bundle, spec, _options(spec, creation), creation)


def run(runtime: Runtime, identity: str, bundle: str, creation: Creation) -> int:
    """Create and start; unless detached, stay with it to its end, remove it and return its exit code."""
    spec = read_bundle(runtime, identity, bundle)
    if not spec["process"]["args"]:
        raise InvalidOption("process", None, "a process to be started; `create` takes a container without one")
    options = _options(spec, creation)
    if creation.detach:
        _create(runtime, identity, bundle, spec, options, creation)
        try:
            runtime.start(identity)
        except BaseException:
            runtime.delete(identity, force=True)
            raise
        return 0
    options.die_with_parent = True
    receiver: socket.socket | None = None
    if spec["process"].get("terminal"):
        from .console import ConsoleSender  # sockets and ttys, for those who want a terminal

        options.send_console, receiver = ConsoleSender.pair()
    if creation.subreaper:
        set_child_subreaper()
    created = _create(runtime, identity, bundle, spec, options, creation)
    try:
        with Forwarding(created.pidfd):
            runtime.start(identity, attached=True)
            return _accompany(created, options, receiver)
    finally:
        if not creation.keep:
            runtime.delete(identity, force=True)


def _accompany(created: Created, options: CreateOptions, receiver: socket.socket | None) -> int:
    """Be the container's terminal, if it has one, to its end; its exit code."""
    if options.send_console and receiver:
        from .console import receive_console, relay  # sockets and ttys, for those who want a terminal

        options.send_console.close()
        relay(receive_console(receiver), created.pidfd)
    code = wait_exit(created.pid, created.pidfd)
    message = created.channel.hear()
    if message and "error" in message:
        # The program, not the container, could not be started: as a shell tells it.
        sys.stderr.write(printable(message["error"]) + "\n")
    return code


def read_bundle(runtime: Runtime, identity: str, bundle: str) -> dict[str, Any]:
    """The configuration of a container that is about to be made; nothing is, yet."""
    end_by_exception()
    if os.path.exists(os.path.join(runtime.root, parse_id(identity))):
        raise Conflict(f"container with id {identity!r} already exists in {runtime.root}; delete it first")
    spec = read_config(bundle)
    linux = spec["linux"] = spec.get("linux") or {}
    if not spec.get("process"):
        # Required by start alone (config.md, Process): the container is there, and Execution refuses to go on.
        spec["process"] = {"args": [], "cwd": "/"}
    joins = any(entry["type"] == "pid" and entry.get("path") for entry in linux.get("namespaces") or ())
    if not runtime.private and (joins or (may_trace(spec["process"]) and not has_own_users(spec))):
        from ..linux.sealed import run_sealed  # others may look into the init of such a container while it is ours

        run_sealed()
    if os.geteuid() != 0:
        from .rootless import check_ordinary  # root's containers need not be asked

        check_ordinary(spec)
    if runtime.rootless:
        from .rootless_cgroup import STRAGGLERS, choose_cgroup, has_stragglers  # root's containers are where root says

        choose_cgroup(spec, identity, runtime.instance, systemd="systemd-cgroup" in runtime.given)
        if has_stragglers(spec):
            runtime.warn(STRAGGLERS)
        return spec
    systemd = "systemd-cgroup" in runtime.given
    linux["cgroupsPath"] = place_container(linux.get("cgroupsPath") or "", identity, runtime.instance, systemd=systemd)
    return spec


def _options(spec: dict[str, Any], creation: Creation) -> CreateOptions:
    """Checked: what stands in the way is told before anything is made."""
    terminal = bool(spec["process"].get("terminal"))
    check_terminal(terminal, creation.detach, creation.console_socket)
    options = CreateOptions()
    options.move_root = creation.no_pivot
    options.new_keyring = not creation.no_new_keyring
    options.leaves = creation.detach
    listening = count_listening()
    if listening:
        # sd_listen_fds(3): the container's program is process 1 of its pid namespace.
        spec["process"]["env"] = [*(spec["process"].get("env") or ()), f"LISTEN_FDS={listening}", "LISTEN_PID=1"]
    options.preserve_fds = listening + creation.preserve_fds
    check_descriptors(3 + listening, creation.preserve_fds)
    if creation.console_socket:
        from .console import ConsoleSender  # sockets and ttys, for those who want a terminal

        options.send_console = ConsoleSender.connect(creation.console_socket)
    return options


def _create(
    runtime: Runtime, identity: str, bundle: str, spec: dict[str, Any], options: CreateOptions, creation: Creation
) -> Created:
    if not os.environ.get("NOTIFY_SOCKET"):
        return _make(runtime, identity, bundle, spec, options, creation)
    from .notify import NotifySocket, remove_notify  # for containers that a unit of Type=notify runs

    NotifySocket(os.environ["NOTIFY_SOCKET"], runtime.root, identity).plan(spec)
    try:
        return _make(runtime, identity, bundle, spec, options, creation)
    except BaseException:
        remove_notify(runtime.root, identity)
        raise


def _make(
    runtime: Runtime, identity: str, bundle: str, spec: dict[str, Any], options: CreateOptions, creation: Creation
) -> Created:
    sender = connect_pidfd(creation.pidfd_socket)
    path, resources = spec["linux"]["cgroupsPath"], Resources(spec["linux"].get("resources") or {})
    options.rootless = runtime.rootless
    options.in_user_namespace = runtime.rootless and in_user_namespace()
    options.debug = runtime.debug
    for warning in find_ungrantable(spec["process"], user_namespace=has_own_users(spec)):
        runtime.warn(warning)
    # First of all, so that its cgroup is not that of another with this id, and is known should we be killed.
    state, cgroups = claim_container(runtime.root, identity, bundle, spec, options), None
    try:
        if path:
            cgroups = _prepare_cgroup(runtime, spec, resources)
            options.membership = membership_of(cgroups, path)
        created = fill_container(state, spec, options)
    except BaseException:
        try:
            if cgroups:
                cgroups.destroy(path)
        finally:
            state.remove()
        if options.last_state and (spec.get("hooks") or {}).get("poststop"):
            from .hooks import run_poststop  # most containers have none

            # Once the environment was there, what is undone is a container (runtime.md, Lifecycle, 3 to 5, 12, 13).
            run_poststop(spec, options.last_state, runtime.warn)
        raise
    try:
        if cgroups:
            cgroups.settle(path, resources)
        _keep_spec(created.state, bundle)
        if sender:
            sender(created.pidfd)
        if creation.pid_file:
            write_pid(creation.pid_file, created.pid)
    except BaseException:
        runtime.delete(identity, force=True)
        raise
    return created


def prepare_restored(
    runtime: Runtime, identity: str, bundle: str, spec: dict[str, Any]
) -> tuple[State, Cgroups | None, list[str]]:
    """The state and the cgroup of a container that criu shall fill, and the files that take its pid in."""
    path, resources = spec["linux"]["cgroupsPath"], Resources(spec["linux"].get("resources") or {})
    options = CreateOptions()
    state, cgroups = claim_container(runtime.root, identity, bundle, spec, options), None
    try:
        files: list[str] = []
        if path:
            cgroups = _prepare_cgroup(runtime, spec, resources)
            membership = membership_of(cgroups, path)
            state.values["freezer"] = find_freezer(membership)
            # A hybrid host has both.
            files = [*membership.task_files]
            files += [f"{membership.directory}/cgroup.procs"] if membership.directory else []
        _keep_spec(state, bundle)
    except BaseException:
        try:
            if cgroups:
                cgroups.destroy(path)
        finally:
            state.remove()
        raise
    return state, cgroups, files


def _prepare_cgroup(runtime: Runtime, spec: dict[str, Any], resources: Resources) -> Cgroups:
    path = spec["linux"]["cgroupsPath"]
    cgroups = runtime.cgroups(path)
    try:
        cgroups.prepare_resources(path, resources, _properties(spec, path))
    except KernelError as error:
        if not runtime.rootless:
            raise
        from .rootless_cgroup import explain_refused  # root's containers are where root says

        raise explain_refused(error, path) from error
    if cgroups.kind != "v1" and not runtime.rootless:
        from ..cgroup.v2.ownership import find_owner, give_cgroup  # hosts of v2

        owner = find_owner(spec)
        try:
            if owner:
                give_cgroup(cgroups.payload_directory(path), owner)
        except BaseException:
            cgroups.destroy(path)
            raise
    return cgroups


def _properties(spec: dict[str, Any], cgroups_path: str) -> list[Property]:
    """What annotations ask of systemd for a container's scope."""
    if not is_scope(cgroups_path):
        return []
    from ..cgroup.scope import parse_properties  # with --systemd-cgroup alone

    return parse_properties(spec.get("annotations") or {})


def _keep_spec(state: State, bundle: str) -> None:
    """What is changed in config.json from here on has no effect on the container (runtime-spec, Lifecycle, 2)."""
    content = read_whole(os.path.join(bundle, "config.json"))
    write_atomic(os.path.join(state.directory, SPEC_FILE), content, durable=False)


def check_terminal(terminal: bool, detach: bool, console_socket: str) -> None:
    """A terminal has somebody who serves it: the caller's socket, or us while we stay. Raises RuntimeFailed."""
    if terminal and detach and not console_socket:
        raise RuntimeFailed("--console-socket is needed: process.terminal is true, and nobody else would serve it")
    if console_socket and not (terminal and detach):
        raise RuntimeFailed("--console-socket is for a detached container with process.terminal alone")


def check_descriptors(first: int, count: int) -> None:
    """The descriptors that are to be passed on are open. Raises RuntimeFailed."""
    for fd in range(first, first + count):
        try:
            os.fstat(fd)
        except OSError as error:
            raise RuntimeFailed(f"--preserve-fds {count}: descriptor {fd} is not open") from error


def count_listening() -> int:
    """How many sockets a service manager passes on, from descriptor 3 (sd_listen_fds(3)). Nonsense is none."""
    count = os.environ.get("LISTEN_FDS", "") if os.environ.get("LISTEN_PID") == str(os.getpid()) else ""
    return int(count) if count.isascii() and count.isdigit() else 0


def connect_pidfd(path: str) -> Any:
    """What sends a pidfd to the socket that ``--pidfd-socket`` names; None where it names none."""
    if not path:
        return None
    from .console import DescriptorSender  # sockets, for the few who want this

    return DescriptorSender.connect(path, "--pidfd-socket")


def write_pid(path: str, pid: int) -> None:
    """A pid file, whole or not there. Raises RuntimeFailed."""
    try:
        write_atomic(os.path.abspath(path), str(pid).encode(), mode=0o644, durable=False)
    except OSError as error:
        raise RuntimeFailed(f"--pid-file {path}: {error.strerror}") from error
