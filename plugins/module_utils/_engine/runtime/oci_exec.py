# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``exec`` of the command line: enter a container, in its cgroup or one below it."""

from __future__ import annotations

import os

from ..errors import InvalidOption, RuntimeFailed
from ..linux.lean import suppress
from .config.validate import validate_process
from .create import Membership
from .exec import EnterOptions, enter_container, run_on_terminal, wait_exit
from .membership import find_membership
from .oci_create import check_descriptors, check_terminal, connect_pidfd, write_pid
from .steps.privileges import find_ungrantable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from .oci import Runtime
    from .state import State


class Entry:
    """What the command line says about a process that enters. ``subcgroups``: path by controller, "" for all."""

    def __init__(self) -> None:
        self.pid_file = ""
        self.console_socket = ""
        self.pidfd_socket = ""
        self.detach = False
        self.preserve_fds = 0
        self.subcgroups: Mapping[str, str] = {}


def enter(runtime: Runtime, state: State, process: dict[str, Any], entry: Entry) -> int:
    """Start one more process; unless detached, wait for it and return its exit code."""
    validate_process(process)
    terminal = bool(process.get("terminal"))
    check_terminal(terminal, entry.detach, entry.console_socket)
    check_descriptors(3, entry.preserve_fds)
    options = EnterOptions()
    options.debug = runtime.debug
    user = any(entry["type"] == "user" for entry in (state.spec().get("linux") or {}).get("namespaces") or ())
    for warning in find_ungrantable(process, user_namespace=user):
        runtime.warn(warning)
    if runtime.debug and (process.get("execCPUAffinity") or {}).get("initial"):
        from ..linux.scheduler import parse_numbers  # rarely asked for

        cpus = parse_numbers(process["execCPUAffinity"]["initial"])
        runtime.debug(f"nsexec: affinity: {sum(1 << cpu for cpu in cpus):#x}")
    options.membership = find_membership(state.cgroups_path, runtime.instance, state.pid)
    if entry.subcgroups:
        options.membership = choose_subcgroups(options.membership, entry.subcgroups)
    options.die_with_parent = not entry.detach
    options.preserve_fds = entry.preserve_fds
    sender = connect_pidfd(entry.pidfd_socket)
    if terminal and not entry.console_socket:
        return run_on_terminal(
            state, state.spec(), process, options, entered=lambda pid, pidfd: _tell(pid, pidfd, entry, sender)
        )
    if entry.console_socket:
        from .console import ConsoleSender  # sockets and ttys, for those who want a terminal

        options.send_console = ConsoleSender.connect(entry.console_socket)
    pid, pidfd = enter_container(state, state.spec(), process, options)
    _tell(pid, pidfd, entry, sender)
    return 0 if entry.detach else wait_exit(pid, pidfd)


def _tell(pid: int, pidfd: int, entry: Entry, sender: Any) -> None:
    """Say who it is where that was asked for; it is ended where nobody would know of it."""
    try:
        if sender:
            sender(pidfd)
        if entry.pid_file:
            write_pid(entry.pid_file, pid)
    except (OSError, RuntimeFailed):
        with suppress(ProcessLookupError):
            os.kill(pid, 9)
        os.waitpid(pid, 0)
        raise


def choose_subcgroups(membership: Membership, wanted: Mapping[str, str]) -> Membership:
    """The same, in cgroups below those of the container. Raises InvalidOption, RuntimeFailed where one is not there."""
    for path in wanted.values():
        if ".." in path.split("/"):
            raise InvalidOption("exec --cgroup", path, "a path below the container's cgroup (bad sub cgroup path)")
    if membership.directory and not membership.task_files:
        if list(wanted) != [""]:
            first = next(iter(wanted))
            raise RuntimeFailed(f"exec --cgroup: unknown controller {first}; on cgroup v2 a path stands alone")
        return Membership(directory=_below(membership.directory, wanted[""]))
    from ..linux.cgroupfs import observe_hierarchies  # for this option alone

    chosen = []
    known: set[str] = set()
    hierarchies = observe_hierarchies()
    for file in membership.task_files:
        directory, name = os.path.split(file)
        controllers = {c for h in hierarchies if directory.startswith(h.mount + "/") for c in h.controllers}
        known |= controllers
        path = next((wanted[controller] for controller in controllers if controller in wanted), wanted.get("", ""))
        chosen.append(os.path.join(_below(directory, path), name))
    for controller in wanted:
        if controller and controller not in known:
            raise RuntimeFailed(f"exec --cgroup: unknown controller {controller}; there are {', '.join(sorted(known))}")
    unified = membership.directory and _below(membership.directory, wanted.get("", ""))
    return Membership(chosen, unified)


def _below(directory: str, path: str) -> str:
    found = os.path.normpath(os.path.join(directory, path.lstrip("/")))
    if not os.path.isdir(found):
        raise RuntimeFailed(f"exec --cgroup: adding pid to {found}: no such file or directory")
    return found
