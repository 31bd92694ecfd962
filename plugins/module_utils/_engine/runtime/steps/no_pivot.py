# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A root without pivot_root(2), which cannot be had where / is an initramfs (``--no-pivot``): moved over / instead.

The host's mounts stay in the namespace, out of reach below. Those of its procfs and sysfs go, or are covered: the
kernel lets a new procfs be mounted in a user namespace only where an old one is seen whole (mount_namespaces(7)), and a
container must not get one without masks by pointing at the host's.
"""

from __future__ import annotations

import errno
import os

from ...linux import mount as m
from ...linux.mount import mount, observe_whole_mounts, umount2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...linux.openat2 import Root


def move_root(root: Root) -> None:
    """Move the mount that ``root`` is open on over /, and make it this process's root."""
    inside = os.path.realpath(root.path)
    os.fchdir(root.fd)
    for path in observe_whole_mounts("proc", "sysfs"):
        if path == inside or path.startswith(inside + "/"):
            continue
        try:
            mount("none", path, flags=m.MS_SLAVE | m.MS_REC)
            umount2(path, m.MNT_DETACH)
        except OSError as error:
            if error.errno == errno.ENOENT:  # it went with another
                continue
            if error.errno not in (errno.EINVAL, errno.EPERM):
                raise
            mount("tmpfs", path, "tmpfs")  # it is locked
    mount(".", "/", flags=m.MS_MOVE)
    os.chroot(".")
