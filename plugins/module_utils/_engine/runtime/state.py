# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a container of the OCI runtime (runtime-spec, runtime.md, State): one directory, ``<root>/<id>``.

``state.json`` says which process the init is, by pid and start time; the status is what the kernel says of that process
now. ``exec.fifo`` is there from *created* until *started*. Written atomically; gone from the directory is deleted.
"""

from __future__ import annotations

import os

from ..errors import Conflict, InvalidOption, NotFound, StateCorrupt
from ..linux.files import list_directory, read_json, read_whole, remove_if_exists, write_json
from ..linux.lean import loads, suppress
from ..linux.process import is_alive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .create import Membership

OCI_VERSION = "1.3.0"

# The configuration that a container was created from, in its state directory; where it is missing, the bundle has it.
SPEC_FILE = "config.json"

# The directory there that a root file system is mounted on while criu(8) restores a container.
CRIU_ROOT = "criu-root"

_ID_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.")


def parse_id(text: str) -> str:
    """An id as runc allows it, which is also a file name that leads nowhere else."""
    if not (0 < len(text) <= 255 and _ID_CHARACTERS.issuperset(text) and text not in (".", "..")):
        raise InvalidOption("container id", text[:80], "1 to 255 letters, digits, '_', '+', '-' or '.'")
    return text


class State:
    """What is known of one container, and where it is kept. ``pid`` is 0 until the init is ready."""

    def __init__(self, root: str, identity: str, values: dict[str, Any]) -> None:
        self.root = root
        self.id = identity
        self.values = values

    @property
    def directory(self) -> str:
        return os.path.join(self.root, self.id)

    @property
    def fifo(self) -> str:
        return os.path.join(self.directory, "exec.fifo")

    @property
    def bundle(self) -> str:
        return str(self.values["bundle"])

    @property
    def pid(self) -> int:
        return int(self.values["pid"])

    @property
    def started(self) -> int:
        """The start time of the init, in clock ticks since boot."""
        return int(self.values["started"])

    @property
    def cgroups_path(self) -> str:
        return str(self.values["cgroupsPath"])

    @property
    def creator(self) -> tuple[int, int]:
        """Pid and start time of who made the container: with the engine, its monitor."""
        pid, started = self.values["creator"]
        return int(pid), int(started)

    def save(self) -> None:
        """Write state.json. Not synced: a reboot ends containers, and the directory is on a tmpfs."""
        write_json(os.path.join(self.directory, "state.json"), self.values, durable=False)

    def status(self) -> str:
        """creating, created, running, paused or stopped."""
        if self.pid == 0:
            return "creating" if is_alive(*self.creator) else "stopped"
        if not is_alive(self.pid, self.started):
            return "stopped"
        if is_frozen(self.values.get("freezer") or ""):
            return "paused"
        return "created" if os.path.exists(self.fifo) else "running"

    def told(self, status: str = "", pid: int = 0) -> dict[str, Any]:
        """The state as ``state`` prints it and hooks read it; whoever knows ``status`` and ``pid`` need not have the
        kernel asked."""
        if not status:
            status = self.status()
            pid = self.pid if status in ("created", "running", "paused") else 0
        told = {
            "ociVersion": OCI_VERSION,
            "id": self.id,
            "pid": pid,
            "status": status,
            "bundle": self.bundle,
            "rootfs": self.values["rootfs"],
            "created": self.values["created"],
            "owner": "",
        }
        if self.values["annotations"]:
            told["annotations"] = self.values["annotations"]
        return told

    def spec(self) -> dict[str, Any]:
        """The configuration that the container was made from. Raises StateCorrupt."""
        path = os.path.join(self.directory, SPEC_FILE)
        try:
            if not os.path.exists(path):
                path = os.path.join(self.bundle, "config.json")
            return dict(loads(read_whole(path)))
        except (OSError, ValueError) as error:
            raise StateCorrupt(path, str(error)) from error

    def hooks(self) -> dict[str, Any]:
        """The hooks of that configuration. Most containers have none, and then it is not read for them."""
        return {} if self.values.get("hooks") is False else self.spec().get("hooks") or {}

    def has_own_pids(self) -> bool:
        """Whether the end of the init is the end of all, because the pid namespace is the container's own."""
        namespaces = (self.spec().get("linux") or {}).get("namespaces") or ()
        return any(entry["type"] == "pid" and not entry.get("path") for entry in namespaces)

    def owner(self) -> str:
        """The name of the user whose container this is, or # and the number."""
        uid = os.stat(self.directory).st_uid
        try:
            import pwd  # for `list` alone

            return pwd.getpwuid(uid).pw_name
        except (ImportError, KeyError):
            return f"#{uid}"

    def remove(self) -> None:
        """Forget the container. The directory holds files alone, but for what a restore that was killed has left."""
        if self.values.get("resctrl"):
            from .intel_rdt import remove_classes  # few hosts have such a thing

            remove_classes(self.values["resctrl"]["made"])
        if self.values.get("shared_mounts"):
            from .shared_mounts import drop_mounts  # next to nobody does without a mount namespace

            drop_mounts(self.values["shared_mounts"], self.values["rootfs"])
        for name in list_directory(self.directory):
            if name == CRIU_ROOT:
                from .checkpoint import drop_root  # after a restore that was killed

                drop_root(self.directory)
                continue
            remove_if_exists(os.path.join(self.directory, name))
        with suppress(FileNotFoundError):
            os.rmdir(self.directory)


