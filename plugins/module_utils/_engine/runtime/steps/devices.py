# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Devices in a container's /dev, its links and its console (runtime-spec, config-linux.md, Devices)."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct

from ...cgroup.devices import parse_devices
from ...linux import mount as m
from ...linux.lean import Descriptor, suppress
from ...linux.mount import mount
from ...linux.openat2 import RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV, Root, fd_path, openat2
from ...linux.procfs import DEVPTS_SUPER_MAGIC, fstatfs_type
from .operations import Operation
from .process import write_file

# Linux, Documentation/admin-guide/devices.txt.
DEFAULT_DEVICES = {
    "/dev/null": (1, 3),
    "/dev/zero": (1, 5),
    "/dev/full": (1, 7),
    "/dev/random": (1, 8),
    "/dev/urandom": (1, 9),
    "/dev/tty": (5, 0),
}
# What runc lets every container do: make nodes of any kind, and open the default devices and terminals. Docker's rules
# have 5:1 too, which is the host's console: a container's own is a pseudo terminal, whatever its name.
NEEDED_RULES = (
    {"allow": True, "type": "c", "access": "m"},
    {"allow": True, "type": "b", "access": "m"},
    *(
        {"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"}
        for major, minor in (*DEFAULT_DEVICES.values(), (5, 2))
    ),
    {"allow": True, "type": "c", "major": 136, "access": "rwm"},
)
PTMX = "/dev/ptmx"
DEFAULT_LINKS = {
    "/dev/fd": "/proc/self/fd",
    "/dev/stdin": "/proc/self/fd/0",
    "/dev/stdout": "/proc/self/fd/1",
    "/dev/stderr": "/proc/self/fd/2",
    "/dev/core": "/proc/kcore",
    PTMX: "pts/ptmx",
}

# asm-generic/ioctls.h; powerpc and others that count differently are not among our architectures for terminals yet.
TIOCSPTLCK = 0x40045431
TIOCGPTPEER = 0x5441
TIOCSCTTY = 0x540E
TIOCSWINSZ = 0x5414

_KINDS = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}


