# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The entries of ``mounts``, as operations (runtime-spec, config.md, Mounts).

A bind mount is made aside, gets its attributes, its identities and its propagation there, and is then put on what was
opened inside the root (linux/mount_api.py): nothing is looked up twice, so nothing can be swapped meanwhile
(CVE-2021-30465). New file systems, which nobody else knows, are mounted with mount(2), that is faster, unless something
is to be done to them after.
"""

from __future__ import annotations

import errno
import os
import stat

from ...linux import mount as m
from ...linux.lean import Descriptor
from ...linux.mount import mount
from ...linux.mount_api import (
    AT_FDCWD,
    AT_RECURSIVE,
    AT_SYMLINK_NOFOLLOW,
    OPEN_TREE_CLONE,
    make_mount,
    move_mount,
    open_tree,
)
from ...linux.mount_setattr import MOUNT_ATTR_IDMAP, MOUNT_ATTR_RDONLY, has_mount_setattr, mount_setattr
from ...linux.openat2 import RESOLVE_NO_SYMLINKS, Root, fd_path
from ...linux.procfs import PROC_SUPER_MAGIC, fstatfs_type
from .mount_options import MountOptions
from .operations import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

# The kernel's own file systems: nothing that an image contains may move them elsewhere (CVE-2019-19921).
_FIXED = ("/proc", "/sys", "/dev")
_FIXED_TYPES = ("proc", "sysfs")
# Files of procfs that may be covered, because lxcfs has better ones, as runc allows it. All else in it says what the
# kernel is asked or told, and a container whose /proc is partly something else can be lied to (CVE-2023-27561).
_COVERED = frozenset(
    [
        *("/proc/cpuinfo", "/proc/diskstats", "/proc/meminfo", "/proc/stat", "/proc/swaps", "/proc/uptime"),
        *("/proc/loadavg", "/proc/slabinfo", "/proc/sys/kernel/ns_last_pid", "/proc/sys/crypto/fips_enabled"),
    ]
)


class MountFilesystem(Operation):
    """One entry. ``tree`` is its source where somebody with more rights has opened it, and perhaps ``mapped`` it;
    ``fetch`` asks them for one when it is its turn. ``id_map`` is a user namespace to map it by."""

    def __init__(self, root: Root, source: str, destination: str, fstype: str, options: MountOptions) -> None:
        self.root = root
        self.source = source
        self.destination = destination
        self.fstype = fstype
        self.options = options
        self.tree = -1
        self.mapped = False
        self.id_map = -1
        self.fetch: Callable[[], int] | None = None

    def __str__(self) -> str:
        if self.options.bind:
            return f"bind {self.source} on {self.destination}"
        return f"mount {self.fstype or self.source} on {self.destination}"

    @property
    def read_only_later(self) -> bool:
        """Whether the container's own devices and mounts must find room in it before it becomes read-only."""
        in_memory = self.fstype == "tmpfs" or self.destination == "/dev"
        return bool(in_memory and not self.options.bind and self.options.flags & m.MS_RDONLY)

    def execute(self) -> None:
        options = self.options
        if options.flags & m.MS_REMOUNT or not has_mount_setattr():
            from .classic_mounts import mount_classic  # for kernels before 5.12, and a rare option

            mount_classic(self)
        elif options.bind:
            self._bind()
        elif self.read_only_later or options.copy_up or options.propagation or options.has_recursive():
            self._mount_aside()
        else:
            found = self.find_target()
            data = ",".join([*self.inherited_mode(found), *options.quoted_parameters()])
            with found or self.make_target() as target:
                mount(self.source or self.fstype, fd_path(target), self.fstype, options.flags, data)

    def _bind(self) -> None:
        options = self.options
        if options.copy_link and os.path.islink(self.source):
            copy_link(self.root, self.source, self.destination)
            return
        with Descriptor(self._open_source()) as tree:
            if self.id_map >= 0:
                map_identities(tree, self.source, self.id_map, recursive=options.id_map == "ridmap")
            if self.destination == "/proc" and fstatfs_type(tree) != PROC_SUPER_MAGIC:
                raise OSError(errno.EPERM, "only a procfs may be mounted there")
            directory = stat.S_ISDIR(os.fstat(tree).st_mode)
            if self.options.has_flags():
                self._set_flags(tree)
            with self.find_target() or self.make_target(directory=directory) as target:
                self._attach(tree, target)

    def _open_source(self) -> int:
        if self.fetch:
            return self.fetch()
        if self.mapped:
            return os.dup(self.tree)
        try:
            # A source that an earlier entry has made or covered in the container counts as it is now.
            return clone_source(self.source, self.options)
        except OSError:
            if self.tree < 0:
                raise
            # Below a directory that only the host's root may enter; or something is mounted below, and root of a user
            # namespace may not look under that (mount_namespaces(7), EINVAL).
            return os.dup(self.tree)

    def _mount_aside(self) -> None:
        """A new file system to which something is done before it is seen, or after it is filled."""
        options = self.options
        parameters = options.file_system_parameters()
        if self.read_only_later:
            parameters.remove("ro")
        attr_set = options.attributes()[0] & ~(MOUNT_ATTR_RDONLY if self.read_only_later else 0)
        found = self.find_target()
        parameters = [*self.inherited_mode(found), *parameters]
        with found or self.make_target() as target:
            tree = make_mount(self.fstype, self.source or self.fstype, parameters, attr_set)
            try:
                if options.copy_up:
                    from .copy_up import copy_up  # few ask for it

                    copy_up(target, tree)
                self._attach(tree, target)
            except BaseException:
                os.close(tree)
                raise
        if self.read_only_later:
            self.tree = tree
        else:
            os.close(tree)

    def _set_flags(self, tree: int) -> None:
        try:
            mount_setattr(tree, *self.options.attributes())
        except PermissionError:
            mount_setattr(tree, *self.options.attributes_beside(os.fstatvfs(tree).f_flag))

    def _attach(self, tree: int, target: int) -> None:
        options = self.options
        if options.has_recursive():
            mount_setattr(tree, options.recursive_set, options.recursive_clear, recursive=True)
        for flags in options.propagation:
            mount_setattr(tree, 0, 0, propagation=flags & ~m.MS_REC, recursive=bool(flags & m.MS_REC))
        move_mount(tree, target)

    def find_target(self) -> Descriptor | None:
        """What is at the destination, if it may be covered."""
        flags = os.O_PATH | (os.O_NOFOLLOW if self.options.target_link else 0)
        try:
            found = self.root.find(self.destination, flags, RESOLVE_NO_SYMLINKS if self._fixed() else 0)
        except OSError as error:
            if error.errno == errno.ELOOP and self._fixed():
                told = "must be mounted on ordinary directory, not by way of symbolic links"
                raise OSError(errno.ELOOP, told) from error
            raise
        if found is not None:
            try:
                self._check_target(found.fd)
            except BaseException:
                os.close(found.fd)
                raise
        return found

    def make_target(self, *, directory: bool = True) -> Descriptor:
        """An empty directory or file at the destination."""
        return self.root.make(self.destination, directory=directory)

    def _fixed(self) -> bool:
        return self.destination in _FIXED or (self.fstype in _FIXED_TYPES and not self.options.bind)

    def _check_target(self, target: int) -> None:
        if self.destination == "/proc" or fstatfs_type(target) != PROC_SUPER_MAGIC:
            return
        inside = os.readlink(fd_path(target))[len(os.readlink(fd_path(self.root.fd)).rstrip("/")) :]
        if inside not in _COVERED:
            raise OSError(errno.EPERM, f"it is inside of a procfs ({inside})")

    def inherited_mode(self, found: Descriptor | None) -> list[str]:
        """A tmpfs has the mode of the directory that it covers, unless it is given one (as runc has it)."""
        given = self.options.file_system_parameters()
        if self.fstype != "tmpfs" or found is None or any(item.startswith("mode=") for item in given):
            return []
        return [f"mode={stat.S_IMODE(os.fstat(found.fd).st_mode):o}"]


