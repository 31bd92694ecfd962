# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the cgroup of a container is: a path of ours, or a scope of systemd's.

``cgroupsPath`` (runtime-spec, config-linux.md, "Cgroups Path") has one of two forms, and so state.json has it: a path
below the mount points, which begins with a slash, or ``slice:prefix:name``, which does not.
"""

from __future__ import annotations

from ..errors import InvalidOption

_OPTION = "linux.cgroupsPath"
_SLICE, _SCOPE = ".slice", ".scope"
_SYSTEM_SLICE = "system.slice"


def place_container(cgroups_path: str, identity: str, instance: str, *, systemd: bool) -> str:
    """The form of ``cgroups_path`` that is kept, for the container ``identity``. Raises InvalidOption.

    ``systemd`` is --systemd-cgroup: then a scope, named after ``instance`` where config.json has no path.
    """
    if systemd:
        scope = cgroups_path or f"{_SYSTEM_SLICE}:{instance}:{identity}"
        if scope.startswith(":"):
            scope = _SYSTEM_SLICE + scope
        parse_scope(scope)
        return scope
    if ":" in cgroups_path and not cgroups_path.startswith("/"):
        raise InvalidOption(_OPTION, cgroups_path, "a path; slice:prefix:name is for --systemd-cgroup")
    # A relative one is relative to a place that the runtime chooses.
    path = cgroups_path if cgroups_path.startswith("/") else f"/{instance}/{cgroups_path or identity}"
    return "/" + parse_path(path)


def is_scope(cgroups_path: str) -> bool:
    """Whether systemd has the cgroup: then other runtimes need --systemd-cgroup for it."""
    return bool(cgroups_path) and not cgroups_path.startswith("/")


def parse_path(cgroups_path: str) -> str:
    """A path below the mount points, without the leading slash. Raises InvalidOption for what could lead elsewhere."""
    parts = [part for part in cgroups_path.split("/") if part not in ("", ".")]
    if not cgroups_path.startswith("/") or not parts or ".." in parts or any("\n" in part for part in parts):
        raise InvalidOption(_OPTION, cgroups_path, "a path without '..', such as /stowage/web")
    return "/".join(parts)


def parse_scope(cgroups_path: str) -> tuple[str, str]:
    """Slice and scope of ``slice:prefix:name``. Raises InvalidOption."""
    parts = cgroups_path.split(":")
    if len(parts) != 3 or not parts[2] or "/" in cgroups_path or not _is_slice(parts[0]) or "\n" in cgroups_path:
        raise InvalidOption(
            _OPTION,
            cgroups_path,
            'to be of format "slice:prefix:name" for systemd cgroups, as system.slice:runc:web',
        )
    return parts[0], f"{parts[1]}-{parts[2]}{_SCOPE}"


def slice_path(name: str) -> str:
    """Where a slice is in the cgroup tree: ``a-b.slice`` is in ``a.slice/a-b.slice`` (systemd.slice(5))."""
    parts = name[: -len(_SLICE)].split("-")
    return "/".join("-".join(parts[: count + 1]) + _SLICE for count in range(len(parts)))


def scope_path(cgroups_path: str) -> str:
    """Where the scope of ``slice:prefix:name`` is in the cgroup tree."""
    slice_name, scope = parse_scope(cgroups_path)
    return f"{slice_path(slice_name)}/{scope}"


def _is_slice(name: str) -> bool:
    return name.endswith(_SLICE) and all(name[: -len(_SLICE)].split("-"))
