# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Idmapped binds of what earlier entries have mounted in the container, where that has a user namespace.

Its root may not map them (mount_setattr(2): CAP_SYS_ADMIN where the file system was mounted), and its creator sees them
from inside its mount namespace alone. So the init asks for such a mount when it is its turn. A process of the creator's
goes there, takes a copy of what is mounted, looked up inside the container's root, maps it and sends it over a socket
of the init's. It is in no other namespace of the container's: from there it is not seen.
"""

from __future__ import annotations

import os
import socket

from ...errors import RuntimeFailed
from ...linux import mount as m
from ...linux.lean import Descriptor
from ...linux.mount_api import AT_RECURSIVE, clone_tree
from ...linux.namespaces import CLONE_NEWNS, setns
from ...linux.openat2 import open_in_root
from ...linux.pidfd import pidfd_getfd
from .mount_options import parse_mount_options
from .mounts import map_identities
from .operations import reason
from .sources import inside_root, open_id_map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ..channel import Channel
    from ..state import State


def fetch_source(channel: Channel, index: int, root: int) -> int:
    """The init's part: the mount that ``mounts[index]`` is to be made of. ``root`` is open on the container's root."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel.tell({"stage": "source", "index": index, "root": root, "socket": theirs.fileno()})
        channel.wait()
        _data, descriptors, _flags, _address = socket.recv_fds(ours, 1, 1)
    os.set_inheritable(descriptors[0], False)
    return descriptors[0]


def send_source(state: State, spec: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """The creator's: send it, before the init is let go on. Raises RuntimeFailed."""
    entry = spec["mounts"][asked["index"]]
    path = inside_root(os.path.join(state.bundle, entry["source"]), state.values["rootfs"])
    reader, writer = os.pipe()
    with Descriptor(open_id_map(spec["linux"], entry)) as id_map, Descriptor(os.pidfd_open(state.pid)) as pidfd:
        child = os.fork()
        if child == 0:
            told = "failed"
            try:
                _send(entry, path, pidfd, id_map, asked)
                told = "sent"
            except OSError as error:
                told = reason(error.strerror or str(error))
            finally:
                os.write(writer, told.encode())
                os._exit(0)
    os.close(writer)
    with Descriptor(reader):
        told = os.read(reader, 4096).decode()
    os.waitpid(child, 0)
    if told != "sent":
        raise RuntimeFailed(f"container {state.id}: mounts[{asked['index']}]: map {path}: {told or 'killed'}")


def _send(entry: Mapping[str, Any], path: str, pidfd: int, id_map: int, asked: Mapping[str, Any]) -> None:
    options = parse_mount_options(entry.get("options") or (), entry.get("type") or "")
    root, link = pidfd_getfd(pidfd, asked["root"]), pidfd_getfd(pidfd, asked["socket"])
    setns(pidfd, CLONE_NEWNS)
    found = open_in_root(root, path, os.O_PATH | (os.O_NOFOLLOW if options.source_link else 0))
    tree = clone_tree(found, AT_RECURSIVE if options.flags & m.MS_REC else 0)
    map_identities(tree, path, id_map, recursive=options.id_map == "ridmap")
    socket.send_fds(socket.socket(fileno=link), [b"."], [tree])
