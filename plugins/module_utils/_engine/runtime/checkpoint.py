# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``checkpoint`` and ``restore`` of the command line, by criu(8): a container's processes as files, and back.

What the container has from outside (bind mounts, v1's cgroups, joined namespaces, its streams) is told to criu by name,
and given back from the host on restore. The layout of the image directory is runc's: dump.log, restore.log,
descriptors.json.
"""

from __future__ import annotations

import json
import os
from functools import partial

from ..cgroup.resources import Resources
from ..errors import Conflict, RuntimeFailed
from ..linux import mount as m
from ..linux.criu import DUMP, PRE_DUMP, RESTORE, request
from ..linux.inherited import set_child_subreaper
from ..linux.lean import suppress
from ..linux.mount import mount, umount2
from ..linux.namespaces import CLONE_NEWNET, NAMESPACES
from ..linux.process import find_program, start_time
from .exec import wait_exit
from .oci_create import Creation, check_terminal, prepare_restored, read_bundle, write_pid
from .state import CRIU_ROOT, State
from .steps.cgroup_mounts import observe_hierarchies
from .steps.mount_options import parse_mount_options
from .steps.process import write_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from .oci import Runtime

_DESCRIPTORS = "descriptors.json"
_LOG_LEVEL = 4
_NULL = "/dev/null"
_NFTABLES = 2  # rpc.proto, criu_network_lock_method; criu itself would take iptables


class CriuOptions:
    """What the command line says; ``flags`` are criu's own, by the names of its protocol."""

    def __init__(self) -> None:
        self.images = ""
        self.work = ""
        self.parent = ""
        self.pre_dump = False
        self.status_fd = -1
        self.page_server: tuple[str, int] | None = None
        self.lsm = ("", "")
        self.cgroup_mode = 0
        self.flags: dict[str, int] = {}


def checkpoint_container(runtime: Runtime, identity: str, options: CriuOptions) -> None:
    """Dump, and delete the container unless it is to go on. Conflict where it does not run."""
    state = runtime.state(identity)
    status = state.status()
    if status not in ("running", "paused"):
        raise Conflict(f"container {identity!r} cannot be checkpointed: it is {status}")
    spec = state.spec()
    values = _common(options, spec, "dump.log")
    values.update(pid=state.pid, root=state.values["rootfs"], **options.flags)
    if find_program("iptables-restore") is None:
        values["network_lock"] = _NFTABLES
    if options.page_server:
        values["ps"] = {1: options.page_server[0], 2: options.page_server[1]}
    if options.parent:
        values.update(parent_img=options.parent, track_mem=1)
    freezer = state.values.get("freezer")
    if freezer:
        values["freeze_cgroup"] = os.path.dirname(freezer)
    values["external"] = [f"{kind}[{os.stat(path).st_ino}]:{_key(kind)}" for kind, path in _joined(spec)]
    if not options.pre_dump:
        mounts = [(target, target) for target, _source in _external_mounts(spec, state.cgroups_path)]
        mounts += [(path, _NULL) for path in _masked_files(spec, state.pid)]
        values["ext_mnt"] = [{1: target, 2: name} for target, name in mounts if target != _NULL]
        with open(os.path.join(options.images, _DESCRIPTORS), "w", encoding="utf-8") as file:
            json.dump([os.readlink(f"/proc/{state.pid}/fd/{fd}") for fd in range(3)], file)

    def notified(stage: str, _pid: int, _fds: list[int]) -> None:
        if stage == "status-ready" and options.status_fd >= 0:
            os.write(options.status_fd, b"\0")
            os.close(options.status_fd)

    kind = PRE_DUMP if options.pre_dump else DUMP
    request(runtime.criu, kind, lambda _pid: values, notified, log=os.path.join(options.work, "dump.log"))
    if not options.pre_dump and not options.flags.get("leave_running"):
        runtime.delete(identity, force=True)


def restore_container(runtime: Runtime, identity: str, bundle: str, creation: Creation, options: CriuOptions) -> int:
    """Make ``identity`` out of a bundle and a checkpoint; unless detached, stay with it to its end."""
    spec = read_bundle(runtime, identity, bundle)
    check_terminal(bool(spec["process"].get("terminal")), creation.detach, creation.console_socket)
    if spec["process"].get("terminal") and not creation.detach:
        raise RuntimeFailed("restore: a container with a terminal is restored with --detach and --console-socket")
    if creation.subreaper and not creation.detach:
        set_child_subreaper()
    state, cgroups, task_files = prepare_restored(runtime, identity, bundle, spec)
    try:
        pid = _restore(runtime, state, spec, creation, options, task_files)
    except BaseException:
        state.remove()
        if cgroups:
            cgroups.destroy(state.cgroups_path)
        raise
    try:
        if cgroups:
            cgroups.settle(state.cgroups_path, Resources(spec["linux"].get("resources") or {}))
        if creation.pid_file:
            write_pid(creation.pid_file, pid)
    except BaseException:
        runtime.delete(identity, force=True)
        raise
    if creation.detach:
        return 0
    try:
        return wait_exit(pid, os.pidfd_open(pid))
    finally:
        runtime.delete(identity, force=True)


def _restore(
    runtime: Runtime,
    state: State,
    spec: Mapping[str, Any],
    creation: Creation,
    options: CriuOptions,
    task_files: list[str],
) -> int:
    root = os.path.join(state.directory, CRIU_ROOT)
    os.mkdir(root, 0o755)
    # criu wants a root that is a mount point, on nothing else.
    mount(state.values["rootfs"], root, flags=m.MS_BIND | m.MS_REC)
    opened = [(kind, os.open(path, os.O_RDONLY)) for kind, path in _joined(spec)]
    found: list[int] = []

    def notified(stage: str, pid: int, fds: list[int]) -> None:
        if stage == "setup-namespaces":
            _run_hooks(state, spec, pid)
        elif stage == "orphan-pts-master" and creation.console_socket:
            from .console import ConsoleSender  # for a container with a terminal

            ConsoleSender.connect(creation.console_socket)(fds[0])
        elif stage == "post-restore":
            found.append(pid)
            state.values["pid"], state.values["started"] = pid, start_time(pid)
            state.save()
        for fd in fds:
            os.close(fd)

    try:
        kept = [fd for _kind, fd in opened]
        plan = partial(_plan_restore, state, spec, options, root, opened, task_files)
        request(runtime.criu, RESTORE, plan, notified, inherited=kept, log=os.path.join(options.work, "restore.log"))
    finally:
        for _kind, fd in opened:
            os.close(fd)
        drop_root(state.directory)
    if not found:
        raise RuntimeFailed(f"container {state.id}: criu restored it and named no process")
    return found[0]


def drop_root(directory: str) -> None:
    """Take away the mount that a restore needs, as far as it was made, and what it is on."""
    root = os.path.join(directory, CRIU_ROOT)
    with suppress(OSError):  # EINVAL: it had not come to the mount
        umount2(root, m.MNT_DETACH)
    os.rmdir(root)


def _plan_restore(
    state: State,
    spec: Mapping[str, Any],
    options: CriuOptions,
    root: str,
    opened: list[tuple[str, int]],
    task_files: list[str],
    criu: int,
) -> dict[str, Any]:
    """What criu is asked for, once it is there: what it bears is in the cgroup that it is in."""
    for path in task_files:
        write_file(path, str(criu))
    values = _common(options, spec, "restore.log")
    values.update(root=root, rst_sibling=1, evasive_devices=1, **options.flags)
    mounts = _external_mounts(spec, state.cgroups_path)
    values["ext_mnt"] = [{1: target, 2: source} for target, source in mounts]
    with open(os.path.join(options.images, _DESCRIPTORS), encoding="utf-8") as descriptors:
        names = enumerate(json.load(descriptors))
    inherit = [{1: name, 2: fd} for fd, name in names if name.startswith("pipe:")]
    values["inherit_fd"] = [*inherit, *({1: _key(kind), 2: fd} for kind, fd in opened)]
    values["cg_root"] = [{1: name, 2: path} for name, path in _cgroups_of(criu)]
    values.update({name: text for name, text in zip(("lsm_profile", "lsm_mount_context"), options.lsm) if text})
    return values


def _run_hooks(state: State, spec: Mapping[str, Any], pid: int) -> None:
    hooks = spec.get("hooks") or {}
    if hooks.get("prestart") or hooks.get("createRuntime"):
        from .hooks import run_hooks  # most containers have none

        told = state.told("creating", pid)
        run_hooks(spec, "prestart", told)
        run_hooks(spec, "createRuntime", told)


def _common(options: CriuOptions, spec: Mapping[str, Any], log: str) -> dict[str, Any]:
    """Options of both directions. The descriptors of directories are criu's for as long as we are there."""
    for directory in (options.images, options.work):
        os.makedirs(directory, mode=0o700, exist_ok=True)
    values: dict[str, Any] = {
        "images_dir_fd": _inheritable(options.images),
        "work_dir_fd": _inheritable(options.work),
        "log_level": _LOG_LEVEL,
        "log_file": log,
        "notify_scripts": 1,
        "manage_cgroups": 1,
        "manage_cgroups_mode": options.cgroup_mode,
        "orphan_pts_master": 1,
        "empty_ns": CLONE_NEWNET,  # whoever made the devices of a network makes them anew
    }
    config = (spec.get("annotations") or {}).get("org.criu.config", "/etc/criu/runc.conf")
    if os.path.exists(config):
        values["config_file"] = config
    return values


def _inheritable(directory: str) -> int:
    """criu opens /proc/<our pid>/fd/N."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    os.set_inheritable(fd, True)
    return fd


def _joined(spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Namespaces that are not the container's own, of the types that criu leaves to others: type and path."""
    for entry in (spec.get("linux") or {}).get("namespaces") or ():
        if entry["type"] in ("network", "pid") and entry.get("path"):
            yield NAMESPACES[entry["type"]][1], entry["path"]


def _key(kind: str) -> str:
    return f"extRoot{kind.capitalize()}NS"


def _external_mounts(spec: Mapping[str, Any], cgroups_path: str) -> Iterator[tuple[str, str]]:
    """Mounts whose content is the host's: by what name criu knows them, and what they are bound from."""
    linux = spec.get("linux") or {}
    own_cgroups = any(entry["type"] == "cgroup" for entry in linux.get("namespaces") or ())
    for entry in spec.get("mounts") or ():
        target = os.path.normpath("/" + entry["destination"].lstrip("/"))
        if parse_mount_options(entry.get("options") or (), entry.get("type") or "").bind:
            yield target, entry["source"]
        elif entry.get("type") == "cgroup" and not own_cgroups:
            for hierarchy in observe_hierarchies():
                if hierarchy.fstype != "cgroup2":
                    name = os.path.basename(hierarchy.mount_point)
                    yield f"{target}/{name}", hierarchy.mount_point + cgroups_path
    if linux.get("maskedPaths"):
        yield _NULL, _NULL


def _masked_files(spec: Mapping[str, Any], pid: int) -> Iterator[str]:
    """The masked paths that are /dev/null in the container; a masked directory is a tmpfs, which criu knows."""
    for path in (spec.get("linux") or {}).get("maskedPaths") or ():
        with suppress(OSError):
            if os.lstat(f"/proc/{pid}/root{path}").st_rdev == os.makedev(1, 3):
                yield path


def _cgroups_of(pid: int) -> Iterator[tuple[str, str]]:
    with open(f"/proc/{pid}/cgroup", encoding="utf-8") as file:
        for line in file:
            _number, controllers, path = line.rstrip("\n").split(":", 2)
            yield controllers, path
