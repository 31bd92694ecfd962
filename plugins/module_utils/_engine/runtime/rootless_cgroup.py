# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cgroup of a container that an ordinary user makes: where the host lets it (cgroup-v2.rst, "Delegation").

Else it is that of whoever creates the container: who names neither a cgroup nor limits has nothing to lose by it.
"""

from __future__ import annotations

import os

from ..cgroup.manager import open_cgroups
from ..cgroup.place import place_container
from ..cgroup.v2.tree import own_cgroup
from ..errors import EngineError, KernelError, RuntimeFailed
from ..linux.cgroupfs import observe_hierarchies
from ..linux.files import list_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_USER_SLICE = "user.slice"


def choose_cgroup(spec: dict[str, Any], identity: str, instance: str, *, systemd: bool) -> None:
    """Make ``linux.cgroupsPath`` a path, or ``slice:prefix:name`` of the user's own systemd, or "" where the container
    shares its creator's cgroup. Raises InvalidOption, RuntimeFailed."""
    linux = spec["linux"]
    path = linux.get("cgroupsPath") or ""
    if systemd:
        path = f"{_USER_SLICE}{path}" if path.startswith(":") else path or f"{_USER_SLICE}:{instance}:{identity}"
    if systemd or path.startswith("/") or ":" in path:
        linux["cgroupsPath"] = place_container(path, identity, instance, systemd=systemd)
        return
    base = find_delegated(instance)
    linux["cgroupsPath"] = f"{base.rstrip('/')}/{path or f'{instance}-{identity}'}" if base else ""
    if not base and (path or wants_limits(linux.get("resources") or {})):
        raise RuntimeFailed(explain_no_cgroup("linux.cgroupsPath" if path else "linux.resources"))


def has_stragglers(spec: dict[str, Any]) -> bool:
    """Whether nothing ends or counts what a container leaves running: neither a cgroup nor a pid namespace."""
    linux = spec["linux"]
    own = any(entry["type"] == "pid" and not entry.get("path") for entry in linux.get("namespaces") or ())
    return not linux["cgroupsPath"] and not own


STRAGGLERS = (
    "a container without a cgroup and without a pid namespace of its own: what it starts is not ended with it. "
    "Such configuration is strongly discouraged"
)


def explain_no_cgroup(option: str) -> str:
    """Why there is none, in runc's words too, which other programs look for."""
    return (
        f"{option}: rootless needs no limits + no cgrouppath when no permission is granted for cgroups: this user may "
        "make none where this process is (/proc/self/cgroup); leave it out, or have a cgroup delegated: run it under "
        "systemd-run --user, or with --systemd-cgroup"
    )


def wants_limits(value: Any) -> bool:
    """Whether ``linux.resources`` limit anything but devices, which are not there to be opened anyway."""
    if isinstance(value, dict):
        return any(wants_limits(item) for name, item in value.items() if name != "devices")
    if isinstance(value, list):
        return any(wants_limits(item) for item in value)
    return bool(value)


def find_delegated(instance: str) -> str:
    """The topmost cgroup around this process that is this user's to divide, as a path of the v2 tree; "" for none.

    On v1 there is none: no hierarchy is ever delegated whole.
    """
    try:
        if open_cgroups(instance).kind == "v1":
            return ""
    except EngineError:
        return ""
    mount = [hierarchy.mount for hierarchy in observe_hierarchies() if hierarchy.version == 2][-1]
    found, path = "", own_cgroup()
    while os.access(mount + path, os.W_OK) and os.access(f"{mount}{path.rstrip('/')}/cgroup.procs", os.W_OK):
        found = path
        if path == "/":
            break
        path = os.path.dirname(path)
    return found


def explain_refused(error: KernelError, path: str) -> RuntimeFailed:
    """A cgroup that was asked for and cannot be made, in runc's words too."""
    return RuntimeFailed(
        f"linux.cgroupsPath: {path}: unable to apply cgroup configuration: {error}: permission denied to this user; "
        "leave it out, or let this user write there"
    )


def list_namespace(pid: int) -> list[int]:
    """The processes in the pid namespace of ``pid``: a container's, where it has one and no cgroup."""
    wanted = os.readlink(f"/proc/{pid}/ns/pid")
    if wanted == os.readlink("/proc/self/ns/pid"):
        return [pid]
    found = []
    for name in filter(str.isdigit, list_directory("/proc")):
        try:
            if os.readlink(f"/proc/{name}/ns/pid") == wanted:
                found.append(int(name))
        except OSError:  # it is gone, or another user's
            continue
    return found


def is_denied(error: BaseException) -> bool:
    """Whether the kernel refused this user something."""
    return isinstance(error, KernelError) and error.errno in (1, 13, 30)  # EPERM, EACCES, EROFS
