# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pull an image from a registry into the store, verified from the first byte to the unpacked layer.

Promises: what is there is not fetched again; the name means the new image only once all of it is stored and unpacked;
a blob or layer that is not what its digest says is refused and leaves nothing. Importing this costs http and ssl.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace

from ..errors import DigestMismatch, InvalidImage, KernelError, RegistryError
from ..model.reference import Reference, parse_digest, parse_reference
from ..progress import Progress
from .fetch import Fetcher
from .layer.budget import Budget, Rules
from .layer.directories import install_each
from .layer.unpack import unpack_layer
from .locks import Pin
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
from .trust.check import refuse_rejected
from .trust.policy import effective_policy
from .trust.remote import check_remote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..model.image import Image, Limits
    from ..paths import Paths
    from ..progress import Counter


def resolve_remote(paths: Paths, image: Image, present: str = "") -> str:
    """The digest of the manifest that pulling ``image`` would give, by a HEAD request; only an index is fetched.

    One that is not ``present`` must meet the host's policy, as when it is pulled. Raises RegistryError, InvalidImage
    (no such platform), DigestMismatch, Untrusted. Writes nothing.
    """
    reference = parse_reference("name", image.name)
    refuse_rejected(effective_policy(paths), reference)
    registry = Registry(reference, access=image.access)
    head = registry.head_manifest(reference.version)
    if head.media_type in MANIFESTS and head.digest:
        digests = [parse_digest("Docker-Content-Digest", head.digest)]
    else:
        descriptor, _content, index = _find_manifest(registry, reference, image.platform)
        digests = [descriptor.digest, *index]
    if digests[0] != present:
        check_remote(paths, reference, digests, registry, verified=image.verified)
    return digests[0]


def pull_image(paths: Paths, image: Image, show: Callable[[str], None] | None = None) -> Image:
    """Fetch what is lacking of ``image``, unpack it, and let its name mean it. Returns the image.

    ``show`` gets a line now and then about how far it is. Raises RegistryError, DigestMismatch, InvalidImage,
    KernelError, Unsupported, Untrusted; the name means what it did then.
    """
    reference = parse_reference("name", image.name)
    refuse_rejected(effective_policy(paths), reference)
    registry = Registry(reference, access=image.access)
    descriptor, content, index = _find_manifest(registry, reference, image.platform)
    check_remote(paths, reference, [descriptor.digest, *index], registry, verified=image.verified)
    manifest = parse_manifest(content, f"the manifest of {reference.name}")
    if manifest.config.size > MAX_DOCUMENT:
        raise RegistryError(f"image {reference.name}: its configuration has {manifest.config.size} bytes")
    what = f"the configuration of {reference.name}"
    with Pin(paths) as pin:
        with write_store(paths) as store:
            pin.add((descriptor.digest, manifest.config.digest, *(blob.digest for blob in manifest.layers)))
            if not store.is_intact(manifest.config):
                pieces = registry.get_blob(manifest.config.digest, manifest.config.size)
                store.put_stream(manifest.config.media_type, pieces, expected=manifest.config.digest, what=what)
            config = parse_config(store.read_blob(manifest.config), manifest, what)
            check_platform(config, image.platform, reference.name)
            pin.add(config["rootfs"]["diff_ids"])
        # What is pinned stays. Others may write and sweep meanwhile.
        layers = list(zip(manifest.layers, config["rootfs"]["diff_ids"]))
        made = _Layers(paths, store, registry, image.limits, reference.name, show).install(layers)
        if made or store.names().get(reference.name) != descriptor or not store.is_intact(descriptor):
            with write_store(paths) as store:
                store.put_blob(descriptor.media_type, content)
                store.tag(reference.name, descriptor)
    found = image_of(reference.name, descriptor.digest, descriptor.size, manifest, config)
    return replace(found, access=image.access)


class _Layers:
    """The layers of one image, on their way from ``registry``."""

    def __init__(
        self,
        paths: Paths,
        store: Store,
        registry: Registry,
        limits: Limits,
        name: str,
        show: Callable[[str], None] | None,
    ) -> None:
        self._paths = paths
        self._store = store
        self._registry = registry
        self._limits = limits
        self._budget = Budget(limits.size, limits.entries)
        self._rules = Rules(devices=limits.devices)
        self._name = name
        self._show = show
        self._counters: dict[str, Counter] = {}

    def install(self, layers: Sequence[tuple[Descriptor, str]]) -> bool:
        """Fetch and unpack those that this host lacks; False where it lacks none."""
        coming = {blob.digest: blob.size for blob, diff_id in layers if self._lacks(blob, diff_id)}
        if not coming:
            return False
        if sum(coming.values()) > self._limits.size:
            raise InvalidImage(
                f"image {self._name}: its layers have {sum(coming.values())} bytes as they come, and unpacked they may "
                f"have {self._limits.size}"
            )
        self._budget = self._budget.of_image(diff_id for _blob, diff_id in layers)
        progress = Progress(f"pulling {self._name}", sum(coming.values()), len(coming), self._show)
        self._counters = {digest: progress.counter() for digest in coming}
        try:
            install_each(self._paths, layers, self._lacks, self._install, progress.tick)
        except OSError as error:  # a full disk, for one
            raise KernelError("writing images", error) from error
        progress.end()
        return True

    def _lacks(self, blob: Descriptor, diff_id: str) -> bool:
        return not (os.path.isdir(self._paths.layer(diff_id)) and self._store.has_blob(blob))

    def _install(self, blob: Descriptor, diff_id: str, target: str) -> None:
        """In a worker. A blob whose layer is to be unpacked is read anyway: one that was damaged is fetched again."""
        count = self._counters[blob.digest].add
        fetcher = Fetcher(self._store, blob, self._source, what=f"a layer of {self._name}", count=count)
        if os.path.isdir(target):
            fetcher.fetch()
            return
        if self._store.has_blob(blob):
            with self._store.open_blob(blob) as file:
                try:
                    unpack_layer(file, target, diff_id, budget=self._budget, rules=self._rules)
                    count(blob.size)
                    return
                except (InvalidImage, DigestMismatch):
                    if self._store.is_intact(blob):
                        raise
        fetcher.fetch_and_unpack(target, diff_id, self._budget, self._rules)

    def _source(self, blob: Descriptor, offset: int) -> Iterator[bytes]:
        return self._registry.get_blob(blob.digest, blob.size, offset, blob.urls)


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
