# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The OCI operations as the command line has them, on containers that are there (oci_create.py makes them).

What has a cgroup loads the cgroup package when it comes to it: `state` and `start` do without, and are fast.
"""

from __future__ import annotations

import os

from ..errors import Conflict, NotFound, RuntimeFailed
from ..linux.lean import Descriptor
from .state import State, load_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..cgroup.interface import Cgroups
    from .notify import NotifySocket


class Runtime:
    """``root`` holds the states (runc's --root); ``instance`` names our part of the cgroup tree.

    ``given`` are the global options that were named; ``debug`` takes a line about each step where one wants to see;
    ``rootless``: we are not the machine's root, who may make any cgroup. ``private``: nobody but us reaches its
    containers, so that none is entered before it is started; this process is then no command to be run again.
    """

    def __init__(self, root: str, instance: str) -> None:
        self.root = root
        self.instance = instance
        self.given: frozenset[str] = frozenset()
        self.criu = "criu"
        self.rootless = False
        self.private = False
        self.debug: Callable[[str], None] | None = None
        self.warn: Callable[[str], None] = lambda message: None
        self._cgroups: dict[bool, Cgroups] = {}

    def cgroups(self, cgroups_path: str) -> Cgroups:
        """Looked for once, for paths and for scopes: hierarchies are not mounted elsewhere while we are at work."""
        from ..cgroup.manager import open_cgroups  # state and start have no need of cgroups

        scope = not cgroups_path.startswith("/")
        if scope not in self._cgroups:
            self._cgroups[scope] = open_cgroups(self.instance, cgroups_path)
        return self._cgroups[scope]

    def state(self, identity: str) -> State:
        return load_state(self.root, identity)

    def start(self, identity: str, *, attached: bool = False) -> None:
        """Start a created container, then run its poststart hooks; where one fails, so does the start (spec 1.3).

        ``attached``: the caller stays with it. Else, if it is to tell when it is ready, we wait for that.
        """
        from .lifecycle import StartFailed, start_state  # state has no need of it

        state = self.state(identity)
        notify = self._bind_notify(identity)
        try:
            start_state(state)
        except StartFailed as error:
            if error.hook:
                self.delete(identity, force=True)
            raise
        if notify:
            with Descriptor(os.pidfd_open(state.pid)) as pidfd:
                notify.serve(pidfd) if attached else notify.wait_ready(pidfd, state.pid)
        hooks = state.hooks()
        if hooks.get("poststart"):
            from .hooks import run_hooks  # most containers have none

            try:
                # Its program has been executed, whether or not it has ended since.
                run_hooks({"hooks": hooks}, "poststart", state.told("running", state.pid))
            except RuntimeFailed:
                self.delete(identity, force=True)
                raise

    def _bind_notify(self, identity: str) -> NotifySocket | None:
        host = os.environ.get("NOTIFY_SOCKET")
        if not host or not os.path.isdir(os.path.join(self.root, f".notify-{identity}")):
            return None
        from .notify import NotifySocket  # for containers that a unit of Type=notify runs

        notify = NotifySocket(host, self.root, identity)
        notify.bind()
        return notify

    def kill(self, identity: str, signal: str, *, everyone: bool = False) -> None:
        """Send a signal to the init; SIGKILL to all where no pid namespace of its own would take them along.

        ``everyone`` is runc's old --all: it says nothing of a container that does not run.
        """
        from .lifecycle import kill_state, parse_signal  # state has no need of it

        number = parse_signal("kill", signal)
        state = self.state(identity)
        if number == 9 and state.cgroups_path and not state.has_own_pids():
            cgroups = self.cgroups(state.cgroups_path)
            if cgroups.processes(state.cgroups_path):
                cgroups.kill(state.cgroups_path)
                return
        try:
            kill_state(state, number)
        except Conflict:
            if not everyone:
                raise
        if number == 9 and state.status() == "paused":
            self.cgroups(state.cgroups_path).freeze(state.cgroups_path, False)  # v1: what is frozen does not die

    def delete(self, identity: str, *, force: bool) -> None:
        """Remove a container; with ``force`` kill it first, and say nothing where there is none."""
        from .lifecycle import delete_state  # state has no need of it

        try:
            state = self.state(identity)
        except NotFound:
            # Whoever made its directory was killed before it could say what it is for, or when it removed it.
            State(self.root, identity, {}).remove()
            self._remove_notify(identity)
            if force:
                return
            raise
        cgroups = self.cgroups(state.cgroups_path) if state.cgroups_path else None
        delete_state(state, cgroups, force=force, warn=self.warn)
        self._remove_notify(identity)

    def _remove_notify(self, identity: str) -> None:
        if os.path.isdir(os.path.join(self.root, f".notify-{identity}")):
            from .notify import remove_notify  # for containers that a unit of Type=notify runs

            remove_notify(self.root, identity)

    def freeze(self, identity: str, frozen: bool) -> None:
        """Pause or resume a container."""
        state = self.state(identity)
        status = state.status()
        if status not in (("running", "created") if frozen else ("paused",)):
            wanted = "running" if frozen else "paused"
            raise Conflict(f"container {identity!r} is {status}: container not {wanted}")
        if not state.cgroups_path:
            raise Conflict(f"container {identity!r} has no cgroup of its own to be stopped in")
        self.cgroups(state.cgroups_path).freeze(state.cgroups_path, frozen)

    def processes(self, identity: str) -> list[int]:
        """The pids in a container."""
        state = self.state(identity)
        if state.cgroups_path:
            return self.cgroups(state.cgroups_path).processes(state.cgroups_path)
        if state.status() == "stopped":
            return []
        from .rootless_cgroup import list_namespace  # root's containers have a cgroup

        return list_namespace(state.pid)

    def enterable(self, identity: str, *, ignore_paused: bool) -> State:
        """The state of a container that one more process can be started in. Conflict where none can."""
        state = self.state(identity)
        status = state.status()
        if status in ("stopped", "creating"):
            raise Conflict(f"container {identity!r} is not running: cannot exec in a {status} container")
        if status == "paused" and not ignore_paused:
            told = "cannot exec in a paused container (use --ignore-paused to override)"
            raise Conflict(f"container {identity!r}: {told}")
        return state
