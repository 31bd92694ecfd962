# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pull an image from a registry into the store, verified from the first byte to the unpacked layer.

Promises: what is there is not fetched again; the name means the new image only once all of it is stored and unpacked;
a blob or layer that is not what its digest says is refused and leaves nothing. Importing this costs http and ssl.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from ..errors import RegistryError
from ..model.reference import Reference, parse_digest, parse_reference
from .layer.directories import install_layers, observe_layers
from .manifest import (
    INDEXES,
    MANIFESTS,
    MAX_DOCUMENT,
    OCI_MANIFEST,
    Descriptor,
    image_of,
    parse_config,
    parse_manifest,
    parse_platforms,
)
from .platform import check_platform, choose_platform
from .registry.client import Registry
from .registry.documents import Document
from .store import Store, verify, write_store
from .trust.remote import check_remote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..model.image import Image
    from ..paths import Paths


def resolve_remote(image: Image) -> str:
    """The digest of the manifest that pulling ``image`` would give, by a HEAD request; only an index is fetched.

    Raises RegistryError, InvalidImage (no such platform), DigestMismatch. Writes nothing.
    """
    reference = parse_reference("name", image.name)
    registry = Registry(reference, access=image.access)
    head = registry.head_manifest(reference.version)
    if head.media_type in MANIFESTS and head.digest:
        return parse_digest("Docker-Content-Digest", head.digest)
    return _find_manifest(registry, reference, image.platform)[0].digest


def pull_image(paths: Paths, image: Image) -> Image:
    """Fetch what is lacking of ``image``, unpack it, and let its name mean it. Returns the image.

    Raises RegistryError, DigestMismatch, InvalidImage, KernelError, Unsupported; the name means what it did then.
    """
    reference = parse_reference("name", image.name)
    registry = Registry(reference, access=image.access)
    with write_store(paths) as store:
        descriptor, content, index = _find_manifest(registry, reference, image.platform)
        check_remote(paths, reference, [descriptor.digest, *index], registry)
        manifest = parse_manifest(content, f"the manifest of {reference.name}")
        if manifest.config.size > MAX_DOCUMENT:
            raise RegistryError(f"image {reference.name}: its configuration has {manifest.config.size} bytes")
        if not store.is_intact(manifest.config):
            _fetch_blob(store, registry, manifest.config, f"the configuration of {reference.name}")
        config = parse_config(store.read_blob(manifest.config), manifest, f"the configuration of {reference.name}")
        check_platform(config, image.platform, reference.name)
        unpacked = observe_layers(paths)
        for blob, diff_id in zip(manifest.layers, config["rootfs"]["diff_ids"]):
            # A blob whose layer is to be unpacked is read anyway: one that was damaged on disk is fetched again.
            if not (store.has_blob(blob) if diff_id in unpacked else store.is_intact(blob)):
                _fetch_blob(store, registry, blob, f"a layer of {reference.name}")
        install_layers(paths, store, zip(manifest.layers, config["rootfs"]["diff_ids"]))
        store.put_blob(descriptor.media_type, content)
        store.tag(reference.name, descriptor)
        found = image_of(reference.name, descriptor.digest, descriptor.size, manifest, config)
        return replace(found, access=image.access)


def _fetch_blob(store: Store, registry: Registry, blob: Descriptor, what: str) -> None:
    store.put_stream(blob.media_type, registry.get_blob(blob.digest, blob.size), expected=blob.digest, what=what)


def _find_manifest(
    registry: Registry, reference: Reference, platform: str
) -> tuple[Descriptor, bytes, tuple[str, ...]]:
    """The manifest for ``platform`` (empty: this host), and the digest of the index that named it; verified."""
    what = f"the manifest of {reference.name}"
    document = registry.get_manifest(reference.version)
    _verify(document, reference.digest or document.digest, what)
    index: tuple[str, ...] = ()
    if document.media_type in INDEXES:
        index = (_digest(document),)
        manifests = parse_platforms(document.content, f"the index of {reference.name}")
        chosen = choose_platform(manifests, reference.name, platform)
        document = registry.get_manifest(chosen.digest)
        _verify(document, chosen.digest, what)
    media_type = document.media_type if document.media_type in MANIFESTS else OCI_MANIFEST
    return Descriptor(media_type, _digest(document), len(document.content)), document.content, index


def _verify(document: Document, expected: str, what: str) -> None:
    if expected:
        verify(document.content, parse_digest("Docker-Content-Digest", expected), what)


def _digest(document: Document) -> str:
    return document.digest or f"sha256:{hashlib.sha256(document.content).hexdigest()}"
