# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The OCI operations as the command line has them: a bundle and an id, with the cgroup made and removed on the way."""

from __future__ import annotations

import os

from ..cgroup.manager import open_cgroups
from ..errors import Conflict, EngineError, KernelError, RuntimeFailed, Unsupported
from ..linux.files import write_atomic
from .console import ConsoleSender, receive_console, relay
from .create import Created, CreateOptions, create_container
from .exec import EnterOptions, enter_container, read_spec, run_on_terminal, wait_exit
from .hooks import run_hooks
from .lifecycle import delete_state, kill_state, start_state
from .membership import find_membership, membership_of
from .resources import parse_resources
from .state import State, load_state, parse_id
from .validate import read_config, validate_process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ..cgroup.interface import Cgroups


class Runtime:
    """``root`` holds the states (runc's --root); ``instance`` names our part of the cgroup tree; ``rootless``: we are
    not the machine's root, who may make any cgroup."""

    def __init__(self, root: str, instance: str, *, rootless: bool = False) -> None:
        self.root = root
        self.instance = instance
        self.rootless = rootless

    def cgroups(self) -> Cgroups:
        return open_cgroups(self.instance)

    def state(self, identity: str) -> State:
        return load_state(self.root, identity)

    def create(
        self,
        identity: str,
        bundle: str,
        *,
        pid_file: str = "",
        console_socket: str = "",
        no_pivot: bool = False,
        preserve_fds: int = 0,
    ) -> Created:
        """Create a container out of a bundle, on this process's streams. The cgroup goes again where that fails."""
        spec = self._read(identity, bundle)
        options = CreateOptions()
        options.move_root = no_pivot
        options.preserve_fds = preserve_fds
        terminal = bool(spec["process"].get("terminal"))
        if terminal != bool(console_socket):
            what = "is needed, because process.terminal is true" if terminal else "is for process.terminal alone"
            raise RuntimeFailed(f"--console-socket {what}")
        if console_socket:
            options.send_console = ConsoleSender.connect(console_socket)
        return self._create(identity, bundle, spec, options, pid_file)

    def run(
        self, identity: str, bundle: str, *, pid_file: str, console_socket: str, detach: bool, **options: Any
    ) -> int:
        """Create and start; unless detached, stay with it to its end, remove it and return its exit code."""
        if detach:
            self.create(identity, bundle, pid_file=pid_file, console_socket=console_socket, **options)
            self.start(identity)
            return 0
        spec = self._read(identity, bundle)
        settings = CreateOptions()
        settings.die_with_parent = True
        settings.move_root = options.get("no_pivot", False)
        settings.preserve_fds = options.get("preserve_fds", 0)
        receiver = None
        if spec["process"].get("terminal"):
            settings.send_console, receiver = ConsoleSender.pair()
        created = self._create(identity, bundle, spec, settings, pid_file)
        try:
            self.start(identity)
            if settings.send_console and receiver:
                settings.send_console.close()
                relay(receive_console(receiver), created.pidfd)
            code = wait_exit(created.pid, created.pidfd)
            message = created.channel.hear()
            if message and "error" in message:
                raise RuntimeFailed(message["error"])
            return code
        finally:
            self.delete(identity, force=True)

    def start(self, identity: str) -> None:
        """Start a created container, then run its poststart hooks; where one fails, so does the start (spec 1.3)."""
        state = self.state(identity)
        start_state(state)
        try:
            run_hooks(read_spec(state), "poststart", state.told())
        except RuntimeFailed:
            self.delete(identity, force=True)
            raise

    def kill(self, identity: str, number: int, *, everyone: bool) -> None:
        """Send a signal to the init, or to every process in the container's cgroup."""
        state = self.state(identity)
        if not everyone:
            kill_state(state, number)
            return
        for pid in self.processes(identity):
            os.kill(pid, number)

    def delete(self, identity: str, *, force: bool) -> None:
        """Remove a container; with ``force`` kill it first, and say nothing where there is none."""
        try:
            state = self.state(identity)
        except EngineError:
            if force and not os.path.exists(os.path.join(self.root, parse_id(identity))):
                return
            raise
        delete_state(state, self.cgroups() if state.cgroups_path else None, force=force)

    def freeze(self, identity: str, frozen: bool) -> None:
        """Pause or resume a container."""
        state = self.state(identity)
        if state.status() != "running" or not state.cgroups_path:
            raise Conflict(f"container {identity!r} is not running in a cgroup of its own")
        self.cgroups().freeze(state.cgroups_path, frozen)

    def processes(self, identity: str) -> list[int]:
        """The pids in a container."""
        state = self.state(identity)
        if state.cgroups_path:
            return self.cgroups().processes(state.cgroups_path)
        from .rootless import list_namespace  # root's containers always have a cgroup

        return list_namespace(state.pid)

    def enter(
        self,
        identity: str,
        process: dict[str, Any],
        *,
        pid_file: str,
        console_socket: str,
        detach: bool,
        preserve_fds: int = 0,
    ) -> int:
        """Start one more process; unless detached, wait for it and return its exit code."""
        state = self.state(identity)
        spec = read_spec(state)
        validate_process(process)
        options = EnterOptions()
        options.membership = find_membership(state.cgroups_path, self.instance)
        options.die_with_parent = not detach
        options.preserve_fds = preserve_fds
        if process.get("terminal") and not console_socket:
            if detach:
                raise RuntimeFailed("exec: --detach with a terminal needs --console-socket")
            return run_on_terminal(state, spec, process, options)
        if console_socket:
            options.send_console = ConsoleSender.connect(console_socket)
        pid, pidfd = enter_container(state, spec, process, options)
        if pid_file:
            write_pid(pid_file, pid)
        return 0 if detach else wait_exit(pid, pidfd)

    def _read(self, identity: str, bundle: str) -> dict[str, Any]:
        if os.path.exists(os.path.join(self.root, parse_id(identity))):
            raise Conflict(f"container with id {identity!r} already exists in {self.root}; delete it first")
        spec = read_config(bundle)
        linux = spec.setdefault("linux", {})
        if os.geteuid() != 0:
            from .rootless import check_namespaces  # what root's containers need nothing of

            check_namespaces(linux)
        if self.rootless:
            from .rootless import prepare_rootless  # what root's containers need nothing of

            prepare_rootless(spec, identity, self.instance)
            return spec
        path = linux.get("cgroupsPath") or identity
        # runtime-spec, Cgroups Path: a relative one is relative to a place that the runtime chooses.
        linux["cgroupsPath"] = path if path.startswith("/") or ":" in path else f"/{self.instance}/{path}"
        if not spec.get("process"):
            raise Unsupported("config.json: process: there is nothing to create without it")
        return spec

    def _create(
        self, identity: str, bundle: str, spec: Mapping[str, Any], options: CreateOptions, pid_file: str
    ) -> Created:
        path = spec["linux"]["cgroupsPath"]
        cgroups = self._prepare_cgroup(spec) if path else None
        options.rootless = self.rootless
        try:
            if cgroups:
                options.membership = membership_of(cgroups, path)
            created = create_container(self.root, identity, bundle, spec, options)
        except BaseException:
            if cgroups:
                cgroups.destroy(path)
            raise
        if pid_file:
            try:
                write_pid(pid_file, created.pid)
            except RuntimeFailed:
                self.delete(identity, force=True)
                raise
        return created

    def _prepare_cgroup(self, spec: Mapping[str, Any]) -> Cgroups:
        cgroups, path = self.cgroups(), spec["linux"]["cgroupsPath"]
        try:
            cgroups.prepare(path, parse_resources(spec["linux"].get("resources") or {}))
        except KernelError as error:
            if not self.rootless:
                raise
            from .rootless import explain_refused  # what root's containers need nothing of

            raise explain_refused(error, path) from error
        return cgroups


def write_pid(path: str, pid: int) -> None:
    """A pid file, whole or not there. Raises RuntimeFailed."""
    try:
        write_atomic(os.path.abspath(path), str(pid).encode(), mode=0o644, durable=False)
    except OSError as error:
        raise RuntimeFailed(f"--pid-file {path}: {error.strerror}") from error