def device_rules(linux: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The rules of a config.json, then what every container needs. A device in /dev is not thereby allowed, as in runc:
    the node is one thing, the right to open it another."""
    rules = (linux.get("resources") or {}).get("devices") or ()
    return [*rules, *NEEDED_RULES]


class LimitDevices(Operation):
    """Which devices may be opened and made in the container's cgroup: on v1 by its files, on v2 by a program."""

    def __init__(self, task_files: Sequence[str], directory: str, rules: Sequence[Mapping[str, Any]]) -> None:
        directories = (os.path.dirname(path) for path in task_files)
        self.v1 = next((path for path in directories if os.path.exists(f"{path}/devices.deny")), "")
        self.v2 = "" if task_files else directory
        self.rules = rules

    def __str__(self) -> str:
        return "limit the devices"

    def execute(self) -> None:
        if self.v2:
            from ...cgroup.v2.devices import limit_devices  # what a v1 host never needs, and it starts each container
            from ...cgroup.v2.tree import PAYLOAD  # a v1 host has none

            # Not on the payload: that is the root of the container's own cgroup namespace, and who may write there, and
            # has CAP_SYS_ADMIN, could take the program away (BPF_PROG_DETACH takes a descriptor of the cgroup).
            parent, name = os.path.split(self.v2)
            limit_devices(parent if name == PAYLOAD else self.v2, self.rules)
        elif self.v1:
            devices = parse_devices(self.rules)
            write_file(f"{self.v1}/devices.{'allow' if devices.allows else 'deny'}", "a")
            write_file(f"{self.v1}/devices.{'deny' if devices.allows else 'allow'}", *devices.lines())


class Directories:
    """The directory that devices are made in, kept open from one to the next."""

    def __init__(self, root: Root) -> None:
        self.root = root
        self._path = ""
        self._fd = -1

    def parent(self, path: str) -> tuple[int, str]:
        """The directory that ``path`` is in, made inside the root where it is missing, and the name in it."""
        directory, name = os.path.split(path)
        if directory != self._path or self._fd < 0:
            self.close()
            self._fd, self._path = self.root.parent(path)[0].fd, directory
        return self._fd, name

    def close(self) -> None:
        """Let go of it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class MakeDevice(Operation):
    """A device node. Where mknod(2) is not allowed (in a user namespace), the host's own is bound instead."""

    def __init__(
        self,
        directories: Directories,
        path: str,
        kind: str,
        number: tuple[int, int],
        *,
        mode: int,
        owner: tuple[int, int],
    ) -> None:
        self.directories = directories
        self.path = path
        self.kind = _KINDS[kind]
        self.device = 0 if kind == "p" else os.makedev(*number)
        self.mode = mode
        self.owner = owner

    def __str__(self) -> str:
        return f"make the device {self.path}"

    def execute(self) -> None:
        directory, name = self.directories.parent(self.path)
        try:
            os.mknod(name, self.kind | self.mode, self.device, dir_fd=directory)
        except FileExistsError:
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if stat.S_ISREG(found.st_mode) and found.st_size == 0:
                self._bind(directory, name)  # what an earlier container's device was bound on
            elif stat.S_IFMT(found.st_mode) != self.kind or found.st_rdev != self.device:
                raise OSError(errno.EEXIST, "there is something else") from None
            return
        except PermissionError:
            self._bind(directory, name)
            return
        if self.owner != (0, 0):
            os.chown(name, *self.owner, dir_fd=directory, follow_symlinks=False)
        os.chmod(name, self.mode, dir_fd=directory)  # whatever the umask

    def _bind(self, directory: int, name: str) -> None:
        from .substitutes import open_host_device  # imported already in a user namespace

        with Descriptor(open_host_device(self.path, self.kind, self.device)) as source:
            with suppress(FileExistsError):
                os.mknod(name, stat.S_IFREG | 0o600, dir_fd=directory)
            flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
            with Descriptor(os.open(name, flags, dir_fd=directory)) as target:
                mount(fd_path(source), fd_path(target), flags=m.MS_BIND)


class MakeLink(Operation):
    """A symbolic link in /dev, where the image has nothing by that name, or in its place."""

    def __init__(self, directories: Directories, path: str, target: str) -> None:
        self.directories = directories
        self.path = path
        self.target = target

    def __str__(self) -> str:
        return f"link {self.path} to {self.target}"

    def execute(self) -> None:
        directory, name = self.directories.parent(self.path)
        try:
            os.symlink(self.target, name, dir_fd=directory)
        except FileExistsError:
            if self.path != PTMX:
                return
            # It must be the container's own, not one of an image (config-linux.md, Default Devices).
            os.unlink(name, dir_fd=directory)
            os.symlink(self.target, name, dir_fd=directory)


class CloseDirectories(Operation):
    """Let go of the directory of devices."""

    def __init__(self, directories: Directories) -> None:
        self.directories = directories

    def __str__(self) -> str:
        return "let go of the directory of devices"

    def execute(self) -> None:
        self.directories.close()


def plan_devices(root: Root, linux: Mapping[str, Any]) -> Iterator[Operation]:
    """The default devices, those of the configuration, and the links."""
    extra = {os.path.normpath(device["path"]): device for device in linux.get("devices") or ()}
    extra.pop(PTMX, None)
    directories = Directories(root)
    for path, number in DEFAULT_DEVICES.items():
        if path not in extra:
            yield MakeDevice(directories, path, "c", number, mode=0o666, owner=(0, 0))
    for path, device in extra.items():
        number = (device.get("major") or 0, device.get("minor") or 0)
        mode = device["fileMode"] if device.get("fileMode") is not None else 0o666
        owner = (device.get("uid") or 0, device.get("gid") or 0)
        yield MakeDevice(directories, path, device["type"], number, mode=mode & 0o7777, owner=owner)
    for path, target in DEFAULT_LINKS.items():
        yield MakeLink(directories, path, target)
    yield CloseDirectories(directories)


class OpenConsole(Operation):
    """A terminal in the container's own devpts: bound on /dev/console, made the controlling one, given to ``send``.

    The slave is opened through the master (TIOCGPTPEER, Linux 4.13), not by a path that an image could choose.
    """

    def __init__(
        self,
        root: Root,
        send: Callable[[int], None],
        *,
        size: tuple[int, int],
        owner: int,
        bind: bool = True,
        control: bool = True,
    ) -> None:
        self.root = root
        self.send = send
        self.size = size
        self.owner = owner
        self.bind = bind
        self.control = control

    def __str__(self) -> str:
        return "open a terminal in /dev/pts"

    def execute(self) -> None:
        with self._open_master() as master:
            fcntl.ioctl(master, TIOCSPTLCK, struct.pack("i", 0))
            slave = fcntl.ioctl(master, TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
            try:
                if any(self.size):
                    fcntl.ioctl(slave, TIOCSWINSZ, struct.pack("HHHH", *self.size, 0, 0))
                os.fchown(slave, self.owner, -1)
                if self.bind:
                    self._bind_console(slave)
                self.send(master)
                if self.control:
                    fcntl.ioctl(slave, TIOCSCTTY, 0)
                for fd in range(3):
                    os.dup2(slave, fd)
            finally:
                os.close(slave)

    def _open_master(self) -> Descriptor:
        """Of a devpts and nothing else: to open what an image has put there could do something. Not by way of /proc,
        whose /proc/self is not there for a process that enters from another pid namespace."""
        with self.root.opened("/dev/pts", os.O_PATH | os.O_DIRECTORY) as directory:
            if fstatfs_type(directory) != DEVPTS_SUPER_MAGIC:
                raise OSError(errno.ENODEV, "there is no devpts", "/dev/pts")
            flags = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC
            try:
                return Descriptor(openat2(directory, "ptmx", flags, resolve=RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS))
            except OSError as error:
                if error.errno != errno.ENOSYS:  # before Linux 5.6
                    raise
            return Descriptor(os.open("ptmx", flags | os.O_NOFOLLOW, dir_fd=directory))

    def _bind_console(self, slave: int) -> None:
        """Neither end by a path that an image could choose (CVE-2025-52565): a link in the place of it is refused."""
        parent, name = self.root.parent("/dev/console")
        with parent as directory:
            with suppress(FileExistsError):
                os.mknod(name, stat.S_IFREG | 0o600, dir_fd=directory)
            target = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        with Descriptor(target):
            if stat.S_ISLNK(os.fstat(target).st_mode):
                raise OSError(errno.ELOOP, "/dev/console is a symbolic link")
            mount(fd_path(slave), fd_path(target), flags=m.MS_BIND)


TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any
