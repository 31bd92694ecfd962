# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How an image came to be, and what images share: for people to look at. Only reads."""

from __future__ import annotations

import os

from ..errors import NotFound
from ..model.history import HistoryStep, LayerNode
from ..model.reference import normalise
from .observe import observe_images
from .store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..paths import Paths


def read_history(paths: Paths, name: str) -> list[HistoryStep]:
    """The steps of an image, the last one first. Layers that no step speaks of stand by themselves. Raises NotFound."""
    store = Store(paths.images)
    found = normalise("NAME", name)
    descriptor = store.names().get(found)
    if descriptor is None:
        raise NotFound("image", found, "see: stowage images")
    manifest, config = store.read_image(descriptor, found)
    layers = list(zip(config["rootfs"]["diff_ids"], manifest.layers))
    steps = []
    told: Any = config.get("history")
    for entry in told if isinstance(told, list) else []:
        if not isinstance(entry, dict):
            continue
        step = HistoryStep(_text(entry.get("created")), _text(entry.get("created_by")), _text(entry.get("comment")))
        if entry.get("empty_layer") is not True and layers:
            diff_id, blob = layers.pop(0)
            step = step._replace(layer=diff_id, stored=blob.size, unpacked=_unpacked(paths, diff_id))
        steps.append(step)
    steps += [HistoryStep(layer=d, stored=blob.size, unpacked=_unpacked(paths, d)) for d, blob in layers]
    return steps[::-1]


def read_layer_tree(paths: Paths) -> list[LayerNode]:
    """All layers of all images: those that lie on nothing, each with what lies on it, sorted by name."""
    store = Store(paths.images)
    tree: dict[str, Any] = {}
    sizes: dict[str, int] = {}
    names: dict[tuple[str, ...], list[str]] = {}
    for name, image in observe_images(paths).items():
        manifest, _config = store.read_image(store.names()[name], name)
        sizes.update(zip(image.layers, (blob.size for blob in manifest.layers)))
        names.setdefault(image.layers, []).append(name)
        at = tree
        for diff_id in image.layers:
            at = at.setdefault(diff_id, {})

    def nodes(at: dict[str, Any], below: tuple[str, ...]) -> list[LayerNode]:
        made = []
        for diff_id, above in at.items():
            chain = (*below, diff_id)
            told = tuple(sorted(names.get(chain, ())))
            made.append(LayerNode(diff_id, sizes[diff_id], _unpacked(paths, diff_id), told, tuple(nodes(above, chain))))
        return sorted(made, key=lambda node: (_first_name(node), node.layer))

    return nodes(tree, ())


def _first_name(node: LayerNode) -> str:
    return min([*node.images, *(_first_name(other) for other in node.above)])


def _unpacked(paths: Paths, diff_id: str) -> int:
    """Bytes on disk, hard links counted once; 0 where it is not unpacked."""
    seen = set()
    total = 0
    for directory, _directories, files in os.walk(paths.layer(diff_id)):
        for name in ("", *files):
            found = os.lstat(os.path.join(directory, name))
            if found.st_ino not in seen:
                seen.add(found.st_ino)
                total += found.st_blocks * 512
    return total


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
