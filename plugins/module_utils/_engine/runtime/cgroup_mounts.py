# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What /sys/fs/cgroup is inside a container: its own part of every hierarchy of the host, v1, v2 or both."""

from __future__ import annotations

import os

from ..linux import mount as m
from ..linux.mount import mount
from ..linux.openat2 import Root, fd_path
from .mount_options import MountOptions
from .operations import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class Hierarchy:
    """A cgroup hierarchy as /proc/self/mountinfo and /proc/self/cgroup tell it."""

    def __init__(self, mount_point: str, fstype: str, controllers: str, path: str) -> None:
        self.mount_point = mount_point
        self.fstype = fstype
        self.controllers = controllers
        self.path = path


class MountCgroups(Operation):
    """Mount the host's hierarchies at ``destination``.

    In a cgroup namespace (cgroup_namespaces(7)) a new mount shows the container's cgroup as its root; else the
    container's own directory of each hierarchy is bound. With hierarchies of v1 a tmpfs holds one directory for each.
    """

    def __init__(self, root: Root, destination: str, options: MountOptions, *, namespaced: bool) -> None:
        self.root = root
        self.destination = destination
        self.options = options
        self.namespaced = namespaced

    def __str__(self) -> str:
        return f"mount the cgroups on {self.destination}"

    def execute(self) -> None:
        hierarchies = list(observe_hierarchies())
        self.root.make_directories(self.destination)
        if [found.fstype for found in hierarchies] == ["cgroup2"]:
            self._mount(hierarchies[0], self.destination)
            return
        with self.root.opened(self.destination) as fd:
            mount("cgroup", fd_path(fd), "tmpfs", self.options.flags & ~m.MS_RDONLY, "mode=755")
        for hierarchy in hierarchies:
            name = os.path.basename(hierarchy.mount_point)
            self.root.make_directories(f"{self.destination}/{name}")
            self._mount(hierarchy, f"{self.destination}/{name}")
            for controller in name.split(",") if "," in name else ():
                with self.root.opened(self.destination) as fd:
                    os.symlink(name, controller, dir_fd=fd)
        if self.options.flags & m.MS_RDONLY:
            with self.root.opened(self.destination) as fd:
                mount("none", fd_path(fd), flags=m.MS_REMOUNT | m.MS_BIND | self.options.flags)

    def _mount(self, hierarchy: Hierarchy, target: str) -> None:
        flags = self.options.flags
        with self.root.opened(target) as fd:
            if self.namespaced:
                data = "" if hierarchy.fstype == "cgroup2" else hierarchy.controllers
                mount("cgroup", fd_path(fd), hierarchy.fstype, flags & ~m.MS_RDONLY, data)
            else:
                mount(hierarchy.mount_point + hierarchy.path, fd_path(fd), flags=m.MS_BIND)
        # A flag given to the mount itself would be the super block's, which the host shares.
        with self.root.opened(target) as fd:
            mount("none", fd_path(fd), flags=m.MS_REMOUNT | m.MS_BIND | flags)


def observe_hierarchies() -> Iterator[Hierarchy]:
    """Every hierarchy that is mounted whole or in part below /sys/fs/cgroup, once."""
    paths = {}
    with open("/proc/self/cgroup", encoding="utf-8") as lines:
        for line in lines:
            number, controllers, path = line.rstrip("\n").split(":", 2)
            paths["" if number == "0" else controllers] = path
    seen = set()
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            fields = line.rstrip("\n").split(" ")
            fstype, options = fields[fields.index("-") + 1], fields[-1].split(",")
            if fstype not in ("cgroup", "cgroup2") or not fields[4].startswith("/sys/fs/cgroup"):
                continue
            for controllers, path in paths.items():
                wanted = controllers.split(",") if controllers else []
                fits = fstype == "cgroup" and wanted and set(wanted) <= set(options)
                if controllers not in seen and (fits or (fstype == "cgroup2" and not wanted)):
                    seen.add(controllers)
                    yield Hierarchy(fields[4], fstype, _mount_data(controllers), path if path != "/" else "")


def _mount_data(controllers: str) -> str:
    """cgroups(7): a hierarchy without controllers is asked for by name."""
    return f"none,{controllers}" if controllers.startswith("name=") else controllers
