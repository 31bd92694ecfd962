# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What root of a user namespace has instead of what only the machine's root may do: the host's own, bound.

mount(2) of sysfs wants a network namespace that the user namespace owns, of mqueue an ipc namespace, of proc a pid
namespace (user_namespaces(7), "Interaction of user namespaces and other types of namespaces"); mknod(2) of a device
wants the first user namespace. A container that shares that namespace with its host sees the same by a bind.
"""

from __future__ import annotations

import os
import stat

from ...linux.lean import Descriptor
from ...linux.mount_api import AT_FDCWD, AT_RECURSIVE, OPEN_TREE_CLONE, move_mount, open_tree
from ...linux.mount_setattr import mount_setattr
from .mounts import MountFilesystem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..init import Init
    from .mount_options import MountOptions

# A file system, what stands for it on the host, and the namespace that the container must share with the host for that.
# The network interfaces in a bound /sys are the host's, and only their names: that is why runc's own example of a
# rootless container has it bound.
_SUBSTITUTES = {"sysfs": ("/sys", ""), "mqueue": ("/dev/mqueue", "ipc"), "proc": ("/proc", "pid")}


def plan_mount(init: Init, source: str, destination: str, fstype: str, options: MountOptions) -> MountFilesystem:
    """Mount it, or bind what stands for it where that may be."""
    substitute, namespace = _SUBSTITUTES.get(fstype, ("", ""))
    if not substitute or (namespace and init.has(namespace)):
        return MountFilesystem(init.root, source, destination, fstype, options)
    operation = MountOrBind(init.root, source, destination, fstype, options)
    operation.substitute = substitute
    return operation


class MountOrBind(MountFilesystem):
    """A file system, or where the kernel refuses that, what the host has mounted of it, with all that is below it."""

    substitute = ""

    def execute(self) -> None:
        try:
            super().execute()
        except PermissionError:
            with Descriptor(open_tree(AT_FDCWD, self.substitute, OPEN_TREE_CLONE | AT_RECURSIVE)) as tree:
                mount_setattr(tree, self.options.attributes()[0], 0, recursive=True)
                with self.find_target() or self.make_target() as target:
                    move_mount(tree, target)


def open_host_device(path: str, kind: int, number: int) -> int:
    """An O_PATH descriptor of the host's device of that type and number, at ``path`` or wherever udev(7) links it from.

    Raises OSError where the host has no node of it.
    """
    directory = "block" if kind == stat.S_IFBLK else "char"
    for candidate in (path, f"/dev/{directory}/{os.major(number)}:{os.minor(number)}"):
        try:
            fd = os.open(candidate, os.O_PATH | os.O_CLOEXEC)
        except (FileNotFoundError, PermissionError):
            continue
        found = os.fstat(fd)
        if stat.S_IFMT(found.st_mode) == kind and found.st_rdev == number:
            return fd
        os.close(fd)
    told = f"this host has no node of {directory} device {os.major(number)}:{os.minor(number)} to bind"
    raise OSError(19, f"{told}, and root of a user namespace can make none", path)
