# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an entry of ``mounts`` must be, told before anything is mounted (runtime-spec, config.md, Mounts)."""

from __future__ import annotations

import os

from ...errors import InvalidOption
from ...linux import mount as m
from ...linux.mount import MAX_DATA
from ..steps.mount_options import MountOptions, parse_mount_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def validate_mounts(spec: Mapping[str, Any], namespaces: Mapping[str, str]) -> None:
    """Raise InvalidOption at the first entry that cannot be meant. ``namespaces`` are those of the container."""
    for index, entry in enumerate(spec.get("mounts") or ()):
        where = f"mounts[{index}]"
        options = parse_mount_options(entry.get("options") or (), entry.get("type") or "")
        if os.path.normpath("/" + entry["destination"].lstrip("/")) == "/":
            raise InvalidOption(f"{where}.destination", entry["destination"], "a path below the root")
        _check_mappings(where, entry, options, user_namespace="user" in namespaces)
        _check_kind(where, entry, options)
        _check_options(where, entry, options)


def _check_kind(where: str, entry: Mapping[str, Any], options: MountOptions) -> None:
    if options.bind:
        if not entry.get("source") and not options.flags & m.MS_REMOUNT:
            raise InvalidOption(f"{where}.source", entry.get("source"), "a path of the host to bind")
    elif not entry.get("type") and not options.flags & m.MS_REMOUNT:
        raise InvalidOption(f"{where}.type", entry.get("type"), "a file system, or bind or rbind among the options")


def _check_options(where: str, entry: Mapping[str, Any], options: MountOptions) -> None:
    given = list(entry.get("options") or ())
    size = len(os.fsencode(options.data))
    if not options.bind and size > MAX_DATA:
        expected = f"at most {MAX_DATA} bytes for the file system (mount(2)), not {size}"
        raise InvalidOption(f"{where}.options", f"{options.data[:40]}...", expected)
    if options.copy_up and entry.get("type") != "tmpfs":
        raise InvalidOption(f"{where}.options", given, "tmpcopyup on a tmpfs alone")
    links = options.copy_link + options.source_link + options.target_link
    if links and not options.bind:
        raise InvalidOption(f"{where}.options", given, "copy-symlink, src-nofollow, dest-nofollow with bind or rbind")
    if options.copy_link and links > 1:
        raise InvalidOption(f"{where}.options", given, "copy-symlink without src-nofollow and dest-nofollow")


def _check_mappings(where: str, entry: Mapping[str, Any], options: MountOptions, *, user_namespace: bool) -> None:
    for item in options.parameters:
        if item.startswith(("idmap=", "ridmap=")):
            raise InvalidOption(f"{where}.options", item, "idmap or ridmap, the mapping as uidMappings and gidMappings")
    for name, other in (("uidMappings", "gidMappings"), ("gidMappings", "uidMappings")):
        if entry.get(other) and not entry.get(name):
            raise InvalidOption(f"{where}.{name}", entry.get(name), f"a mapping to go with {other}")
    if not (entry.get("uidMappings") or options.id_map):
        return
    if not options.bind:
        raise InvalidOption(f"{where}.options", list(entry.get("options") or ()), "a mapping for a bind mount alone")
    if not entry.get("uidMappings") and not user_namespace:
        expected = f"a mapping, because {options.id_map} is asked for and there is no user namespace to take it from"
        raise InvalidOption(f"{where}.uidMappings", None, expected)
