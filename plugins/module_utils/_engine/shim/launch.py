# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers of the engine: created by way of a launcher, started, stopped, deleted. See runtime/__init__.py."""

from __future__ import annotations

import contextlib
import json
import os
import signal

from ..cgroup.manager import open_cgroups
from ..errors import EngineError, InvalidOption, NotFound, RuntimeFailed
from ..linux.files import read_json
from ..linux.process import is_alive, send_signal, wait_gone
from ..runtime.lifecycle import parse_signal, start_state
from ..runtime.membership import membership_of
from ..runtime.state import State, load_state
from .bundle import Definition, read_definition
from .external import delete_external, start_external
from .spec import idmapped_volume

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any, BinaryIO

    from ..cgroup.interface import Cgroups
    from ..model.container import Container
    from ..paths import Paths
    from .solo import SoloMonitor

# A monitor gives a created container up when its launcher has been gone for so long, in seconds.
PATIENCE = 30.0
_KILL_TIMEOUT = 10.0
_MONITOR_TIMEOUT = 10.0


# The descriptor by which a launcher has the host's lock, where it has it.
LOCK = 3


class Born:
    """A container whose namespaces are there, while it is set up. A runtime other than ours tells of none."""

    def __init__(self, name: str, pid: int) -> None:
        self.name = name
        self.pid = pid


class Created:
    """A container that waits to be started."""

    def __init__(self, name: str, pid: int, started: int) -> None:
        self.name = name
        self.pid = pid
        self.started = started


class Failed:
    """A container that could not be created; nothing of it is left but its bundle."""

    def __init__(self, name: str, error: str) -> None:
        self.name = name
        self.error = error


def create_containers(
    paths: Paths,
    engine: Sequence[str],
    names: Sequence[str],
    *,
    cgroups: Cgroups | None = None,
    launcher: Launcher | SoloMonitor | None = None,
    patience: float = PATIENCE,
) -> Iterator[Born | Created | Failed]:
    """Create prepared containers, all at the same time; each is told as soon as it is there.

    ``engine`` is the command line of the installed engine, to which ``launch`` is added. A ``launcher`` that was begun
    earlier starts up while its caller prepares the containers; it is closed here. Raises RuntimeFailed where it fails.
    """
    cgroups = cgroups or open_cgroups(paths.instance)
    definitions: dict[str, Definition] = {}
    requests = []
    for name in names:
        try:
            definition = read_definition(paths, name)
            requests.append(_request(paths, definition, patience))
            definitions[name] = definition
        except EngineError as error:
            yield Failed(name, str(error))
    if launcher is None and definitions:
        launcher = Launcher(engine, sealed=joins_pids(definition.container for definition in definitions.values()))
    if launcher is None:
        return
    try:
        if not definitions:
            return
        launcher.tell({"containers": requests})
        yield from _converse(launcher, definitions, _Answers(paths, cgroups, filters=len(definitions) > 1))
    finally:
        launcher.close()


class _Answers:
    """What a monitor gets after its request, when it has begun already: its cgroup, and its seccomp filter.

    Without ``filters``, each creator compiles its own while its init is busy: sooner for one, dearer for many.
    """

    def __init__(self, paths: Paths, cgroups: Cgroups, *, filters: bool) -> None:
        self.cgroups = cgroups
        self._paths = paths
        self._compiles = filters
        self._filters: dict[str, str] = {}

    def answer(self, definition: Definition, monitor: int) -> dict[str, Any]:
        """Make the cgroup, compile the filter (another runtime does by itself). What fails is told too."""
        name, path = definition.container.name, definition.cgroups_path
        answer = {"name": name, "task_files": [], "directory": "", "seccomp": ""}
        try:
            self.cgroups.prepare(path, definition.container.limits, monitor)
            membership = membership_of(self.cgroups, path)
            answer.update(task_files=list(membership.task_files), directory=membership.directory)
            if self._compiles and not definition.container.runtime:
                answer["seccomp"] = self._filter(name)
            return answer
        except EngineError as error:
            return {"name": name, "error": str(error)}

    def _filter(self, name: str) -> str:
        """In hexadecimal; each profile is compiled once."""
        from ..linux.seccomp import compile_filter  # only starts need it

        spec = read_json(os.path.join(self._paths.container(name), "config.json")) or {}
        profile = (spec.get("linux") or {}).get("seccomp")
        if not profile:
            return ""
        key = json.dumps(profile)
        if key not in self._filters:
            self._filters[key] = compile_filter(profile).hex()
        return self._filters[key]


