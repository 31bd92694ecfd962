# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the store is whole: every blob is what its digest says, every unpacked layer what its archive says.

Finding damage writes nothing; restore.py mends it.
"""

from __future__ import annotations

import contextlib
import os
from typing import NamedTuple

from ..errors import DigestMismatch, EngineError, InvalidImage, NotFound
from .build.cache import cached_layers
from .gc import used_by_containers
from .layer.budget import DEFAULT_BUDGET
from .layer.compare import Comparer
from .layer.compression import LayerStream
from .layer.directories import observe_layers
from .layer.tar import TarReader
from .manifest import INDEXES, OCI_MANIFEST, Descriptor, parse_config, parse_index, parse_manifest
from .store import Store

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


def is_intact(store: Store, digest: str) -> bool:
    """Whether the blob is there and has the content that its digest says."""
    return store.is_intact(Descriptor("", digest, 0))


class Contents:
    """What the store is to hold, as images, containers and the build cache say: ``users`` is who names a digest,
    ``layers`` the blobs that are said to unpack to each diff_id."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._store = Store(paths.images)
        self.users: dict[str, set[str]] = {}
        self.blobs: dict[str, None] = {}
        self.layers: dict[str, dict[str, Descriptor]] = {}
        self.gone: list[Damage] = []  # documents without which it is not known what an image is made of

    def add_images(self, names: Iterable[str] = ()) -> None:
        """The images ``names``, or all, with what else needs layers: containers, entries without a name, the cache."""
        wanted = set(names)
        for name, descriptor in self._store.names().items():
            if not wanted or name in wanted:
                self._add(name, descriptor)
        if wanted:
            return
        for descriptor in self._store.roots():
            self._add("", descriptor)
        for blob, diff_id in cached_layers(self._paths):
            self._add_layer("", blob, diff_id)
        for digest, _layers in used_by_containers(self._paths):
            with contextlib.suppress(FileNotFoundError):
                if digest:
                    size = os.stat(self._store.blob_path(digest)).st_size
                    self._add("", Descriptor(OCI_MANIFEST, digest, size))

    def _add(self, name: str, descriptor: Descriptor) -> None:
        self._add_blob(name, descriptor)
        what, needed = name or descriptor.digest, descriptor
        try:
            content = self._store.read_blob(descriptor)
            if descriptor.media_type in INDEXES:
                for entry in parse_index(content, what):
                    if self._store.has_blob(entry):  # the image of another platform need not be here
                        self._add(name, entry)
                return
            manifest = parse_manifest(content, what)
            for blob in (manifest.config, *manifest.layers):
                self._add_blob(name, blob)
            needed = manifest.config
            config = parse_config(self._store.read_blob(needed), manifest, what)
        except NotFound as error:
            if name:
                self.gone.append(Damage("blob", needed.digest, str(error), (name,)))
            return
        except (DigestMismatch, InvalidImage):
            return  # the blob itself is told of
        for blob, diff_id in zip(manifest.layers, config["rootfs"]["diff_ids"]):
            self._add_layer(name, blob, diff_id)

    def _add_blob(self, name: str, blob: Descriptor) -> None:
        self.blobs[blob.digest] = None
        self.users.setdefault(blob.digest, set()).update([name] if name else [])

    def _add_layer(self, name: str, blob: Descriptor, diff_id: str) -> None:
        self._add_blob(name, blob)
        self.users.setdefault(diff_id, set()).update([name] if name else [])
        self.layers.setdefault(diff_id, {})[blob.digest] = blob


class _Check:
    def __init__(self, paths: Paths, names: tuple[str, ...], show: Show) -> None:
        self._paths = paths
        self._store = Store(paths.images)
        self._names = names
        self._show = show
        self._contents = Contents(paths)

    def damage(self) -> Iterator[Damage]:
        contents = self._contents
        contents.add_images(self._names)
        yield from contents.gone
        damaged = set()
        for digest in contents.blobs if self._names else self._store.blobs():
            self._show(f"blob {digest}")
            if os.path.exists(self._store.blob_path(digest)) and not is_intact(self._store, digest):
                damaged.add(digest)
                yield self._tell("blob", digest, "its content is not what its digest says")
        present = observe_layers(self._paths)
        for diff_id, blobs in contents.layers.items():
            whole = [blob for blob in blobs.values() if blob.digest not in damaged and self._store.has_blob(blob)]
            if diff_id in present and whole:
                self._show(f"layer {diff_id}")
                yield from self._compare_layer(diff_id, whole)

    def _compare_layer(self, diff_id: str, blobs: list[Descriptor]) -> Iterator[Damage]:
        """Against one of the blobs, since all are to hold the same; a configuration may lie of them."""
        why = None
        for blob in blobs:
            try:
                told = self._compare(diff_id, blob)
            except DigestMismatch:
                yield self._tell("blob", blob.digest, f"it does not unpack to the layer {diff_id}, as its image says")
                continue
            why = told if why is None else why
        if why:
            yield self._tell("layer", diff_id, why)

    def _compare(self, diff_id: str, blob: Descriptor) -> str:
        """Why the unpacked layer is not what its archive says; empty where it is. DigestMismatch: it is another's."""
        with self._store.open_blob(blob) as file:
            stream = LayerStream(file, limit=DEFAULT_BUDGET.size, algorithm=diff_id.partition(":")[0])
            try:
                found = list(Comparer(self._paths.layer(diff_id)).differences(TarReader(stream.read)))
            except (EngineError, OSError) as error:
                found = [str(error)]
            try:
                digest = stream.digest()
            except EngineError:
                digest = ""
            if digest != diff_id:
                raise DigestMismatch("layer", diff_id, digest)
        more = f" and {len(found) - _TOLD} more" if len(found) > _TOLD else ""
        return ", ".join(found[:_TOLD]) + more

    def _tell(self, kind: str, digest: str, why: str) -> Damage:
        return Damage(kind, digest, why, tuple(sorted(self._contents.users.get(digest, ()))))
