# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container in namespaces of another: the creator mounts them where config.json expects them (spec.py).

They are bound in the creator's own mount namespace, on a directory of the container that stays empty on the host: so
config.json names no process, whose id may be somebody else's by now, and any runtime can join them (namespaces(7)).
With the IPC namespace comes the other's ``/dev/shm``, which is nowhere on the host: its mount is copied.
Errors: RuntimeFailed, where the other container is not running (any more).
"""

from __future__ import annotations

import os

from ..errors import NotFound, RuntimeFailed
from ..linux.lean import Descriptor
from ..linux.mount import MS_BIND, mount
from ..linux.mount_api import AT_FDCWD, AT_SYMLINK_NOFOLLOW, OPEN_TREE_CLONE, move_mount, open_tree
from ..linux.namespaces import CLONE_NEWNS, setns
from ..linux.process import start_time
from ..runtime.state import load_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ..model.container import Container
    from ..paths import Paths

# Options, and what proc_pid_ns(5) calls the namespaces.
_LINKS = {"pid_mode": "pid", "ipc_mode": "ipc", "network_mode": "net"}


def find_joined(paths: Paths, container: Container) -> list[tuple[str, str, int, int]]:
    """(option, name, pid, start time) of each container that is joined. RuntimeFailed where one does not run."""
    found = []
    for option, name in container.namespaces.joined.items():
        try:
            state = load_state(paths.runtime_root, name)
            pid = state.pid if state.status() == "running" else 0
        except NotFound:
            pid = 0
        if not pid:
            raise RuntimeFailed(f"{option}: container {name} does not run; start it first")
        found.append((option, name, pid, state.started))
    return found


def mount_joined(request: Mapping[str, Any]) -> None:
    """Bind the namespaces, and shared memory, below the run directory's ``joined``."""
    stage = os.path.join(request["run"], "joined")
    mount("tmpfs", stage, "tmpfs", 0, "mode=700")
    for option, name, pid, started in request["joined"]:
        try:
            _mount_namespace(stage, _LINKS[option], pid, started)
        except OSError as error:
            why = f"{error.filename or ''} {error.strerror}".strip()
            why = why if start_time(pid) == started else "it has ended meanwhile"
            raise RuntimeFailed(f"{option}: cannot join container {name}: {why}") from error


def _mount_namespace(stage: str, link: str, pid: int, started: int) -> None:
    with Descriptor(os.open(f"/proc/{pid}/ns/{link}", os.O_RDONLY | os.O_CLOEXEC)) as namespace:
        if link == "ipc":
            shared = os.path.join(stage, "shm")
            os.mkdir(shared)
            with Descriptor(_copy_shared_memory(pid)) as tree, Descriptor(os.open(shared, os.O_PATH)) as target:
                move_mount(tree, target)
        # What was opened is that process's only if it is still there.
        if start_time(pid) != started:
            raise ProcessLookupError
        _bind(namespace, os.path.join(stage, link))


def _bind(namespace: int, target: str) -> None:
    os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    mount(f"/proc/self/fd/{namespace}", target, flags=MS_BIND)


def _copy_shared_memory(pid: int) -> int:
    """A copy of the mount on a container's /dev/shm, which only who is in its mount namespace can make.

    Its root is our root while we are there, so that whatever it has made of the path does not lead out of it; a mount
    of another namespace cannot be copied.
    """
    with Descriptor(os.open("/", os.O_PATH)) as root, Descriptor(os.open("/proc/self/ns/mnt", os.O_RDONLY)) as ours:
        with Descriptor(os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)) as theirs:
            setns(theirs, CLONE_NEWNS)
        try:
            return open_tree(AT_FDCWD, "/dev/shm", OPEN_TREE_CLONE | AT_SYMLINK_NOFOLLOW)
        finally:
            setns(ours, CLONE_NEWNS)
            # The root of a mount namespace may be another than ours was (chroot(2)).
            os.fchdir(root)
            os.chroot(".")
            os.chdir("/")