def _request(paths: Paths, definition: Definition, patience: float) -> dict[str, Any]:
    container = definition.container
    return {
        "name": container.name,
        "bundle": paths.container(container.name),
        "run": paths.container_run(container.name),
        "log": os.path.join(paths.container(container.name), "log"),
        "run_root": paths.run_root,
        "state_root": paths.runtime_root,
        "instance": paths.instance,
        "layers": definition.layers,
        "user": container.user,
        "groups": container.groups,
        "uid_map": container.namespaces.uid_map,
        "gid_map": container.namespaces.gid_map,
        "joined": _joined(paths, container),
        "volumes": [
            (os.path.basename(idmapped_volume("", index)), volume.source)
            for index, volume in enumerate(container.volumes)
            if volume.idmap
        ]
        + ([("init", os.path.join(paths.container(container.name), "init"))] if container.init else []),
        "runtime": container.runtime,
        "cgroups_path": definition.cgroups_path,
        "patience": patience,
    }


def _joined(paths: Paths, container: Container) -> list[tuple[str, str, int, int]]:
    if not container.namespaces.joined:
        return []
    from .joined import find_joined  # few containers join others

    return find_joined(paths, container)


def _converse(
    launcher: Launcher | SoloMonitor, definitions: dict[str, Definition], answers: _Answers
) -> Iterator[Born | Created | Failed]:
    """Answer every monitor first, so that they all work while the caller deals with those that are done."""
    results: list[Born | Created | Failed] = []
    waiting, unanswered = set(definitions), set(definitions)
    if not answers.cgroups.places_monitor:
        for definition in definitions.values():
            launcher.tell(answers.answer(definition, 0))
        unanswered.clear()
    while waiting:
        message = launcher.hear()
        name = message["name"]
        if "monitor" in message:
            if name in unanswered:
                launcher.tell(answers.answer(definitions[name], message["monitor"]))
                unanswered.discard(name)
        elif "born" in message:
            results.append(Born(name, message["born"]))
        else:
            waiting.discard(name)
            unanswered.discard(name)
            if "error" in message:
                # The monitor leaves it to us, who hold the host's lock (finish_container()).
                with contextlib.suppress(EngineError, OSError):
                    answers.cgroups.destroy(definitions[name].cgroups_path)
                results.append(Failed(name, message["error"]))
            else:
                results.append(Created(name, message["pid"], message["started"]))
        while results and not unanswered:
            yield results.pop(0)


def joins_pids(containers: Iterable[Container]) -> bool:
    """Whether one of them has the pid namespace of another. Whose processes see its init while that is Python of ours,
    and may look into it where they have CAP_SYS_PTRACE (CVE-2019-5736)."""
    return any("pid_mode" in container.namespaces.joined for container in containers)


class Launcher:
    """The process out of which monitors are forked, and the conversation with it. It holds ``lock`` until it ends, and
    those who create containers for it until they are created."""

    def __init__(self, engine: Sequence[str], lock: int = -1, *, sealed: bool = False) -> None:
        """``sealed``: out of a file that nobody can write to, for containers that others look into (see joins_pids)."""
        command = [*engine, "launch"]
        program, file = command[0], -1
        if sealed:
            from ..linux.sealed import open_unwritable  # few containers join others

            try:
                file = open_unwritable(program)
            except OSError as error:
                raise RuntimeFailed(f"cannot run the engine {program}: {error.strerror}") from error
            program = f"/proc/self/fd/{file}"
        request_reader, request_writer = os.pipe()
        answer_reader, answer_writer = os.pipe()
        self._errors = os.memfd_create("launcher")
        streams = (request_reader, answer_writer, self._errors)
        actions = [(os.POSIX_SPAWN_DUP2, fd, target) for target, fd in enumerate(streams)]
        if lock >= 0:
            actions.append((os.POSIX_SPAWN_DUP2, lock, LOCK))
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}
        self._pid = 0
        try:
            # Not in the caller's session or group: what ends those must not end containers.
            self._pid = os.posix_spawn(program, command, environment, file_actions=actions, setpgroup=0)
        except OSError as error:
            raise RuntimeFailed(f"cannot run the engine {command[0]}: {error.strerror}") from error
        finally:
            for fd in (request_reader, answer_writer, *([file] if sealed else [])):
                os.close(fd)
        self._requests = request_writer
        self._answers: BinaryIO = os.fdopen(answer_reader, "rb")

    def tell(self, message: dict[str, Any]) -> None:
        """Send one line."""
        content = json.dumps(message).encode() + b"\n"
        try:
            while content:
                content = content[os.write(self._requests, content) :]
        except BrokenPipeError as error:
            raise self._failure() from error

    def hear(self) -> dict[str, Any]:
        """Read one line. RuntimeFailed where the launcher has ended instead."""
        line = self._answers.readline()
        if not line:
            raise self._failure()
        return dict(json.loads(line))

    def close(self) -> None:
        """Let the launcher end, and wait until it has. Idempotent."""
        if self._pid == 0:
            return
        os.close(self._requests)
        self._answers.close()
        os.close(self._errors)
        os.waitpid(self._pid, 0)
        self._pid = 0

    def _failure(self) -> RuntimeFailed:
        errors = os.pread(self._errors, 65536, 0).decode(errors="replace").strip().splitlines()
        return RuntimeFailed(f"the container launcher ended early: {errors[-1] if errors else 'it told no reason'}")


