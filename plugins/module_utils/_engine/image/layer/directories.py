# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The unpacked layers of a host, a directory each under ``layers/``, named after its diff_id.

Promises: what has its name is whole; what a killed run left under a ``.partial`` name is never mounted, and is cleared.
"""

from __future__ import annotations

import contextlib
import os

from ...linux.files import list_directory, sync_filesystem
from .unpack import OPAQUE_XATTR, PARTIAL, remove_tree, unpack_layer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ...paths import Paths
    from ..manifest import Descriptor
    from ..store import Store


def install_layers(paths: Paths, store: Store, layers: Iterable[tuple[Descriptor, str]]) -> None:
    """Unpack those (blob, diff_id) that this host lacks; all are durable before the first is in place.

    Only inside write_store(). What a killed run left half-unpacked is unpacked anew.
    """
    present = observe_layers(paths)
    missing = {diff_id: descriptor for descriptor, diff_id in layers if diff_id not in present}
    try:
        for diff_id, descriptor in missing.items():
            with store.open_blob(descriptor) as file:
                unpack_layer(file, paths.layer(diff_id), diff_id)
        if missing:
            sync_filesystem(paths.layers)
        for diff_id in missing:
            os.rename(paths.layer(diff_id) + PARTIAL, paths.layer(diff_id))
    except BaseException:
        for diff_id in missing:
            remove_tree(paths.layer(diff_id) + PARTIAL)
        raise


def observe_layers(paths: Paths) -> set[str]:
    """The diff_ids whose directory is there, whole."""
    names = (name for name in list_directory(paths.layers) if not name.endswith(PARTIAL))
    return {name.replace("-", ":", 1) for name in names}


def lower_directories(paths: Paths, layers: Sequence[str]) -> list[str]:
    """The directories to mount for an image's ``layers`` (diff_ids, the lowest first), from the topmost to the lowest.

    A layer whose root is opaque hides all below it. The kernel looks at that attribute on every directory but the
    root (measured on Linux 6.18), so what is hidden is left out here.
    """
    directories = []
    for diff_id in reversed(layers):
        directories.append(paths.layer(diff_id))
        with contextlib.suppress(OSError):  # ENODATA: the usual case
            if os.getxattr(paths.layer(diff_id), OPAQUE_XATTR) == b"y":
                break
    return directories


def sweep_layers(paths: Paths, keep: Callable[[str], bool]) -> list[str]:
    """Remove the layers that ``keep`` does not want, and what a killed run left half-unpacked. Returns the diff_ids."""
    removed = []
    for name in list_directory(paths.layers):
        path = os.path.join(paths.layers, name)
        if name.endswith(PARTIAL):
            remove_tree(path)
        elif not keep(name.replace("-", ":", 1)):
            # Not in place any more before it is taken apart: killed in between, it is a leftover, not half a layer.
            os.rename(path, path + PARTIAL)
            remove_tree(path + PARTIAL)
            removed.append(name.replace("-", ":", 1))
    return removed
