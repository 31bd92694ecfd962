# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring images of an archive into the store, as if they had been pulled.

Promises: an archive is believed nothing: all that an image needs and the store lacks is verified before the first byte
is stored; names mean the new images only once all of them are stored and unpacked; on any failure they mean what they
did, and no blob stays that was not there before.
"""

from __future__ import annotations

from ...errors import InvalidImage, InvalidOption, NotFound
from ...model.archive import DOCKER_ARCHIVE
from ...model.reference import normalise, parse_reference
from .. import diff_ids
from ..layer.directories import install_layers, observe_layers
from ..locks import pinned
from ..manifest import image_of
from ..store import Store, write_store
from .contents import open_archive, verify_files
from .signatures import check_packed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ...model.image import Image, Limits
    from ...paths import Paths
    from ..manifest import Descriptor
    from .contents import Contents, Packed


def resolve_load(paths: Paths, path: str, names: Sequence[str] = ()) -> dict[str, Image]:
    """What loading ``names`` (none: all) out of the archive at ``path`` gives, by name; only reads.

    Raises NotFound, InvalidImage, Untrusted, DigestMismatch, InvalidOption (names), KernelError.
    """
    with open_archive(path) as archive:
        store = Store(paths.images)
        chosen = _choose_here(paths, store, archive, names)
        verify_files(archive.files, _to_read(paths, store, chosen.values()))
        return {name: _image(name, packed) for name, packed in chosen.items()}


def load_images(paths: Paths, path: str, names: Sequence[str] = (), limits: Limits | None = None) -> list[Image]:
    """Load images out of the archive at ``path``, each within ``limits``; what is there already is left as it is.

    Raises as resolve_load().
    """
    with open_archive(path) as archive, write_store(paths, alone=True) as store:
        chosen = _choose_here(paths, store, archive, names)
        blobs = _to_read(paths, store, chosen.values())
        verify_files(archive.files, blobs)
        before = set(store.blobs())
        try:
            _store_blobs(store, archive, chosen.values(), blobs)
            for packed in chosen.values():
                layers = zip(packed.manifest.layers, packed.config["rootfs"]["diff_ids"])
                install_layers(paths, store, layers, limits)
        except BaseException:
            for digest in _digests(chosen.values()) - before - pinned(paths):
                store.remove_blob(digest)
            raise
        for name, packed in chosen.items():
            store.tag(name, packed.descriptor)
        return [_image(name, packed) for name, packed in chosen.items()]


def choose(archive: Contents, names: Sequence[str]) -> dict[str, Packed]:
    """The images to load, by the names that they get: the archive's own, or the one given to an image without."""
    path, by_name = archive.files.path, {packed.name: packed for packed in archive.images}
    if not archive.images:
        raise InvalidImage(f"{path} holds no image")
    if not names:
        if "" in by_name:
            raise InvalidOption("names", [], f"a name: {path} holds an image that has none")
        return by_name
    wanted = [normalise("names", name) for name in names]
    if len(wanted) == 1 and len(archive.images) == 1:
        [only] = archive.images
        # Many tools write the tag alone, or nothing; but an image of another name is not what was meant.
        if not only.told or not ({"/", ":"} & set(only.told)):
            return {wanted[0]: only}
    for name in wanted:
        if name not in by_name:
            there = ", ".join(sorted(packed.told or "one without a name" for packed in archive.images))
            raise InvalidOption("names", name, f"an image of {path}, which holds: {there}")
    return {name: by_name[name] for name in wanted}


def _choose_here(paths: Paths, store: Store, archive: Contents, names: Sequence[str]) -> dict[str, Packed]:
    """The images to load, none of them against the host's policy."""
    chosen = choose(archive, names)
    for name, packed in chosen.items():
        check_packed(paths, archive.files, parse_reference("names", name), packed)
    return {name: _as_here(store, archive, name, packed) for name, packed in chosen.items()}


def _as_here(store: Store, archive: Contents, name: str, packed: Packed) -> Packed:
    """What docker writes has no manifest. An image of the same configuration that is here already is that image."""
    here = store.names().get(name) if archive.format == DOCKER_ARCHIVE else None
    if here is not None and store.has_blob(here):
        try:
            manifest, _config = store.read_image(here, name)
        except (NotFound, InvalidImage):
            return packed
        if manifest.config == packed.manifest.config and all(map(store.has_blob, manifest.layers)):
            content = store.read_blob(here)
            return packed._replace(descriptor=here, content=content, manifest=manifest)
    return packed


def _to_read(paths: Paths, store: Store, chosen: Iterable[Packed]) -> dict[str, Descriptor]:
    """The files of the archive that hold what the store lacks, and the blob that each is."""
    unpacked = observe_layers(paths)
    files = {}
    for packed in chosen:
        for blob, diff_id in zip(packed.manifest.layers, packed.config["rootfs"]["diff_ids"]):
            # A blob whose layer is to be unpacked or checked is read anyway: one that was damaged is loaded again.
            known = diff_id in unpacked and diff_ids.is_known(store, blob, diff_id)
            there = store.has_blob(blob) if known else store.is_intact(blob)
            if not there and blob.digest in packed.files:
                files[packed.files[blob.digest]] = blob
    return files


def _store_blobs(store: Store, archive: Contents, chosen: Iterable[Packed], blobs: dict[str, Descriptor]) -> None:
    """Store what is lacking, in the order of the archive, then the documents."""
    for name in archive.files.in_order(blobs):
        blob, what = blobs[name], f"{archive.files.path}: {name}"
        store.put_stream(blob.media_type, archive.files.chunks(name), expected=blob.digest, what=what)
    for packed in chosen:
        config = packed.manifest.config
        store.put_blob(config.media_type, archive.files.read(packed.files[config.digest]), config.digest)
        store.put_blob(packed.descriptor.media_type, packed.content, packed.descriptor.digest)


def _digests(chosen: Iterable[Packed]) -> set[str]:
    return {blob.digest for packed in chosen for blob in (packed.descriptor, *packed.blobs)}


def _image(name: str, packed: Packed) -> Image:
    descriptor = packed.descriptor
    return image_of(name, descriptor.digest, descriptor.size, packed.manifest, packed.config)
