# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container without a mount namespace of its own: it is in the runtime's, or in one that is joined by its path
(config-linux.md, Namespaces). Its root is changed with chroot(2), and what is mounted for it is seen by all who are in
that namespace, at its root file system; so it has to be taken away when the container is deleted.
"""

from __future__ import annotations

import os

from ..errors import InvalidOption
from ..linux.cgroupfs import observe_hierarchies
from ..linux.lean import suppress
from ..linux.mount import MNT_DETACH, umount2
from ..linux.namespaces import CLONE_NEWNS, setns
from .steps.operations import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from ..linux.openat2 import Root


def check_shared_mounts(spec: Mapping[str, Any], linux: Mapping[str, Any]) -> None:
    """Refuse what would change the files of others, or be taken for the host's cgroups. Raises InvalidOption.

    Of hierarchies that the host has, whoever looks for them meets the host's own mount first (cgroupfs.py).
    """
    for index, entry in enumerate(spec.get("mounts") or ()):
        if entry.get("type") == "cgroup2" and not any(found.version == 2 for found in observe_hierarchies()):
            expected = "cgroups that the host has mounted, or a mount namespace in linux.namespaces"
            raise InvalidOption(f"mounts[{index}].type", "cgroup2", expected)
    for name in ("maskedPaths", "readonlyPaths", "rootfsPropagation"):
        if linux.get(name):
            raise InvalidOption(f"linux.{name}", linux[name], "nothing without a mount namespace in linux.namespaces")


def record_mounts(linux: Mapping[str, Any], rootfs: str) -> dict[str, Any]:
    """What drop_mounts() has to know, before anything is mounted."""
    paths = [entry.get("path") or "" for entry in linux.get("namespaces") or () if entry["type"] == "mount"]
    path = paths[0] if paths else ""
    return {"namespace": path, "mounts": _within(path, lambda: _count_mounts(rootfs))}


def drop_mounts(record: Mapping[str, Any], rootfs: str) -> None:
    """Detach what was mounted on the root file system since, and all below it. A namespace that is gone took it."""

    def drop() -> int:
        while _count_mounts(rootfs) > record["mounts"]:
            umount2(os.path.realpath(rootfs), MNT_DETACH)
        return 0

    with suppress(FileNotFoundError):
        _within(record["namespace"], drop)


def _count_mounts(rootfs: str) -> int:
    """How many mounts lie on each other there (proc_pid_mountinfo(5), whose fifth field is where)."""
    path = os.path.realpath(rootfs).replace("\\", "\\134").replace(" ", "\\040").replace("\t", "\\011")
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
        return sum(1 for line in mounts if line.split(" ", 5)[4] == path.replace("\n", "\\012"))


def _within(namespace: str, work: Callable[[], int]) -> int:
    """Do ``work``, in another mount namespace where one is named; at most 250 comes back from there."""
    if not namespace:
        return work()
    fd = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        pid = os.fork()
        if pid == 0:
            status = 255
            try:
                setns(fd, CLONE_NEWNS)
                status = min(work(), 250)
            finally:
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        os.close(fd)
    if not 0 <= status <= 250:
        raise OSError(22, "cannot look at the mounts of this namespace", namespace)
    return status


class ChangeRoot(Operation):
    """Make the root this process's, in a mount namespace that is not its own: setns(2) does not give it either."""

    def __init__(self, root: Root) -> None:
        self.root = root

    def __str__(self) -> str:
        return f"change the root to {self.root.path}, in the mount namespace of others"

    def execute(self) -> None:
        os.fchdir(self.root.fd)
        os.chroot(".")
        os.chdir("/")
        self.root.close()
