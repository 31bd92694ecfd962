# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the store is whole: every blob is what its digest says, every unpacked layer what its archive says.

Finding damage writes nothing. Damage is taken away, never mended in place: what is gone is fetched or made again by
whoever has the image (a pull, a build, a load), verified on its way. A container that runs keeps what it has mounted.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from ..errors import DigestMismatch, EngineError, InvalidImage, NotFound
from .layer.budget import DEFAULT_BUDGET
from .layer.compare import Comparer
from .layer.compression import LayerStream
from .layer.directories import install_layers, observe_layers
from .layer.tar import TarReader
from .layer.unpack import PARTIAL, remove_tree
from .manifest import INDEXES, Descriptor
from .store import Store, write_store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ..paths import Paths

    Show = Callable[[str], None]

_TOLD = 5  # differences of one layer


class Damage(NamedTuple):
    """``kind``: blob or layer; ``digest`` names it (a layer's is its diff_id); ``images`` are those it is part of."""

    kind: str
    digest: str
    why: str
    images: tuple[str, ...] = ()


def find_damage(paths: Paths, names: Iterable[str] = (), show: Show | None = None) -> list[Damage]:
    """What is damaged, of the images ``names`` or of all that the store has. ``show`` is told what is looked at.

    Raises StateCorrupt where the store's index cannot be read.
    """
    return list(_Check(paths, tuple(names), show or (lambda _line: None)).damage())


def damaged_layers(paths: Paths, name: str) -> tuple[str, ...]:
    """The diff_ids of an image's layers of which the blob or what was unpacked is damaged; in their order."""
    damage = find_damage(paths, (name,))
    descriptor = Store(paths.images).names().get(name)
    if not damage or descriptor is None:
        return ()
    manifest, config = Store(paths.images).read_image(descriptor, name)
    found = {item.digest for item in damage}
    layers = zip(manifest.layers, config["rootfs"]["diff_ids"])
    return tuple(diff_id for blob, diff_id in layers if blob.digest in found or diff_id in found)


def discard_damage(paths: Paths, damage: Iterable[Damage]) -> None:
    """Take away what find_damage() found, if it is damaged still; images that need it are incomplete from then on."""
    with write_store(paths, alone=True) as store:
        for item in damage:
            if item.kind == "layer":
                _discard_layer(paths.layer(item.digest))
            elif not _is_intact(store, item.digest):
                store.remove_blob(item.digest)


def restore_layers(paths: Paths, damage: Iterable[Damage]) -> None:
    """Unpack anew the layers that were discarded and whose blobs are whole."""
    wanted = {item.digest for item in damage if item.kind == "layer"}
    check = _Check(paths, (), lambda _line: None)
    for name, descriptor in Store(paths.images).names().items():
        list(check.note(name, descriptor))
    with write_store(paths) as store:
        layers = [(blob, diff_id) for diff_id, blob in check.layers.items() if diff_id in wanted]
        install_layers(paths, store, [(blob, diff_id) for blob, diff_id in layers if store.is_intact(blob)])


def _discard_layer(path: str) -> None:
    """Not in place any more before it is taken apart; overlays that have it mounted keep it."""
    remove_tree(path + PARTIAL)
    if os.path.isdir(path):
        os.rename(path, path + PARTIAL)
        remove_tree(path + PARTIAL)


def _is_intact(store: Store, digest: str) -> bool:
    try:
        size = os.stat(store.blob_path(digest)).st_size
    except FileNotFoundError:
        return False
    return store.is_intact(Descriptor("", digest, size))


class _Check:
    def __init__(self, paths: Paths, names: tuple[str, ...], show: Show) -> None:
        self._paths = paths
        self._store = Store(paths.images)
        self._names = names
        self._show = show
        self._users: dict[str, set[str]] = {}
        self.layers: dict[str, Descriptor] = {}

    def damage(self) -> Iterator[Damage]:
        for name, descriptor in self._store.names().items():
            if not self._names or name in self._names:
                yield from self.note(name, descriptor)
        digests = self._store.blobs() if not self._names else [d for d in self._users if d not in self.layers]
        damaged = set()
        for digest in digests:
            self._show(f"blob {digest}")
            if os.path.exists(self._store.blob_path(digest)) and not _is_intact(self._store, digest):
                damaged.add(digest)
                yield self._tell("blob", digest, "its content is not what its digest says")
        present = observe_layers(self._paths)
        for diff_id, blob in self.layers.items():
            if diff_id in present and blob.digest not in damaged and self._store.has_blob(blob):
                self._show(f"layer {diff_id}")
                why = self._compare(diff_id, blob)
                if why:
                    yield self._tell("layer", diff_id, why)

    def note(self, name: str, descriptor: Descriptor) -> Iterator[Damage]:
        """Remember what the image is made of."""
        self._users.setdefault(descriptor.digest, set()).add(name)
        if descriptor.media_type in INDEXES:
            return
        try:
            manifest, config = self._store.read_image(descriptor, name)
        except NotFound as error:
            yield Damage("blob", descriptor.digest, str(error), (name,))
            return
        except (DigestMismatch, InvalidImage):
            return  # the blob itself is told of
        for blob in (manifest.config, *manifest.layers):
            self._users.setdefault(blob.digest, set()).add(name)
        for blob, diff_id in zip(manifest.layers, config["rootfs"]["diff_ids"]):
            self._users.setdefault(diff_id, set()).add(name)
            self.layers[diff_id] = blob

    def _compare(self, diff_id: str, blob: Descriptor) -> str:
        """Why the unpacked layer is not what its archive says; empty where it is."""
        try:
            with self._store.open_blob(blob) as file:
                stream = LayerStream(file, limit=DEFAULT_BUDGET.size, algorithm=diff_id.partition(":")[0])
                found = list(Comparer(self._paths.layer(diff_id)).differences(TarReader(stream.read)))
        except (EngineError, OSError) as error:
            return str(error)
        more = f" and {len(found) - _TOLD} more" if len(found) > _TOLD else ""
        return ", ".join(found[:_TOLD]) + more

    def _tell(self, kind: str, digest: str, why: str) -> Damage:
        return Damage(kind, digest, why, tuple(sorted(self._users.get(digest, ()))))
