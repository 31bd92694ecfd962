# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cgroup file systems: where they are mounted, their files, their directories. OSError always names the path."""

from __future__ import annotations

import errno
import os
import time

from .files import read_whole
from .lean import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# Options of a v1 mount that are not the names of controllers (cgroup1_show_options() in kernel/cgroup/cgroup-v1.c).
_FLAGS = frozenset(("rw", "ro", "noprefix", "xattr", "cpuset_v2_mode", "favordynmods", "clone_children"))

# So often a path is begun anew whose parents come and go; each attempt takes microseconds.
_ATTEMPTS = 1000


class Hierarchy:
    """A mounted cgroup file system. ``controllers`` is empty for v2 (there cgroup.controllers has them); a hierarchy of
    v1 without controllers has a ``name`` (cgroups(7), "Cgroups version 1"), such as ``systemd``.
    """

    def __init__(self, mount: str, version: int, controllers: frozenset[str] = frozenset(), name: str = "") -> None:
        self.mount = mount
        self.version = version
        self.controllers = controllers
        self.name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hierarchy) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash(self.mount)

    def __repr__(self) -> str:
        return f"Hierarchy{tuple(vars(self).values())}"


def observe_hierarchies() -> list[Hierarchy]:
    """The hierarchies that this process can reach, in the order of their mounts.

    Of one that is mounted more than once, the first mount: others are in a chroot, or the root of a container.
    """
    found: dict[tuple[object, ...], Hierarchy] = {}
    for hierarchy, device in parse_mountinfo(os.fsdecode(read_whole("/proc/self/mountinfo"))):
        key = hierarchy.version, hierarchy.controllers, hierarchy.name
        if key not in found and _is_on_top(hierarchy.mount, device):
            found[key] = hierarchy
    return list(found.values())


def parse_mountinfo(text: str) -> list[tuple[Hierarchy, str]]:
    """The cgroup mounts in a proc_pid_mountinfo(5), each with its device number ``major:minor``.

    The mount's root (field 4) does not matter: below the mount point lies what a cgroup namespace or a bind mount let
    us have, and we work there alone.
    """
    found = []
    for line in text.splitlines():
        fields, _rest, tail = line.partition(" - ")
        kind, _rest, options = tail.split(" ")[:3]
        if kind not in ("cgroup", "cgroup2"):
            continue
        mount = fields.split(" ")[4]
        for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
            mount = mount.replace(code, character)
        names = frozenset(name for name in options.split(",") if name not in _FLAGS and "=" not in name)
        own = next((option[5:] for option in options.split(",") if option.startswith("name=")), "")
        hierarchy = Hierarchy(mount, 1, names, own) if kind == "cgroup" else Hierarchy(mount, 2)
        found.append((hierarchy, fields.split(" ")[2]))
    return found


def _is_on_top(mount: str, device: str) -> bool:
    """Whether the mount is what its path leads to; one that lies below another mount is in mountinfo just the same."""
    try:
        number = os.stat(mount).st_dev
    except OSError:
        return False
    return f"{os.major(number)}:{os.minor(number)}" == device


def read_value(path: str) -> str | None:
    """The content of a cgroup's file without the last newline; None where there is no such file or cgroup."""
    try:
        # Unbuffered: one read(2) has all of a small file of the kernel's.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        content = os.read(fd, 4096)
        more = content
        while len(more) == 4096:
            more = os.read(fd, 4096)
            content += more
    except OSError as error:
        # The cgroup was removed in the meantime, or the file is there and its controller is not (soft limits on RT).
        if error.errno in (errno.ENODEV, errno.EOPNOTSUPP):
            return None
        raise OSError(error.errno, error.strerror, path) from error
    finally:
        os.close(fd)
    return content.decode().rstrip("\n")


def write_value(path: str, value: str) -> None:
    """Write ``value`` to a cgroup's file with one write(2), as the kernel wants it."""
    fd = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error
    finally:
        os.close(fd)


def list_cgroups(path: str) -> list[str]:
    """The names of the cgroups directly below ``path``, sorted; none where it is gone."""
    try:
        with os.scandir(path) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []


def walk_cgroups(path: str) -> Iterator[str]:
    """``path`` and every cgroup below it, children before their parents; nothing where it is gone."""
    for name in list_cgroups(path):
        yield from walk_cgroups(f"{path}/{name}")
    if os.path.isdir(path):
        yield path


def make_cgroups(mount: str, relative: str) -> bool:
    """mkdir(2) for every part of ``relative`` that is missing below ``mount``; whether the last one was.

    Again, where another process removes a parent meanwhile because nothing is in it.
    """
    for _attempt in range(_ATTEMPTS):
        with suppress(FileNotFoundError):
            return _make_path(mount, relative)
    return _make_path(mount, relative)


def _make_path(mount: str, relative: str) -> bool:
    path = f"{mount}/{relative}"
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:
        # A file of the kernel's has that name (``tasks``).
        if os.path.isfile(path):
            raise
        return False
    except FileNotFoundError:
        above = os.path.dirname(relative)
        if not above:
            raise
        _make_path(mount, above)
        os.mkdir(path, 0o755)
    return True


def list_pids(path: str) -> list[int]:
    """The processes in the cgroup ``path`` and all below it. Those of another pid namespace (0) are left out."""
    pids: list[int] = []
    for cgroup in walk_cgroups(path):
        with suppress(OSError):  # a threaded cgroup refuses (EOPNOTSUPP); its domain lists the processes
            pids += (int(pid) for pid in (read_value(f"{cgroup}/cgroup.procs") or "").split())
    return [pid for pid in pids if pid]


def remove_cgroup(path: str) -> bool:
    """rmdir(2); content where it is gone; False where something is in it (EBUSY)."""
    try:
        os.rmdir(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
            raise
        return False
    return True


def remove_tree(path: str, *, timeout: float = 2.0) -> bool:
    """Remove the cgroup and all below it, again and again for ``timeout`` seconds while processes die; False: not all.

    A process leaves its cgroup when it is reaped or close to it, a moment after a SIGKILL.
    """
    if remove_cgroup(path):  # as a rule nothing is in it
        return True
    end = time.monotonic() + timeout
    pause = 0.0005
    while [cgroup for cgroup in walk_cgroups(path) if not remove_cgroup(cgroup)]:
        if time.monotonic() >= end:
            return False
        time.sleep(pause)
        pause = min(pause * 2, 0.05)
    return True
