# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removing images: untag, then mark what something uses, then sweep the rest.

Used is what a name of the store means, what a container's definition names, its image untagged or not, the layers of
the build cache's steps, and what a running pull needs. A sweep has the store alone, but for pulls: those go on, with
what they have pinned.
"""

from __future__ import annotations

import contextlib
import os
import time

from ..errors import DigestMismatch, InvalidImage, InvalidReference, NotFound, StateCorrupt
from ..linux.files import list_directory, read_json
from ..model.prune import Garbage, StoredImage
from ..model.reference import normalise, parse_digest
from . import diff_ids
from .build.cache import cached_layers
from .build.kept_bases import kept_bases
from .layer.directories import observe_layers, observe_replaced, sweep_layers
from .locks import ContentLock, clear_content_locks, pinned
from .manifest import INDEXES, OCI_MANIFEST, Descriptor, parse_index
from .observe import observe_images
from .store import Store, write_store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container

    from ..paths import Paths

_PARTIAL_AGE = 24 * 3600  # seconds


def observe_garbage(paths: Paths, *, without: str = "", uncached: Container[str] = ()) -> Garbage:
    """What a sweep would remove, once the image ``without`` were untagged, and what is ``uncached`` had gone from the
    build cache (its names below that). Only reads."""
    store = Store(paths.images)
    blobs, layers = _mark(paths, store, normalise("name", without) if without else "", uncached)
    unused = tuple(digest for digest in store.blobs() if digest not in blobs)
    return Garbage(
        unused,
        tuple(sorted([*(observe_layers(paths) - layers), *observe_replaced(paths)])),
        sum(_size(store, digest) for digest in unused),
    )


def observe_stored(paths: Paths) -> list[StoredImage]:
    """The images that have a name, with when they came: a pull, build or load writes the manifest anew."""
    store = Store(paths.images)
    used = {digest for digest, _layers in used_by_containers(paths)}
    found = []
    for image in observe_images(paths).values():
        with contextlib.suppress(FileNotFoundError):
            at = os.stat(store.blob_path(image.digest)).st_mtime
            found.append(StoredImage(image, at, image.digest in used))
    return found


def _size(store: Store, digest: str) -> int:
    try:
        return os.stat(store.blob_path(digest)).st_size
    except FileNotFoundError:
        return 0


def remove_image(paths: Paths, name: str) -> Garbage:
    """Untag ``name`` and sweep; returns what went. Idempotent. Raises StateCorrupt before removing anything unsure."""
    with write_store(paths, alone=True) as store:
        normal = normalise("name", name)
        _mark(paths, store, normal)
        store.untag(normal)
        return _sweep(paths, store)


def sweep(paths: Paths) -> Garbage:
    """Remove every blob and layer that nothing uses; returns what went."""
    with write_store(paths, alone=True) as store:
        return _sweep(paths, store)


def _sweep(paths: Paths, store: Store) -> Garbage:
    blobs, layers = _mark(paths, store, "")
    needed = pinned(paths)
    blobs |= needed
    layers |= needed
    removed = tuple(digest for digest in store.blobs() if digest not in blobs)
    size = sum(_size(store, digest) for digest in removed)
    for digest in removed:
        store.remove_blob(digest)
    diff_ids.forget_unused(store)
    _forget_partial_blobs(paths, store)
    clear_content_locks(paths)
    return Garbage(removed, tuple(sweep_layers(paths, layers.__contains__)), size)


def _forget_partial_blobs(paths: Paths, store: Store) -> None:
    """Remove what came of blobs whose pull was not taken up again for a day."""
    for digest in store.partial_blobs():
        lock = ContentLock(paths, digest)
        if not lock.acquire(wait=False):
            continue
        try:
            with contextlib.suppress(FileNotFoundError):
                if os.stat(store.partial_path(digest)).st_mtime < time.time() - _PARTIAL_AGE:
                    os.unlink(store.partial_path(digest))
        finally:
            lock.release()


def _mark(paths: Paths, store: Store, without: str, uncached: Container[str] = ()) -> tuple[set[str], set[str]]:
    """The digests and the diff_ids in use. A manifest that cannot be read is used, and uses nothing more."""
    blobs: set[str] = set()
    layers: set[str] = set()
    removed = store.names().get(without)
    pending = store.roots()
    if removed is not None:
        pending.remove(removed)
    for blob, diff_id in cached_layers(paths, uncached):
        blobs.add(blob.digest)
        layers.add(diff_id)
    for digest, used in used_by_containers(paths):
        layers.update(used)
        with contextlib.suppress(FileNotFoundError):
            if digest:
                pending.append(Descriptor(OCI_MANIFEST, digest, os.stat(store.blob_path(digest)).st_size))
    pending += kept_bases(paths, uncached)
    while pending:
        descriptor = pending.pop()
        if descriptor.digest in blobs:
            continue
        blobs.add(descriptor.digest)
        with contextlib.suppress(NotFound, DigestMismatch, InvalidImage):
            if descriptor.media_type in INDEXES:
                pending += parse_index(store.read_blob(descriptor), descriptor.digest)
                continue
            manifest, config = store.read_image(descriptor, descriptor.digest)
            blobs.update(blob.digest for blob in (manifest.config, *manifest.layers))
            layers.update(config["rootfs"]["diff_ids"])
    return blobs, layers


def used_by_containers(paths: Paths) -> list[tuple[str, set[str]]]:
    """Each container's image digest, and the layers that its definition lists, as diff_ids or as directories."""
    found = []
    for name in list_directory(paths.containers):
        path = os.path.join(paths.container(name), "container.json")
        definition = read_json(path)
        if definition is None:
            continue
        if not isinstance(definition, dict):
            raise StateCorrupt(path, "not a container's definition")
        layers = definition.get("layers") or []
        listed = {os.path.basename(layer).replace("-", ":", 1) for layer in layers if isinstance(layer, str)}
        try:
            digest = (definition.get("container") or {}).get("image_digest") or ""
            found.append((parse_digest("image_digest", digest) if digest else "", listed))
        except InvalidReference as error:
            raise StateCorrupt(path, str(error)) from error
    return found
