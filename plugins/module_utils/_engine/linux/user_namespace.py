# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A user namespace that is nothing but a mapping, for idmapped mounts (mount_setattr(2), MOUNT_ATTR_IDMAP)."""

from __future__ import annotations

import os

from .namespaces import CLONE_NEWUSER, clone3, write_id_map

TYPE_CHECKING = False
if TYPE_CHECKING:
    Mapping = list[tuple[int, int, int]]


def make_user_namespace(uids: Mapping, gids: Mapping) -> int:
    """A descriptor of a new one: (in the file system, as it is shown, how many) for users and for groups.

    It takes a process to make one, which ends before this returns.
    """
    reader, writer = os.pipe()
    pid, pidfd = clone3(CLONE_NEWUSER)
    if pid == 0:
        os.close(writer)
        os.read(reader, 1)  # nothing, when the other process is done or dead
        os._exit(0)
    try:
        write_id_map(f"/proc/{pid}/uid_map", uids)
        write_id_map(f"/proc/{pid}/gid_map", gids)
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(writer)
        os.waitpid(pid, 0)
        os.close(reader)
        os.close(pidfd)
