# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the content of an image is to be had: what containers-registries.conf(5), version 2, says of its name.

Read are ``[[registry]]`` tables with ``prefix``, ``location``, ``insecure``, ``blocked``, ``mirror-by-digest-only`` and
``[[registry.mirror]]`` tables with ``location``, ``insecure`` and ``pull-from-mirror``. What the file says of short
names means nothing here: a short name is one of docker.io.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from ...errors import RegistryError
from ...linux.files import list_directory
from .toml import TomlError, parse_toml

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SYSTEM = "/etc/containers/registries.conf"
_BOUNDARIES = ("", "/", ":", "@")


class Place(NamedTuple):
    """A repository at a registry. ``serves`` are the kinds of version that it may be asked for."""

    registry: str
    repository: str
    insecure: bool = False
    serves: tuple[str, ...] = ("digest", "tag")


def find_places(registry: str, repository: str) -> list[Place]:
    """Where to pull from, in order: mirrors, and last where the name itself leads. Raises RegistryError."""
    path, table = _find_table(f"{registry}/{repository}")
    if table is None:
        return [Place(registry, repository)]
    if table.get("blocked") is True:
        raise RegistryError(f"registry {registry}: {path} says that {table['prefix']} is blocked")
    mirrors = table.get("mirror")
    found = []
    for mirror in mirrors if isinstance(mirrors, list) else ():
        if not isinstance(mirror, dict) or not isinstance(mirror.get("location"), str):
            raise RegistryError(f"{path}: a mirror of {table['prefix']} has no location")
        which = "digest-only" if table.get("mirror-by-digest-only") is True else mirror.get("pull-from-mirror") or "all"
        if which not in ("all", "digest-only", "tag-only"):
            raise RegistryError(f"{path}: a mirror of {table['prefix']} has pull-from-mirror = {which!r}")
        place = _place(registry, repository, table["prefix"], mirror)
        found.append(place if which == "all" else place._replace(serves=(which.partition("-")[0],)))
    return [*found, _place(registry, repository, table["prefix"], table)]


def find_push_place(registry: str, repository: str) -> Place:
    """Where to push to: the file speaks of pulling, save for what is blocked, and what is insecure."""
    path, table = _find_table(f"{registry}/{repository}")
    if table is None:
        return Place(registry, repository)
    if table.get("blocked") is True:
        raise RegistryError(f"registry {registry}: {path} says that {table['prefix']} is blocked")
    return Place(registry, repository, insecure=table.get("insecure") is True)


def _place(registry: str, repository: str, prefix: str, table: dict[str, Any]) -> Place:
    """The name with ``location`` in place of ``prefix``."""
    name, location = f"{registry}/{repository}", table.get("location")
    if isinstance(location, str) and location:
        matched = prefix
        if prefix.startswith("*."):  # it stands for the whole host; a port that it says nothing of stays
            matched = registry if registry.endswith(prefix[1:]) else _host(registry)
        name = location + name[len(matched) :]
    host, _slash, path = name.partition("/")
    return Place(host, path, insecure=table.get("insecure") is True)


def _find_table(name: str) -> tuple[str, dict[str, Any] | None]:
    """The file and its table whose prefix is the longest of those that ``name`` begins with."""
    tables: dict[str, tuple[str, dict[str, Any]]] = {}
    for path in _files():
        for table in _read(path):
            prefix = table.get("prefix") or table.get("location")
            if not isinstance(prefix, str) or not prefix:
                raise RegistryError(f"{path}: a [[registry]] has neither prefix nor location")
            tables[prefix] = path, {**table, "prefix": prefix}  # the last file that speaks of it counts
    fitting = [prefix for prefix in tables if _matches(prefix, name)]
    best = max(fitting, key=lambda prefix: (not prefix.startswith("*."), len(prefix)), default=None)
    return tables[best] if best is not None else ("", None)


def _matches(prefix: str, name: str) -> bool:
    if prefix.startswith("*."):
        registry = name.partition("/")[0]
        return registry.endswith(prefix[1:]) or _host(registry).endswith(prefix[1:])
    return name.startswith(prefix) and name[len(prefix) : len(prefix) + 1] in _BOUNDARIES


def _host(registry: str) -> str:
    """Without its port. Addresses of IPv6 are in brackets, and no wildcard fits them."""
    return registry.partition(":")[0]


def _files() -> list[str]:
    """The file, the user's own before the system's, and what stands beside it in registries.conf.d."""
    environment = os.environ
    if own := environment.get("CONTAINERS_REGISTRIES_CONF"):
        path = own
    else:
        home = os.path.join(environment.get("HOME") or "/root", ".config/containers/registries.conf")
        path = home if os.path.exists(home) else _SYSTEM
    directory = f"{path}.d"
    beside = [os.path.join(directory, name) for name in list_directory(directory) if name.endswith(".conf")]
    return [path, *beside]


def _read(path: str) -> list[dict[str, Any]]:
    try:
        with open(path, encoding="utf-8") as file:
            tables = parse_toml(file.read()).get("registry") or []
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise RegistryError(f"{path}: it cannot be read ({error})") from error
    except TomlError as error:
        raise RegistryError(f"{path}: {error}") from error
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise RegistryError(f"{path}: registry is no array of tables")
    return tables
