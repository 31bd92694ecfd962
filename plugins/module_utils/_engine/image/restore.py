# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mend what of images is damaged or gone: out of what is here, and where that does not do, out of its registry.

Promises: a registry is asked only for an image that came from it, and by digest; nothing is taken away before there is
something in its place, and then what something has mounted stays for it (layer/replaced.py); what is put in place was
held against its digest on the way.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import NamedTuple

from ..errors import DigestMismatch, EngineError, InvalidImage, NotFound, Untrusted
from ..linux.files import sync_filesystem
from ..model.image import Image
from ..model.reference import parse_reference
from . import diff_ids
from .fsck import Contents, find_damage, is_intact
from .layer.directories import replace_layers
from .store import Store, write_store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from ..model.image import Limits
    from ..model.registry import Access
    from ..paths import Paths
    from .fsck import Damage
    from .manifest import Descriptor

    Show = Callable[[str], None]
    Unlocked = Callable[[], AbstractContextManager[None]]


class _Lacking(NamedTuple):
    """What is not to be had here: ``blobs`` that are gone or damaged; and whether it is known what the image is of."""

    blobs: tuple[str, ...]
    known: bool


def restore_layers(paths: Paths, layers: Collection[str], limits: Limits | None = None) -> list[str]:
    """Unpack the layers ``layers`` (diff_ids) anew, each out of a blob that is whole, of whichever image. Those that
    have none are left as they are; returns the others."""
    contents = Contents(paths)
    contents.add_images()
    with write_store(paths) as store:
        whole = []
        for diff_id in layers:
            blobs = contents.layers.get(diff_id, {}).values()
            found = next((blob for blob in blobs if _fits(store, blob, diff_id)), None)
            whole += [(found, diff_id)] if found else []
        replace_layers(paths, store, whole, limits)
    return [diff_id for _blob, diff_id in whole]


def restore_image(
    paths: Paths, image: Image, *, verify: bool, show: Show | None = None, unlocked: Unlocked = nullcontext
) -> None:
    """Bring back what of an image is not there, or (``verify``) is damaged.

    ``unlocked`` holds while its registry is asked; a digest in ``image`` is what that has under this name. Raises
    InvalidImage where nothing here has it, and it came from no registry; else as pull_image().
    """
    store = Store(paths.images)
    descriptor = store.names()[image.name]
    lacking = _restore_here(paths, store, image, descriptor, verify=verify)
    if lacking.known and not lacking.blobs:
        return
    came = [name for name, found in store.pulled().items() if found.digest == descriptor.digest]
    _suspect(paths, lacking.blobs)
    if image.digest == descriptor.digest or image.name in came:
        source = image.name
    elif came:
        source = came[0]
    else:
        told = f"of image {image.name}, {', '.join(lacking.blobs) or descriptor.digest} is gone or damaged"
        advice = "remove it and build, load or transfer it again, or pull it with pull: always"
        raise InvalidImage(f"{told}, and it did not come from a registry: {advice}")
    with unlocked():
        _fetch(paths, image, source, descriptor.digest, show)
        if verify:  # what had no whole blob could not be held against it
            _restore_here(paths, store, image, descriptor, verify=True)


@contextmanager
def mending(paths: Paths, image: Image) -> Iterator[None]:
    """``with`` something makes or fetches another image of that name, which may have damaged layers of ``image``."""
    restored = restore_layers(paths, image.damaged)
    store = Store(paths.images)
    manifest, config = store.read_image(store.names()[image.name], image.name)
    pairs = zip(manifest.layers, config["rootfs"]["diff_ids"])
    _suspect(paths, [blob.digest for blob, diff_id in pairs if diff_id in image.damaged])
    yield
    restore_layers(paths, set(image.damaged).difference(restored))


def _restore_here(paths: Paths, store: Store, image: Image, descriptor: Descriptor, *, verify: bool) -> _Lacking:
    try:
        manifest, config = store.read_image(descriptor, image.name)
    except (NotFound, DigestMismatch, InvalidImage):
        return _Lacking((), known=False)
    layers = list(zip(manifest.layers, config["rootfs"]["diff_ids"]))
    # By kind: a blob that is not compressed has the digest of its layer.
    damaged = {(item.kind, item.digest) for item in find_damage(paths, (image.name,))} if verify else set()
    unpacked = {diff_id for _blob, diff_id in layers if os.path.isdir(paths.layer(diff_id))}
    gone = {diff_id for _blob, diff_id in layers if ("layer", diff_id) in damaged or diff_id not in unpacked}
    restore_layers(paths, gone, image.limits)
    blobs = {
        blob.digest
        for blob, diff_id in layers
        if ("blob", blob.digest) in damaged or not store.has_blob(blob) or not os.path.isdir(paths.layer(diff_id))
    }
    return _Lacking(tuple(sorted(blobs)), known=True)


def _fetch(paths: Paths, image: Image, source: str, digest: str, show: Show | None) -> None:
    """Pull by digest, out of the repository of the name ``source``. No name means another image for that."""
    from .pull import pull_image  # http and ssl: 60 ms

    def keep(_descriptor: Descriptor) -> None:
        sync_filesystem(paths.images)  # what came is to outlast a crash: a name means it already

    try:
        pull_image(paths, replace(image, name=f"{_repository(source)}@{digest}", digest=""), show, keep=keep)
    except Untrusted:
        # The policy may be met by its name alone: an identity with a tag, or signatures of the index that leads to it.
        pull_image(paths, replace(image, name=source, digest=digest), show, keep=keep)


def _suspect(paths: Paths, blobs: Iterable[str]) -> None:
    """Whatever brings the image next is to take them for what they are."""
    with write_store(paths) as store:
        for digest in blobs:
            diff_ids.suspect(store, digest)


def _repository(name: str) -> str:
    reference = parse_reference("name", name)
    return f"{reference.registry}/{reference.repository}"


def repair(paths: Paths, damage: Sequence[Damage], access: Access, show: Show) -> list[Damage]:
    """Mend what find_damage() found; returns what is left of it. ``show`` is told what hinders."""
    _discard_unused(paths, damage)
    restored = restore_layers(paths, [item.digest for item in damage if item.kind == "layer"])
    store = Store(paths.images)
    left = [
        item
        for item in damage
        if not (item.digest in restored if item.kind == "layer" else is_intact(store, item.digest))
    ]
    _suspect(paths, [item.digest for item in left if item.kind == "blob"])
    for name in sorted({name for item in left for name in item.images}):
        try:
            restore_image(paths, Image(name, access=access), verify=True, show=show)
        except EngineError as error:
            show(f"{name}: {error}")
    names = {name for item in damage for name in item.images} if all(item.images for item in damage) else ()
    found = {(item.kind, item.digest) for item in find_damage(paths, names)}
    return [item for item in damage if (item.kind, item.digest) in found]


def _discard_unused(paths: Paths, damage: Sequence[Damage]) -> None:
    """Remove the damaged blobs that nothing names."""
    with write_store(paths, alone=True) as store:
        contents = Contents(paths)
        contents.add_images()
        for item in damage:
            if item.kind == "blob" and item.digest not in contents.blobs and not is_intact(store, item.digest):
                store.remove_blob(item.digest)


def _fits(store: Store, blob: Descriptor, diff_id: str) -> bool:
    if not store.is_intact(blob):
        return False
    if diff_ids.is_known(store, blob, diff_id):
        return True
    try:
        with store.open_blob(blob) as file:
            diff_ids.check(file, diff_id)
    except (DigestMismatch, InvalidImage):
        return False
    return True
