# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container whose root is an ordinary user of the host: its layers and volumes are mounted with its own ids.

The layers belong to the host's ids and are shared by all containers; an idmapped mount shows each container its own
(mount_setattr(2), MOUNT_ATTR_IDMAP; Linux 5.19 for overlayfs). What the container writes to its root is owned by its
range, also on the host's disk: nothing there can be set-user-ID to a user of the host. Volumes keep the host's ids on
the host, and have the same numbers inside.

All is mounted in the creator's own mount namespace, on a directory of the container that stays empty on the host.
Errors: RuntimeFailed, with the file system that cannot have other ids.
"""

from __future__ import annotations

import os
import stat

from ..errors import RuntimeFailed
from ..linux.lean import Descriptor, suppress
from ..linux.mount import mount, mount_overlay, observe_mounts
from ..linux.mount_api import AT_FDCWD, AT_RECURSIVE, OPEN_TREE_CLONE, move_mount, open_tree
from ..linux.mount_setattr import MOUNT_ATTR_IDMAP, mount_setattr
from ..linux.user_namespace import make_user_namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    Ids = list[tuple[int, int, int]]

_EINVAL = 22


def mount_idmapped_root(request: Mapping[str, Any]) -> None:
    """The overlay and the volumes below the run directory's ``idmapped``, where config.json expects them (spec.py)."""
    stage = os.path.join(request["run"], "idmapped")
    upper, work = (os.path.join(request["bundle"], name) for name in ("upper", "work"))
    try:
        userns = make_user_namespace(request["uid_map"], request["gid_map"])
    except OSError as error:
        told = "userns: this host makes no user namespaces (see user.max_user_namespaces, sysctl(8))"
        raise RuntimeFailed(f"{told}: {error.strerror}") from error
    try:
        mount("tmpfs", stage, "tmpfs", 0, "mode=755")
        for name, source, recursive in (
            *((f"layer{index}", path, False) for index, path in enumerate(request["layers"])),
            *((name, path, True) for name, path in request["volumes"]),
        ):
            _mount_idmapped(source, os.path.join(stage, name), userns, recursive=recursive)
        os.chdir(stage)  # the options of mount(2) are one page
        os.mkdir("rootfs")
        lower = [f"layer{index}" for index in reversed(range(len(request["layers"])))]
        if lower:
            mount_overlay("rootfs", lower=lower, upper=upper, work=work)
        else:
            _attach(open_tree(AT_FDCWD, upper, OPEN_TREE_CLONE), "rootfs")
    except OSError as error:
        raise RuntimeFailed(f"mount the layers with the container's ids: {error}") from error
    finally:
        os.chdir("/")
        os.close(userns)


def _mount_idmapped(source: str, target: str, userns: int, *, recursive: bool) -> None:
    if stat.S_ISDIR(os.stat(source).st_mode):
        os.mkdir(target)
    else:
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    tree = open_tree(AT_FDCWD, source, OPEN_TREE_CLONE | (AT_RECURSIVE if recursive else 0))
    try:
        mount_setattr(tree, MOUNT_ATTR_IDMAP, 0, recursive=recursive, userns_fd=userns)
    except OSError as error:
        os.close(tree)
        if error.errno != _EINVAL:
            raise
        release = os.uname().release
        raise RuntimeFailed(
            f"userns: {_filesystem(source)} at {source}, or something mounted below it, cannot be mounted with other "
            f"ids on Linux {release}; add noidmap to the volume, or leave userns out"
        ) from error
    _attach(tree, target)


def _attach(tree: int, target: str) -> None:
    with Descriptor(tree), Descriptor(os.open(target, os.O_PATH | os.O_CLOEXEC)) as fd:
        move_mount(tree, fd)


def _filesystem(path: str) -> str:
    """The type of the file system that ``path`` is on, for an error message."""
    with suppress(OSError):
        found = observe_mounts()
        path = os.path.realpath(path)
        while path not in found and path != "/":
            path = os.path.dirname(path)
        return found.get(path, "the file system")
    return "the file system"
