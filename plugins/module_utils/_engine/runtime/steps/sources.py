# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sources of bind mounts that are opened before the init is born, by its creator, who may more than root of a new user
namespace: reach what is below directories that others may not enter, and map identities.

Which those are is for needs_sources() to say; for most containers there is none.
"""

from __future__ import annotations

import os

from ...errors import Unsupported
from ...linux.mount_setattr import has_mount_setattr
from ...linux.process import in_user_namespace
from .mount_options import parse_mount_options
from .mounts import clone_source, map_identities
from .operations import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any


MAPPINGS = ("uidMappings", "gidMappings")


class Sources:
    """Descriptors by the index of the entry in ``mounts``: detached mounts, and user namespaces to map them by; and
    which of the mounts are ``mapped`` already, or are to be asked for ``later`` (late_sources.py)."""

    def __init__(self) -> None:
        self.trees: dict[int, int] = {}
        self.mapped: set[int] = set()
        self.id_maps: dict[int, int] = {}
        self.later: set[int] = set()

    def descriptors(self) -> list[int]:
        """All of them."""
        return [*self.trees.values(), *self.id_maps.values()]

    def close(self) -> None:
        """Let go of them: whoever was born meanwhile has them too."""
        for fd in set(self.descriptors()):
            os.close(fd)
        self.trees.clear()
        self.id_maps.clear()


class OpenSources(Operation):
    """Open what the init may not."""

    def __init__(self, sources: Sources, spec: Mapping[str, Any], bundle: str) -> None:
        self.sources = sources
        self.mounts: Sequence[Mapping[str, Any]] = spec.get("mounts") or ()
        self.linux: Mapping[str, Any] = spec.get("linux") or {}
        self.bundle = bundle
        self.rootfs = os.path.join(bundle, spec["root"]["path"])
        self.now = "the sources of mounts"

    def __str__(self) -> str:
        return f"open {self.now}"

    def execute(self) -> None:
        newer = has_mount_setattr()
        user = next((n for n in self.linux.get("namespaces") or () if n["type"] == "user"), None)
        namespaces: dict[str, int] = {}
        for index, entry in enumerate(self.mounts):
            options = parse_mount_options(entry.get("options") or (), entry.get("type") or "")
            if not options.bind:
                continue
            self.now = f"mounts[{index}].source"
            source = os.path.join(self.bundle, entry.get("source") or "")
            if options.id_map or entry.get("uidMappings"):
                if not newer:
                    raise Unsupported(f"mounts[{index}]: idmapped mounts take a kernel of 5.12 or later")
                if user and inside_root(source, self.rootfs):
                    from . import late_sources  # noqa: F401 -- few have such a thing, and the init finds it imported

                    self.sources.later.add(index)
                    continue
                known = repr([entry.get(name) for name in MAPPINGS])
                if known not in namespaces:
                    namespaces[known] = open_id_map(self.linux, entry)
                self.sources.id_maps[index] = namespaces[known]
            if user is None or not newer:
                continue  # the init may do it itself, when it is that mount's turn
            try:
                self.sources.trees[index] = clone_source(source, options)
            except FileNotFoundError:
                continue  # it may be there when it is that mount's turn
            except PermissionError:
                # Root of a user namespace that does not own its mount namespace: its child does, and reaches as much.
                if index in self.sources.id_maps or not in_user_namespace():
                    raise
                continue
            if index in self.sources.id_maps:
                recursive = options.id_map == "ridmap"
                map_identities(self.sources.trees[index], source, self.sources.id_maps[index], recursive=recursive)
                self.sources.mapped.add(index)


def inside_root(source: str, rootfs: str) -> str:
    """Where a source is in the container's root, if that is what its path says; "" elsewhere."""
    path, root = os.path.normpath(source), os.path.normpath(rootfs)
    return path[len(root) :] if path.startswith(root + "/") else ""


def open_id_map(linux: Mapping[str, Any], entry: Mapping[str, Any]) -> int:
    """A user namespace to map a mount by: with mappings of the mount's own, or else the container's."""
    from ...linux.user_namespace import make_user_namespace  # few mounts are mapped

    given = entry if entry.get("uidMappings") else linux
    paths = [n["path"] for n in linux.get("namespaces") or () if n["type"] == "user" and n.get("path")]
    if given is linux and paths:
        return os.open(paths[0], os.O_RDONLY | os.O_CLOEXEC)
    uids, gids = ([(m["containerID"], m["hostID"], m["size"]) for m in given.get(name) or ()] for name in MAPPINGS)
    return make_user_namespace(uids, gids)
