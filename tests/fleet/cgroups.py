# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The cgroups of a fleet's hosts: one in every hierarchy that is mounted, whatever the version.

v1: beneath the cgroup that the caller is in, so that the caller's own limits go on holding. v2: beneath the top of
the mount, since controllers pass only through cgroups that hold no process ("no internal processes",
Documentation/admin-guide/cgroup-v2.rst) and a session's scope holds some.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .errors import FleetError
from .process import kill

TOP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Hierarchy:
    """A mounted hierarchy. `options` mounts it again; `own` is the directory of this process's cgroup."""

    mount: Path
    version: int
    options: str
    own: Path

    @property
    def unified(self) -> bool:
        """True on a pure v2 machine, where this hierarchy has all the controllers."""
        return self.mount == TOP


def observe_hierarchies() -> list[Hierarchy]:
    memberships = dict(_parse_membership(line) for line in Path("/proc/self/cgroup").read_text().splitlines())
    found: dict[Path, Hierarchy] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _rest, tail = line.partition(" - ")
        root, target = fields.split()[3:5]
        kind, _rest, flags = tail.split()
        mount = Path(target)
        if kind not in ("cgroup", "cgroup2") or TOP not in (mount, mount.parent):
            continue
        options = ",".join(sorted(set(flags.split(",")) - {"rw", "ro"})) if kind == "cgroup" else ""
        path = memberships.get("" if kind == "cgroup2" else _controllers(options), "/")
        own = mount / os.path.relpath(path, root) if path.startswith(root) else mount
        if "name=" in options:
            options = f"none,{options}"
        found[mount] = Hierarchy(mount, 2 if kind == "cgroup2" else 1, options, own)
    if not found:
        raise FleetError(f"no cgroup hierarchy is mounted below {TOP}; mount one: mount -t cgroup2 cgroup2 {TOP}")
    return list(found.values())


def _parse_membership(line: str) -> tuple[str, str]:
    _rest, controllers, path = line.split(":", 2)
    return ",".join(sorted(controllers.split(","))), path


def _controllers(options: str) -> str:
    """The part of v1 mount options that names the hierarchy, as /proc/self/cgroup spells it."""
    flags = {"xattr", "noprefix", "clone_children", "cpuset_v2_mode", "favordynmods"}
    return ",".join(o for o in options.split(",") if o not in flags and not o.startswith("release_agent="))


def make(hierarchy: Hierarchy, name: str) -> Path:
    """Makes a host's cgroup; a process can join it right away."""
    parent = hierarchy.own if hierarchy.version == 1 else hierarchy.mount
    if hierarchy.unified:
        _enable_controllers(parent)
    path = parent / name
    path.mkdir(exist_ok=True)
    if (path / "cpuset.mems").exists() and hierarchy.version == 1:  # v1: empty at first, and no task may join then
        for knob in ("cpuset.cpus", "cpuset.mems"):
            (path / knob).write_text((parent / knob).read_text())
    return path


def _enable_controllers(path: Path) -> None:
    missing = sorted(
        set((path / "cgroup.controllers").read_text().split())
        - set((path / "cgroup.subtree_control").read_text().split())
    )
    try:
        if missing:
            (path / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in missing))
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        raise FleetError(
            f"{path}/cgroup.subtree_control refuses {missing}: {path} holds processes and is not the "
            "real root (a container's cgroup namespace?); start that container with --cgroupns=host, "
            f"or move its processes to a leaf: mkdir {path}/init, write each pid to its cgroup.procs"
        ) from error


def find(prefix: str) -> Iterator[Path]:
    """Every cgroup whose name starts so, children first, in all hierarchies."""
    for top in {str(hierarchy.mount) for hierarchy in observe_hierarchies()}:
        for path, _rest, _rest in os.walk(top, topdown=False):
            if any(part.startswith(prefix) for part in path[len(top) :].split("/")):
                yield Path(path)


def pids(path: Path) -> list[int]:
    try:
        return [int(pid) for pid in (path / "cgroup.procs").read_text().split() if pid != "0"]
    except OSError:  # removed meanwhile
        return []


def _holds(path: Path, pid: int) -> bool:
    return pid in pids(path)


def remove(prefix: str, timeout: float = 10) -> None:
    """Ends what runs in the cgroups whose names start so, and removes them with all that was made inside."""
    end = time.monotonic() + timeout
    while left := list(find(prefix)):
        for path in left:
            for pid in pids(path):
                kill(pid, partial(_holds, path, pid))
        for path in left:
            try:
                path.rmdir()
            except FileNotFoundError:
                pass
            except OSError as error:
                if error.errno != errno.EBUSY or time.monotonic() > end:
                    raise FleetError(
                        f"cannot remove cgroup {path}: {error.strerror}; it holds pids {pids(path)}"
                    ) from error
        time.sleep(0.005)
