# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A layer that takes another one's place, and what becomes of that one.

Promises: at every instant the layer's name means one of the two, whole; what overlays have mounted keeps its files for
as long as it is mounted: an overlay does not keep what is unlinked in its lower directories. So what was replaced stays
aside, as ``<layer>.replaced-<random>/layer``, until a sweep finds that nothing has it mounted any more.

An overlay tells the paths that it was mounted with, which mean the new layer since. So the overlays that may have the
old one are written down when it is replaced, by their device numbers (``overlays``, beside it).
"""

from __future__ import annotations

import errno
import os
import re

from ...errors import StateCorrupt
from ...linux.all_mounts import observe_all_mounts
from ...linux.files import read_json, write_json
from .unpack import PARTIAL, remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

REPLACED = ".replaced-"
# Layers that are named by descriptors (mount_overlay()), or by the places of their idmapped mounts (shim/idmapped.py).
_NAMELESS = re.compile(r"lowerdir=(layer)?[0-9]+(:(layer)?[0-9]+)*(,|$)")
_UNSUPPORTED = (errno.ENOSYS, errno.EINVAL)


def put_in_place(target: str) -> None:
    """``target``.partial, whole and durable, becomes ``target``; the layer that is there is replaced."""
    if not os.path.isdir(target):
        os.rename(target + PARTIAL, target)
        return
    from ...linux.exchange import rename_exchange  # ctypes, which most runs do without

    aside = f"{target}{REPLACED}{os.urandom(4).hex()}"
    os.mkdir(aside, 0o700)
    layer = os.path.join(aside, "layer")
    # Not under the name that partial layers have: killed after the exchange, what overlays have would go with them.
    os.rename(target + PARTIAL, layer)
    try:
        rename_exchange(layer, target)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        os.rename(target, os.path.join(aside, "old"))  # killed here, the layer is missing, and made again
        os.rename(layer, target)
        os.rename(os.path.join(aside, "old"), layer)
    users = sorted(set(_overlays_of(os.path.basename(target))))
    write_json(_overlays(aside), users, durable=False)
    sweep_replaced(aside)


def sweep_replaced(aside: str) -> bool:
    """Remove a layer that was replaced, unless something has it mounted; whether it went."""
    if is_mounted(aside):
        return False
    remove_tree(aside)
    return True


def is_mounted(aside: str) -> bool:
    """Whether something may have the layer mounted that was replaced, and is ``aside`` now. Only reads."""
    name = os.path.basename(aside)
    try:
        noted = read_json(_overlays(aside))
    except StateCorrupt:
        noted = None
    users = set(_overlays_of(name.partition(REPLACED)[0]))
    if isinstance(noted, list):  # else a killed run did not come to write it down: any may be one of them
        users &= set(noted)
    # Bind mounts, idmapped ones too, tell the name that the directory has now.
    return bool(users) or any(f"/{name}/layer" in mounted.root for mounted in observe_all_mounts())


def _overlays(aside: str) -> str:
    return os.path.join(aside, "overlays")


def _overlays_of(name: str) -> Iterator[str]:
    """The devices of the overlays that were mounted with a layer of that name, or do not tell with which."""
    for mounted in observe_all_mounts():
        if mounted.fstype == "overlay" and (name in mounted.options or _NAMELESS.search(mounted.options)):
            yield mounted.device
