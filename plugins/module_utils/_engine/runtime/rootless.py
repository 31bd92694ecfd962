# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runtime run by an ordinary user, or by root of a user namespace such as podman makes for one.

It needs a user namespace of the container's own, or one to join; the maps are in mappings.py, the cgroups in
rootless_cgroup.py.
"""

from __future__ import annotations

import os

from ..errors import InvalidOption
from ..linux.process import in_user_namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_WANTED = {"": True, "auto": True, "true": True, "1": True, "false": False, "0": False}


def is_rootless(wanted: str) -> bool:
    """Whether this process is not the machine's root, and so may do without cgroups, unless ``--rootless=false``.

    Root has all cgroups that there are, and a container without one could open devices: for it ``true`` means nothing.
    """
    if wanted not in _WANTED:
        raise InvalidOption("--rootless", wanted, "true, false or auto")
    return _WANTED[wanted] and (os.geteuid() != 0 or in_user_namespace())


def default_root() -> str:
    """Where the states of this user's containers are kept; "": where root keeps them.

    podman's root of a user namespace is an ordinary user, too, unless it says that it is root (as in runc).
    """
    named = os.environ.get("XDG_RUNTIME_DIR") and os.environ.get("USER") != "root"
    if os.geteuid() == 0 and not (named and in_user_namespace()):
        return ""
    directory = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
    if not os.path.isdir(directory):
        expected = "a directory of this user's, because neither XDG_RUNTIME_DIR is set nor its default there"
        raise InvalidOption("--root", directory, expected)
    return os.path.join(directory, "stowage", "runtime")


def check_ordinary(spec: Mapping[str, Any]) -> None:
    """Raise InvalidOption for what the kernel lets an ordinary user have in no container."""
    linux = spec.get("linux") or {}
    types = sorted(entry["type"] for entry in linux.get("namespaces") or ())
    if "user" not in types:
        expected = "a user namespace among them: an ordinary user makes no container without (see `spec --rootless`)"
        raise InvalidOption("linux.namespaces", types, expected)
    if linux.get("netDevices"):
        expected = "nothing: an ordinary user gives no interface away"
        raise InvalidOption("linux.netDevices", linux["netDevices"], expected)
    for index, entry in enumerate(spec.get("mounts") or ()):
        mapped = {"idmap", "ridmap"} & {option.partition("=")[0] for option in entry.get("options") or ()}
        if mapped or entry.get("uidMappings"):
            expected = "a mount that is not mapped: an ordinary user may map none"
            raise InvalidOption(f"mounts[{index}].options", entry.get("options"), expected)
