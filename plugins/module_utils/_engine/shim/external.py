# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers on another OCI runtime (runc, crun, ...), by its command line: the same bundle, monitor and log.

The monitor is the subreaper of what the runtime forks, so the init becomes its child. In our own state directory
stands an ``exec.fifo`` (a plain file here) until the container is started, so that its status is told as for our own.
"""

from __future__ import annotations

import os
import stat
import time

from ..errors import ProgramFailed, RuntimeFailed, Unsupported
from ..linux.files import write_json
from ..linux.lean import loads, suppress
from ..linux.mount_api import make_mount
from ..linux.process import find_program, is_alive, run_program, start_time
from ..runtime.channel import Channel
from ..runtime.create import Created
from ..runtime.state import State, create_state
from ..runtime.steps.cgroup_mounts import observe_hierarchies

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any


def external_root(run_root: str, runtime: str) -> str:
    """Where that runtime keeps the state of our containers."""
    return os.path.join(run_root, "runtimes", os.path.basename(runtime))


def external_command(run_root: str, runtime: str, *arguments: str) -> list[str]:
    """The command line. Unsupported where there is no such program."""
    program = find_program(runtime)
    if program is None:
        raise Unsupported(f"runtime {runtime!r} is not installed on this host; install it, or leave runtime out")
    return [program, "--root", external_root(run_root, runtime), *arguments]


def create_external(
    request: Mapping[str, Any], spec: dict[str, Any], stdio: Sequence[int], *, creator: tuple[int, int], directory: str
) -> Created:
    """Create a container. Raises RuntimeFailed with the runtime's own words.

    ``directory`` is its cgroup where that is one of v2: it is there already, in a part of the tree that is ours (under
    systemd, of a scope that is delegated), so the runtime is told of it as of any other, by its path.
    """
    if directory:
        spec["linux"]["cgroupsPath"] = _below_mount(directory)
        write_json(os.path.join(request["bundle"], "config.json"), spec, durable=False)
    name, bundle, run_root = request["name"], request["bundle"], request["run_root"]
    values = {
        "pid": 0,
        "started": 0,
        "bundle": bundle,
        "rootfs": spec["root"]["path"],
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cgroupsPath": request["cgroups_path"],
        "annotations": spec.get("annotations") or {},
        "creator": list(creator),
        "runtime": request["runtime"],
    }
    state = create_state(request["state_root"], name, values)
    pid_file, log = os.path.join(state.directory, "pid"), os.path.join(state.directory, "log")
    try:
        os.makedirs(external_root(run_root, request["runtime"]), mode=0o700, exist_ok=True)
        command = external_command(run_root, request["runtime"])
        command += ["--log", log, "--log-format", "json", "create", "--bundle", bundle, "--pid-file", pid_file, name]
        status = os.waitpid(spawn_runtime(command, stdio), 0)[1]
        if status != 0:
            raise RuntimeFailed(f"container {name}: {request['runtime']} create: {_last_message(log)}")
        with open(pid_file, encoding="ascii") as file:
            pid = int(file.read())
        values["pid"], values["started"] = pid, start_time(pid)
        with open(state.fifo, "x", encoding="ascii"):
            state.save()
        return Created(state, os.pidfd_open(pid), Channel(-1, -1))
    except BaseException:
        delete_external(run_root, request["runtime"], name, request["cgroups_path"])
        state.remove()
        raise


def spawn_runtime(command: list[str], stdio: Sequence[int] = (0, 1, 2)) -> int:
    """Run the program with these streams; its pid.

    crun gives the streams to the container's user, and so would the host's /dev/null: it gets another node of that.
    """
    host = os.stat("/dev/null")
    null = -1
    actions = []
    try:
        for target, fd in enumerate(stdio):
            found = os.fstat(fd)
            is_host_s = (found.st_dev, found.st_ino) == (host.st_dev, host.st_ino)
            if is_host_s and null < 0:
                null = _open_other_null()
            actions.append((os.POSIX_SPAWN_DUP2, null if is_host_s else fd, target))
        return os.posix_spawn(command[0], command, dict(os.environ), file_actions=actions)
    finally:
        if null >= 0:
            os.close(null)


def _open_other_null() -> int:
    """A null device on a file system that is nowhere else, and goes when this is closed."""
    mount = make_mount("tmpfs", "null", ["mode=755"])
    try:
        os.mknod("null", stat.S_IFCHR | 0o666, os.makedev(1, 3), dir_fd=mount)
        return os.open("null", os.O_RDWR | os.O_CLOEXEC, dir_fd=mount)
    finally:
        os.close(mount)


def _below_mount(directory: str) -> str:
    """A directory of the v2 hierarchy as cgroupsPath has it: below where that is mounted."""
    found = [one.mount_point for one in observe_hierarchies() if one.fstype == "cgroup2"]
    mount_point = next((path for path in reversed(found) if directory.startswith(path + "/")), "")
    return directory[len(mount_point) :]


def start_external(run_root: str, state: State) -> None:
    """Start a created container. One that has ended when the runtime is done with starting it was started too."""
    try:
        run_program(external_command(run_root, state.values["runtime"], "start", state.id))
    except ProgramFailed:
        if is_alive(state.pid, state.started):
            raise
    with suppress(FileNotFoundError):  # its monitor, too, may have been faster than we
        os.unlink(state.fifo)


def delete_external(run_root: str, runtime: str, name: str, cgroups_path: str) -> None:
    """Have the runtime remove all that it has of the container, killing it where it runs."""
    if os.path.isdir(os.path.join(external_root(run_root, runtime), name)):
        run_program(external_command(run_root, runtime, "delete", "--force", name))
    found = list(observe_hierarchies())
    if all(hierarchy.fstype == "cgroup2" for hierarchy in found):
        return
    # On v1 other runtimes also use the hierarchies that have no controller of ours (systemd's, and v2's on a hybrid
    # host), and leave the parents of a container's cgroup there. Nobody else would remove them.
    for hierarchy in found:
        if hierarchy.fstype == "cgroup2" or "name=" in hierarchy.controllers:
            parent = cgroups_path
            with suppress(OSError):
                while parent := os.path.dirname(parent).rstrip("/"):
                    os.rmdir(hierarchy.mount_point + parent)


def _last_message(log: str) -> str:
    """The last error of a log in runc's JSON format."""
    try:
        with open(log, encoding="utf-8", errors="replace") as file:
            entries = [loads(line) for line in file if line.startswith("{")]
        return next(str(entry["msg"]) for entry in reversed(entries) if entry.get("level") == "error")
    except (OSError, ValueError, KeyError, StopIteration):
        return "it told no reason"
