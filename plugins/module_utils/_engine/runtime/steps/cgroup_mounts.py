# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What /sys/fs/cgroup is inside a container: its own part of every hierarchy of the host, v1, v2 or both."""

from __future__ import annotations

import errno
import os

from ...linux import mount as m
from ...linux.files import read_whole
from ...linux.lean import Descriptor
from ...linux.mount import mount
from ...linux.mount_api import make_mount, move_mount
from ...linux.mount_setattr import has_mount_setattr, mount_setattr
from ...linux.openat2 import Root, fd_path
from .mount_options import MountOptions
from .operations import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# What is each hierarchy's and its tmpfs's whatever the options say, as runc has it.
_FLAGS = m.MS_NOSUID | m.MS_NODEV | m.MS_NOEXEC


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

    def __init__(self, root: Root, destination: str, fstype: str, options: MountOptions, *, namespaced: bool) -> None:
        self.root = root
        self.destination = destination
        self.fstype = fstype
        self.namespaced = namespaced
        options.flags |= _FLAGS
        self.options = options
        self.flags = options.flags

    def __str__(self) -> str:
        return f"mount the cgroups on {self.destination}"

    def execute(self) -> None:
        hierarchies = list(observe_hierarchies())
        if self.fstype == "cgroup2":
            hierarchies = [h for h in hierarchies if h.fstype == "cgroup2"] or [Hierarchy("", "cgroup2", "", "")]
        alone = [found.fstype for found in hierarchies] == ["cgroup2"]
        with self.root.find(self.destination) or self.root.make(self.destination) as fd:
            if alone:
                self._mount(hierarchies[0], fd_path(fd))
            else:
                mount("cgroup", fd_path(fd), "tmpfs", self.flags & ~m.MS_RDONLY, "mode=755")
        with self.root.opened(self.destination) as fd:
            names = [] if alone else self._fill(fd, hierarchies)
            self._restrict(fd, names)
            for propagation in self.options.propagation:
                mount("none", fd_path(fd), flags=propagation)

    def _fill(self, directory: int, hierarchies: list[Hierarchy]) -> list[str]:
        """The directories in the tmpfs, which is new and ours: nobody can put a link in their place. Their names."""
        names = []
        for hierarchy in hierarchies:
            name = os.path.basename(hierarchy.mount_point)
            os.mkdir(name, 0o755, dir_fd=directory)
            self._mount(hierarchy, f"{fd_path(directory)}/{name}")
            names.append(name)
            for controller in name.split(",") if "," in name else ():
                os.symlink(name, controller, dir_fd=directory)
        return names

    def _restrict(self, directory: int, names: list[str]) -> None:
        """Give the mount at ``directory``, and those in it, their flags: to be read-only would, where it is asked of
        mount(2), become the super block's, which the host may share."""
        if has_mount_setattr():
            attr_set, attr_clr = self.options.attributes()
            mount_setattr(directory, attr_set, attr_clr & ~attr_set, recursive=True)
            return
        for target in (*(f"{fd_path(directory)}/{name}" for name in names), fd_path(directory)):
            mount("none", target, flags=m.MS_REMOUNT | m.MS_BIND | self.flags)

    def _mount(self, hierarchy: Hierarchy, target: str) -> None:
        if self.namespaced or not hierarchy.mount_point:
            data = "" if hierarchy.fstype == "cgroup2" else hierarchy.controllers
            try:
                mount("cgroup", target, hierarchy.fstype, self.flags & ~m.MS_RDONLY, data)
                return
            except OSError as error:
                if error.errno == errno.EBUSY and has_mount_setattr():
                    # The same file system is there: the host's, where a user namespace has all of its /sys bound.
                    _mount_on_top(hierarchy.fstype, target)
                    return
                # A cgroup namespace that another user namespace owns.
                if error.errno != errno.EPERM or not hierarchy.mount_point:
                    raise
        mount(hierarchy.mount_point + hierarchy.path, target, flags=m.MS_BIND)


def _mount_on_top(fstype: str, target: str) -> None:
    """mount(2) refuses a second time of a file system on the same place; move_mount(2) does not."""
    place = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    with Descriptor(place), Descriptor(make_mount(fstype, "cgroup", ())) as tree:
        move_mount(tree, place)


def observe_hierarchies() -> Iterator[Hierarchy]:
    """Every hierarchy that is mounted whole or in part below /sys/fs/cgroup, once."""
    paths = {}  # what the last field of a mount has one of, to (controllers, path)
    for line in os.fsdecode(read_whole("/proc/self/cgroup")).splitlines():
        number, controllers, path = line.split(":", 2)
        paths["" if number == "0" else controllers.split(",")[0]] = controllers, path
    for line in os.fsdecode(read_whole("/proc/self/mountinfo")).splitlines():
        if " - cgroup" not in line:
            continue
        fields = line.split(" ")
        fstype, options = fields[fields.index("-") + 1], fields[-1].split(",")
        if fstype not in ("cgroup", "cgroup2") or not fields[4].startswith("/sys/fs/cgroup"):
            continue
        for name in [""] if fstype == "cgroup2" else [option for option in options if option in paths]:
            if name in paths:
                controllers, path = paths.pop(name)
                yield Hierarchy(fields[4], fstype, _mount_data(controllers), _relative(path, fields[3]))


def _relative(path: str, root: str) -> str:
    """Where ``path`` of a hierarchy is below a mount of it that begins at ``root``."""
    if root != "/" and (path + "/").startswith(root + "/"):
        path = path[len(root) :]
    return path.rstrip("/")


def _mount_data(controllers: str) -> str:
    """cgroups(7): a hierarchy without controllers is asked for by name."""
    return f"none,{controllers}" if controllers.startswith("name=") else controllers
