# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The images of this host, as the disk holds them now. Only reads; takes no lock."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace

from ..errors import DigestMismatch, InvalidImage, NotFound
from ..model.reference import parse_digest
from .manifest import MANIFESTS, OCI_MANIFEST, Descriptor, image_of
from .store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..model.image import Image
    from ..paths import Paths


def observe_images(paths: Paths) -> dict[str, Image]:
    """Normalised name to image. Raises StateCorrupt where the store's index cannot be read.

    ``missing`` are the diff_ids whose unpacked directory or blob is not there: making the image again brings them
    back. An image whose manifest or configuration is gone or damaged is no image any more, and is left out.
    """
    store = Store(paths.images)
    images = {}
    for name, descriptor in store.names().items():
        image = _observe(paths, store, name, descriptor)
        if image is not None:
            images[name] = image
    return images


def damaged_digest(paths: Paths, name: str) -> str:
    """The digest of the image that ``name`` means, and of which something lacks; empty where it means none.

    Raises InvalidImage where that came from no registry: whoever has the name at one is not to be asked in its stead.
    """
    store = Store(paths.images)
    found = store.names().get(name)
    if found is None or found.media_type not in MANIFESTS:
        return ""
    if name not in store.pulled():
        raise InvalidImage(
            f"image {name}: some of it is gone or damaged, and it did not come from a registry: "
            "build, load or transfer it again, or pull it with pull: always"
        )
    return found.digest


def observe_image(paths: Paths, digest: str) -> Image | None:
    """The image that a manifest's digest names, which needs no name: what a container was made from stays for it."""
    store = Store(paths.images)
    with contextlib.suppress(FileNotFoundError):
        size = os.stat(store.blob_path(parse_digest("digest", digest))).st_size
        return _observe(paths, store, "", Descriptor(OCI_MANIFEST, digest, size))
    return None


def _observe(paths: Paths, store: Store, name: str, descriptor: Descriptor) -> Image | None:
    try:
        manifest, config = store.read_image(descriptor, name or descriptor.digest)
    except (NotFound, DigestMismatch, InvalidImage):
        return None
    image = image_of(name, descriptor.digest, descriptor.size, manifest, config)
    missing = [
        diff_id
        for diff_id, blob in zip(image.layers, manifest.layers)
        if not (os.path.isdir(paths.layer(diff_id)) and store.has_blob(blob))
    ]
    return replace(image, missing=tuple(missing))
