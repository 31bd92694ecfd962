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
from ...linux.worker import run_workers
from ..locks import Claims, ContentLock, wait_for
from .budget import DEFAULT_BUDGET
from .tree import OPAQUE_XATTR
from .unpack import PARTIAL, remove_tree, unpack_layer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ...paths import Paths
    from ..manifest import Descriptor
    from ..store import Store

    # Unpacks the layer (blob, diff_id) into `<target>.partial`, and has its blob in the store.
    Install = Callable[[Descriptor, str, str], None]

_LEAST, _MOST = 3, 6  # workers: a slow line is shared by some, and each takes memory


def install_layers(paths: Paths, store: Store, layers: Iterable[tuple[Descriptor, str]]) -> None:
    """Unpack those (blob, diff_id) that this host lacks, out of the store; inside write_store()."""

    def lacks(_blob: Descriptor, diff_id: str) -> bool:
        return not os.path.isdir(paths.layer(diff_id))

    wanted = list(layers)
    budget = DEFAULT_BUDGET.of_image(diff_id for _blob, diff_id in wanted)

    def install(blob: Descriptor, diff_id: str, target: str) -> None:
        with store.open_blob(blob) as file:
            unpack_layer(file, target, diff_id, budget=budget)

    install_each(paths, wanted, lacks, install)


def install_each(
    paths: Paths,
    layers: Iterable[tuple[Descriptor, str]],
    lacks: Callable[[Descriptor, str], bool],
    install: Install,
    tick: Callable[[], None] | None = None,
) -> None:
    """Have ``install`` make the layers that the host ``lacks``, several at a time, in processes of their own.

    All are durable before the first is in place. Several runs may do this at once: a layer that one makes, the others
    wait for. What a killed run left half-unpacked is unpacked anew.
    """
    wanted = list(dict.fromkeys(layers))
    while True:
        lacking = [layer for layer in wanted if lacks(*layer)]
        if not lacking:
            return
        with Claims(paths) as claims:
            mine = [layer for layer in lacking if claims.claim(layer[0].digest, layer[1]) and lacks(*layer)]
            if mine:
                _install(paths, mine, install, tick)
        if not mine:
            wait_for(paths, lacking[0][1])
            wait_for(paths, lacking[0][0].digest)


def _install(
    paths: Paths, layers: Sequence[tuple[Descriptor, str]], install: Install, tick: Callable[[], None] | None
) -> None:
    # The largest first: it would else be alone at the end.
    ordered = sorted(layers, key=lambda layer: -layer[0].size)
    works = [_work(install, blob, diff_id, paths.layer(diff_id)) for blob, diff_id in ordered]
    try:
        run_workers(works, max(_LEAST, min(len(os.sched_getaffinity(0)), _MOST)), tick)
        made = [diff_id for _blob, diff_id in layers if os.path.isdir(paths.layer(diff_id) + PARTIAL)]
        if made:
            sync_filesystem(paths.layers)
        for diff_id in made:
            os.rename(paths.layer(diff_id) + PARTIAL, paths.layer(diff_id))
    except BaseException:
        for _blob, diff_id in layers:
            remove_tree(paths.layer(diff_id) + PARTIAL)
        raise


def _work(install: Install, blob: Descriptor, diff_id: str, target: str) -> Callable[[], None]:
    return lambda: install(blob, diff_id, target)


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
            lock = ContentLock(paths, name[: -len(PARTIAL)])
            if lock.acquire(wait=False):  # else a pull is making it
                remove_tree(path)
                lock.release()
        elif not keep(name.replace("-", ":", 1)):
            remove_tree(path + PARTIAL)
            # Not in place any more before it is taken apart: killed in between, it is a leftover, not half a layer.
            os.rename(path, path + PARTIAL)
            remove_tree(path + PARTIAL)
            removed.append(name.replace("-", ":", 1))
    return removed
