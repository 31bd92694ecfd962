# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container on disk: its OCI bundle, and its definition, whose presence says that the bundle is whole."""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict

from ..errors import InvalidOption, KernelError, NotFound, StateCorrupt, Unsupported
from ..linux.apparmor import load_default_profile
from ..linux.files import list_directory, read_json, remove_if_exists, write_atomic, write_json
from ..model.cgroup import Limits
from ..model.container import Attachment, Container, Device, Namespaces, Port, Security, Ulimit, Volume
from ..runtime.config.validate import validate_config
from .provisions import observe_provisions
from .spec import ETC_FILES, idmapped_stage, oci_spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..paths import Paths


_ITEMS: dict[str, Any] = {
    "networks": Attachment,
    "ports": Port,
    "volumes": Volume,
    "devices": Device,
    "ulimits": Ulimit,
}
_PARTS: dict[str, Any] = {"limits": Limits, "security": Security, "namespaces": Namespaces}


class Definition:
    """What container.json holds: the model, the unpacked layers from the lowest to the topmost, the OCI cgroupsPath."""

    def __init__(self, container: Container, layers: Sequence[str], cgroups_path: str) -> None:
        self.container = container
        self.layers = list(layers)
        self.cgroups_path = cgroups_path


def prepare_container(paths: Paths, container: Container, *, layers: Sequence[str], cgroups_path: str) -> None:
    """Write the bundle; what the container wrote before (``upper``) is kept. ``layers``: directories, lowest first.

    Raises InvalidOption, KernelError.
    """
    bundle, run = paths.container(container.name), paths.container_run(container.name)
    owner = container.namespaces.root
    if container.namespaces.uid_map:
        _open_way(paths, run)
    # Root of a user namespace does not come into the bundle.
    rootfs = os.path.join(idmapped_stage(run) if container.namespaces.uid_map else bundle, "rootfs")
    found = observe_provisions(container)
    spec = oci_spec(container, rootfs=rootfs, run_directory=run, cgroups_path=cgroups_path, provisions=found)
    validate_config(spec, mounted=False)  # what it joins is not there yet
    for layer in layers:
        if not os.path.isdir(layer):
            raise InvalidOption("layers", layer, "the directory of an unpacked layer")
    try:
        if found.apparmor:
            load_default_profile(paths.apparmor_profile, otherwise="security_opts: [apparmor=unconfined]")
        for name in ("rootfs", "upper", "work"):
            os.makedirs(os.path.join(bundle, name), mode=0o755, exist_ok=True)
        os.chmod(bundle, 0o700)
        os.makedirs(run, mode=0o755, exist_ok=True)
        if container.namespaces.uid_map:
            _give_away(os.path.join(bundle, "upper"), owner)
            # Its root is mounted there where only it sees it; runc looks for the directory on the host all the same.
            os.makedirs(os.path.join(idmapped_stage(run), "rootfs"), mode=0o700, exist_ok=True)
        if container.namespaces.joined:
            os.makedirs(os.path.join(run, "joined"), mode=0o700, exist_ok=True)
        for name in ETC_FILES:
            path = os.path.join(run, name)
            if not os.path.exists(path):
                content = f"{container.hostname or container.name}\n" if name == "hostname" else ""
                write_atomic(path, content.encode(), mode=0o644, durable=False)
            os.chown(path, *owner)
        remove_if_exists(os.path.join(run, "exit.json"))
        if found.init:
            write_atomic(os.path.join(bundle, "init"), found.init, mode=0o755, durable=False)
        # Written anew at every start: what a power cut takes of it is no loss.
        write_json(os.path.join(bundle, "config.json"), spec, durable=False)
        _write(paths, Definition(container, layers, cgroups_path))
    except OSError as error:
        raise KernelError(f"preparing container {container.name!r}", error) from error


def _open_way(paths: Paths, directory: str) -> None:
    """Let root of a user namespace, who is nobody here, get to ``directory``; Unsupported if that cannot be."""
    while directory != "/":
        directory = os.path.dirname(directory)
        mode = os.stat(directory).st_mode if os.path.isdir(directory) else 0o001
        if mode & 0o001:
            continue
        if directory not in (paths.run_root, paths.container_runs):
            raise Unsupported(f"userns: {directory} is closed to other users; open it to them: chmod o+x {directory}")
        os.chmod(directory, mode & 0o7777 | 0o001)


def _give_away(upper: str, owner: tuple[int, int]) -> None:
    """A new container's writable layer to its root; what is somebody's already may be so because it was changed."""
    found = os.stat(upper)
    if (found.st_uid, found.st_gid) == (0, 0):
        os.chown(upper, *owner)


def save_definition(paths: Paths, container: Container) -> None:
    """Change the definition of a container that is there; layers and cgroup stay. NotFound where it is not."""
    definition = read_definition(paths, container.name)
    _write(paths, Definition(container, definition.layers, definition.cgroups_path))


def remove_bundle(paths: Paths, name: str) -> None:
    """Remove a container's files; the definition goes first, so that a removal cut short is still a removal."""
    bundle = paths.container(name)
    remove_if_exists(os.path.join(bundle, "container.json"))
    shutil.rmtree(bundle, ignore_errors=True)
    shutil.rmtree(paths.container_run(name), ignore_errors=True)
    if os.path.isdir(bundle):
        raise KernelError("removing a container's files", OSError(16, "still in use", bundle))


def list_containers(paths: Paths) -> list[str]:
    """The names of all containers that have a definition."""
    directory = paths.containers
    names = list_directory(directory)
    return [name for name in names if os.path.exists(os.path.join(directory, name, "container.json"))]


def read_definition(paths: Paths, name: str) -> Definition:
    """The definition of a container. Raises NotFound, StateCorrupt."""
    path = os.path.join(paths.container(name), "container.json")
    values = read_json(path)
    if values is None:
        raise NotFound("container", name, "`stowage ps --all` shows those that are")
    try:
        return Definition(parse_container(values["container"]), values["layers"], values["cgroups_path"])
    except (KeyError, TypeError, ValueError) as error:
        raise StateCorrupt(path, f"not a definition of ours ({error})") from error


def _write(paths: Paths, definition: Definition) -> None:
    values = {
        "container": asdict(definition.container),
        "layers": definition.layers,
        "cgroups_path": definition.cgroups_path,
    }
    write_json(os.path.join(paths.container(definition.container.name), "container.json"), values)


def parse_container(values: dict[str, Any]) -> Container:
    """A Container out of what ``dataclasses.asdict`` and JSON made of it; what an older engine wrote lacks fields."""
    made: dict[str, Any] = {}
    for name, value in values.items():
        if name in _ITEMS:
            made[name] = tuple(_ITEMS[name](**_frozen(item)) for item in value)
        elif name in _PARTS:
            made[name] = _PARTS[name](**_frozen(value))
        else:
            made[name] = _frozen(value)
    return Container(**made)


def _frozen(value: Any) -> Any:
    """Lists as the model's tuples, at any depth."""
    if isinstance(value, dict):
        return {key: _frozen(item) for key, item in value.items()}
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
