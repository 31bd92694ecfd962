# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The unpacked layers of a host, a directory each under ``layers/``, named after its diff_id.

Promises: what has its name is whole; what a killed run left under a ``.partial`` name is never mounted, and is cleared;
what was replaced is kept for who has it mounted (replaced.py).
"""

from __future__ import annotations

import contextlib
import os

from ...linux.files import list_directory, sync_filesystem
from ...linux.worker import run_workers
from .. import diff_ids
from ..locks import Claims, ContentLock, wait_for
from .budget import DEFAULT_BUDGET, DEFAULT_RULES, budget_of, rules_of
from .replaced import REPLACED, is_mounted, put_in_place, sweep_replaced
from .rules import check_unpacked
from .tree import OPAQUE_XATTR
from .unpack import PARTIAL, remove_tree, unpack_layer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ...model.image import Limits
    from ...paths import Paths
    from ..manifest import Descriptor
    from ..store import Store

    # Unpacks the layer (blob, diff_id) into `<target>.partial`, and has its blob in the store.
    Install = Callable[[Descriptor, str, str], None]

_LEAST, _MOST = 3, 6  # workers: a slow line is shared by some, and each takes memory
_ZSTD = 2  # where layers are in zstd, which takes more (windows.py)


def install_layers(
    paths: Paths, store: Store, layers: Iterable[tuple[Descriptor, str]], limits: Limits | None = None
) -> None:
    """Unpack those (blob, diff_id) that this host lacks, out of the store; inside write_store().

    The blob of one that is there is read all the same, unless it is known to be that layer's.
    ``limits`` are what they may hold, those that are there already included.
    """

    def lacks(blob: Descriptor, diff_id: str) -> bool:
        return not (os.path.isdir(paths.layer(diff_id)) and diff_ids.is_known(store, blob, diff_id))

    _install_from(paths, store, layers, lacks, limits)


def replace_layers(
    paths: Paths, store: Store, layers: Iterable[tuple[Descriptor, str]], limits: Limits | None = None
) -> None:
    """Unpack those (blob, diff_id) anew, in the place of what is there, be it anything; inside write_store()."""
    wanted = list(layers)
    before = {diff_id: _inode(paths.layer(diff_id)) for _blob, diff_id in wanted}

    def lacks(_blob: Descriptor, diff_id: str) -> bool:
        return _inode(paths.layer(diff_id)) in (0, before[diff_id])

    _install_from(paths, store, wanted, lacks, limits, anew=True)


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except FileNotFoundError:
        return 0


def _install_from(
    paths: Paths,
    store: Store,
    layers: Iterable[tuple[Descriptor, str]],
    lacks: Callable[[Descriptor, str], bool],
    limits: Limits | None,
    *,
    anew: bool = False,
) -> None:
    wanted = list(layers)
    budget = (budget_of(limits) if limits else DEFAULT_BUDGET).of_image(diff_id for _blob, diff_id in wanted)
    rules = rules_of(limits) if limits else DEFAULT_RULES

    def install(blob: Descriptor, diff_id: str, target: str) -> None:
        with store.open_blob(blob) as file:
            if os.path.isdir(target) and not anew:
                diff_ids.check(file, diff_id, budget)
            else:
                unpack_layer(file, target, diff_id, budget=budget, rules=rules)
        diff_ids.note(store, blob, diff_id)

    if not anew:
        for _blob, diff_id in wanted:
            check_unpacked(paths.layer(diff_id), diff_id, rules)

    install_each(paths, wanted, lacks, install)


def install_each(
    paths: Paths,
    layers: Iterable[tuple[Descriptor, str]],
    lacks: Callable[[Descriptor, str], bool],
    install: Install,
    tick: Callable[[], None] | None = None,
) -> None:
    """Have ``install`` make the layers that the host ``lacks``, several at a time, in processes of their own.

    All are durable before the first is in place, where it replaces what is there. Several runs may do this at once: a
    layer that one makes, the others wait for. What a killed run left half-unpacked is unpacked anew.
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
        zstd = any("zstd" in blob.media_type for blob, _diff_id in layers)
        at_most = _ZSTD if zstd else max(_LEAST, min(len(os.sched_getaffinity(0)), _MOST))
        run_workers(works, at_most, tick)
        made = [diff_id for _blob, diff_id in layers if os.path.isdir(paths.layer(diff_id) + PARTIAL)]
        if made:
            sync_filesystem(paths.layers)
        for diff_id in made:
            put_in_place(paths.layer(diff_id))
    except BaseException:
        for _blob, diff_id in layers:
            remove_tree(paths.layer(diff_id) + PARTIAL)
        raise


def _work(install: Install, blob: Descriptor, diff_id: str, target: str) -> Callable[[], None]:
    return lambda: install(blob, diff_id, target)


def observe_layers(paths: Paths) -> set[str]:
    """The diff_ids whose directory is there, whole."""
    names = list_directory(paths.layers)
    return {name.replace("-", ":", 1) for name in names if not name.endswith(PARTIAL) and REPLACED not in name}


def lower_directories(paths: Paths, layers: Sequence[str]) -> list[str]:
    """The directories to mount for an image's ``layers`` (diff_ids, the lowest first), from the topmost to the lowest.

    A layer whose root is opaque hides all below it. The kernel looks at that attribute on every directory but the
    root (measured on Linux 6.18), so what is hidden is left out here.

    So is a layer that comes again above: overlayfs takes no directory twice (ELOOP), and whatever the lower one shows
    or hides, the upper one does in its stead.
    """
    directories = []
    for diff_id in dict.fromkeys(reversed(layers)):
        directories.append(paths.layer(diff_id))
        with contextlib.suppress(OSError):  # ENODATA: the usual case
            if os.getxattr(paths.layer(diff_id), OPAQUE_XATTR) == b"y":
                break
    return directories


def observe_replaced(paths: Paths) -> list[str]:
    """The diff_ids of the layers that were replaced, and that a sweep would take now."""
    names = [name for name in list_directory(paths.layers) if REPLACED in name]
    return [_diff_id_of(name) for name in names if not is_mounted(os.path.join(paths.layers, name))]


def _diff_id_of(name: str) -> str:
    """Of a layer's directory, be it one that was replaced."""
    return name.partition(REPLACED)[0].replace("-", ":", 1)


def sweep_layers(paths: Paths, keep: Callable[[str], bool]) -> list[str]:
    """Remove the layers that ``keep`` does not want, what a killed run left half-unpacked, and what was replaced and is
    not mounted. Returns the diff_ids."""
    removed = []
    for name in list_directory(paths.layers):
        path = os.path.join(paths.layers, name)
        if name.endswith(PARTIAL):
            lock = ContentLock(paths, name[: -len(PARTIAL)])
            if lock.acquire(wait=False):  # else a pull is making it
                remove_tree(path)
                lock.release()
        elif REPLACED in name:
            removed += [_diff_id_of(name)] if sweep_replaced(path) else []
        elif not keep(name.replace("-", ":", 1)):
            remove_tree(path + PARTIAL)
            # Not in place any more before it is taken apart: killed in between, it is a leftover, not half a layer.
            os.rename(path, path + PARTIAL)
            remove_tree(path + PARTIAL)
            removed.append(name.replace("-", ":", 1))
    return removed