def destination_of(entry: Mapping[str, Any], rootfs: str) -> str:
    """The absolute path in the container; as for runc, it may begin with the path of the root on the host."""
    path: str = os.path.normpath("/" + entry["destination"].lstrip("/"))
    root = os.path.normpath(rootfs)
    return path[len(root) :] if path.startswith(root + "/") else path


class FinishReadOnly(Operation):
    """Take away the right to write to a file system in memory that has been filled."""

    def __init__(self, mounted: MountFilesystem) -> None:
        self.mounted = mounted

    def __str__(self) -> str:
        return f"make {self.mounted.destination} read-only"

    def execute(self) -> None:
        mounted = self.mounted
        if mounted.tree < 0:
            from .classic_mounts import remount_read_only  # for kernels before 5.12

            remount_read_only(mounted.root, mounted.destination)
            return
        with Descriptor(mounted.tree) as tree:
            mount_setattr(tree, MOUNT_ATTR_RDONLY, 0)


def clone_source(source: str, options: MountOptions) -> int:
    """A copy of the mount at the source of a bind mount, not mounted yet."""
    flags = OPEN_TREE_CLONE | (AT_RECURSIVE if options.flags & m.MS_REC else 0)
    return open_tree(AT_FDCWD, source, flags | (AT_SYMLINK_NOFOLLOW if options.source_link else 0))


def map_identities(tree: int, source: str, user_namespace: int, *, recursive: bool) -> None:
    """Have a mount show its files' owners as ``user_namespace`` maps them (mount_setattr(2), MOUNT_ATTR_IDMAP)."""
    try:
        mount_setattr(tree, MOUNT_ATTR_IDMAP, 0, userns_fd=user_namespace, recursive=recursive)
    except OSError as error:
        why = f"{error.strerror}: its file system, or one below it, has no idmapped mounts on this kernel"
        raise OSError(error.errno, why if error.errno == errno.EINVAL else error.strerror, source) from error


def copy_link(root: Root, source: str, destination: str) -> None:
    """Make the symbolic link ``source`` anew at ``destination``, unless it is there (crun(1), copy-symlink)."""
    target = os.readlink(source)
    parent, name = root.parent(destination)
    with parent as fd:
        try:
            os.symlink(target, name, dir_fd=fd)
        except FileExistsError:
            try:
                if os.readlink(name, dir_fd=fd) == target:
                    return
            except OSError:
                pass
            raise OSError(errno.EEXIST, f"there is something else than a link to {target}", destination) from None