def start_container(paths: Paths, name: str) -> None:
    """Start a created container; returns when its program runs. Raises NotFound, Conflict, RuntimeFailed."""
    state = load_state(paths.runtime_root, name)
    if state.values.get("runtime"):
        start_external(paths.run_root, state)
        return
    start_state(state)
    if not _has_program(state.pid):
        # It may have done its work already; if its program could not be run, the monitor knows.
        wait_gone(*state.creator, _MONITOR_TIMEOUT)
        record = read_exit(paths, name)
        if record and record.get("error"):
            raise RuntimeFailed(f"container {name}: {record['error']}")


def _has_program(pid: int) -> bool:
    """Whether the process has not begun to end: then its memory goes before its descriptors, and with it this link."""
    try:
        os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return False
    return True


def read_exit(paths: Paths, name: str) -> dict[str, Any] | None:
    """How the container ended: exit_code, finished_at, error; None where it has not, or unseen."""
    record = read_json(os.path.join(paths.container_run(name), "exit.json"))
    return record if isinstance(record, dict) else None


def stop_container(paths: Paths, cgroups: Cgroups, name: str, timeout: float = 10.0) -> None:
    """Ask the container to end, and kill it after ``timeout`` seconds; returns when its end is recorded."""
    try:
        state = load_state(paths.runtime_root, name)
    except NotFound:
        return
    if state.pid:
        if state.status() == "created":
            timeout = 0.0
        send_signal(state.pid, state.started, _stop_signal(paths, name))
        if not wait_gone(state.pid, state.started, timeout):
            _kill(state, cgroups)
    if not wait_gone(*state.creator, _MONITOR_TIMEOUT):
        raise RuntimeFailed(f"container {name}: its monitor (pid {state.creator[0]}) does not end")


def _stop_signal(paths: Paths, name: str) -> int:
    try:
        return parse_signal("stop_signal", read_definition(paths, name).container.stop_signal or "SIGTERM")
    except (NotFound, InvalidOption):
        return signal.SIGTERM


def _kill(state: State, cgroups: Cgroups) -> None:
    send_signal(state.pid, state.started, signal.SIGKILL)
    if state.cgroups_path and cgroups.processes(state.cgroups_path):
        cgroups.kill(state.cgroups_path)
    if not wait_gone(state.pid, state.started, _KILL_TIMEOUT):
        raise RuntimeFailed(f"container {state.id}: process {state.pid} does not end after SIGKILL")


def delete_container(paths: Paths, cgroups: Cgroups, name: str) -> None:
    """Remove all that runs or is mounted of a container, whatever state a killed run left it in; its bundle stays.

    Idempotent. Raises RuntimeFailed where a process does not end, Conflict where a cgroup does not empty.
    """
    try:
        state = load_state(paths.runtime_root, name)
    except NotFound:
        state = State(paths.runtime_root, name, {})
    if state.values:
        if state.pid and is_alive(state.pid, state.started):
            _kill(state, cgroups)
        # A monitor that still creates the container takes its init with it. One that saw its container end has the
        # rest to itself, as long as it lives.
        if not state.pid:
            send_signal(*state.creator, signal.SIGKILL)
        if not wait_gone(*state.creator, _MONITOR_TIMEOUT):
            send_signal(*state.creator, signal.SIGKILL)
            wait_gone(*state.creator, _MONITOR_TIMEOUT)
        if state.values.get("runtime"):
            delete_external(paths.run_root, state.values["runtime"], name, state.cgroups_path)
    path = state.values.get("cgroupsPath") or _cgroups_path(paths, name)
    if path:
        if cgroups.processes(path):
            cgroups.kill(path)
        cgroups.destroy(path)
    state.remove()


def _cgroups_path(paths: Paths, name: str) -> str:
    try:
        return read_definition(paths, name).cgroups_path
    except EngineError:
        return ""