def find_freezer(membership: Membership) -> str:
    """The file that tells whether the processes of a cgroup are frozen; "" where it has none."""
    for file in membership.task_files:
        path = os.path.join(os.path.dirname(file), "freezer.state")
        if os.path.exists(path):
            return path
    # v1's comes first: a hybrid host's v2 tree freezes too, but not what the runtime freezes.
    return os.path.join(membership.directory, "cgroup.freeze") if membership.directory else ""


def is_frozen(path: str) -> bool:
    """What the kernel says in the file of find_freezer(): FROZEN in v1's freezer.state, 1 in v2's cgroup.freeze."""
    if not path:
        return False
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.read(fd, 64).strip() in (b"FROZEN", b"FREEZING", b"1")
    finally:
        os.close(fd)


def create_state(root: str, identity: str, values: dict[str, Any]) -> State:
    """Claim ``identity`` and write its first state. Conflict where a container has that id."""
    state = State(root, parse_id(identity), values)
    if not os.path.isdir(root):
        _make_root(root)
    try:
        os.mkdir(state.directory, 0o700)
    except FileExistsError as error:
        raise Conflict(f"container with id {identity!r} already exists in {root}; delete it first") from error
    state.save()
    return state


def _make_root(root: str) -> None:
    """The directory of states; those above it are nobody else's to write to, whatever umask we have been given."""
    umask = os.umask(0o022)
    try:
        # Sticky: else what stands in $XDG_RUNTIME_DIR may be cleaned away after six hours (XDG Base Directory Spec).
        os.makedirs(root, mode=0o1700, exist_ok=True)
    finally:
        os.umask(umask)


def load_state(root: str, identity: str) -> State:
    """The state of a container. NotFound where there is none, StateCorrupt where it is not what we wrote."""
    path = os.path.join(root, parse_id(identity), "state.json")
    values = read_json(path)
    if values is None:
        raise NotFound("container", identity, f"container does not exist in {root}; `list` shows those that do")
    if not isinstance(values, dict) or not {"pid", "started", "bundle", "cgroupsPath", "creator"} <= values.keys():
        raise StateCorrupt(path, "fields are missing")
    return State(root, identity, values)


def list_states(root: str) -> list[State]:
    """Every container of a root, by id; directories without a state (their creator was killed) are left out."""
    states = []
    for name in list_directory(root):
        try:
            states.append(load_state(root, name))
        except (NotFound, StateCorrupt, InvalidOption, NotADirectoryError):
            continue
    return states
