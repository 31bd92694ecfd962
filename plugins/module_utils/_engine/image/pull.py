# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pull an image from a registry into the store, verified from the first byte to the unpacked layer.

Promises: what is there is not fetched again; the name means the new image only once all of it is stored and unpacked;
a blob or layer that is not what its digest says is refused and leaves nothing. Importing this costs http and ssl.
"""

from __future__ import annotations

import os
from dataclasses import replace

from ..errors import DigestMismatch, InvalidImage, KernelError, RegistryError
from ..model.reference import Reference, parse_reference
from ..progress import Progress
from . import diff_ids
from .fetch import Fetcher
from .index import find_image
from .layer.budget import budget_of, rules_of
from .layer.directories import install_each
from .layer.rules import check_unpacked
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
)
from .platform import check_platform
from .registry.client import Registry
from .store import Store, write_store
from .trust.check import refuse_rejected
from .trust.policy import effective_policy
from .trust.remote import check_remote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..model.image import Image, Limits
    from ..paths import Paths
    from ..progress import Counter


def resolve_remote(
    paths: Paths, image: Image, present: str = "", *, note: Callable[[str], None] = lambda _note: None
) -> str:
    """The digest of the manifest that pulling ``image`` would give, by a HEAD request; only an index is fetched, and
    where a platform is asked for, what says whether the image is for that. Of one with a digest, whether it is there.

    One that is not ``present`` must meet the host's policy, as when it is pulled. ``note`` hears of mirrors that were
    passed over. Raises RegistryError, InvalidImage (no such platform), DigestMismatch, Untrusted. Writes nothing.
    """
    reference = parse_reference("name", image.name)
    refuse_rejected(effective_policy(paths), reference)
    registry = Registry(reference, access=image.access)
    head = registry.head_manifest(reference.version, present) if not image.digest else None
    if head and head.media_type in MANIFESTS and head.digest and not image.platform:
        digests = [head.digest]
    else:
        descriptor, content, index = _find_image(registry, reference, image)
        digests = [descriptor.digest, *index]
        if image.platform and not index:  # it says itself what it is for, in its configuration
            what = f"the configuration of {reference.name}"
            manifest = parse_manifest(content, f"the manifest of {reference.name}")
            config = registry.read_blob(manifest.config.digest, min(manifest.config.size, MAX_DOCUMENT), what)
            check_platform(parse_config(config, manifest, what), image.platform, reference.name)
    if digests[0] != present:
        check_remote(paths, reference, digests, registry, verified=image.verified)
    for told in registry.notes:
        note(told)
    return digests[0]


def pull_image(
    paths: Paths,
    image: Image,
    show: Callable[[str], None] | None = None,
    *,
    keep: Callable[[Descriptor], None] | None = None,
) -> Image:
    """Fetch what is lacking of ``image``, unpack it, and let its name mean it. Returns the image.

    Where it has a digest, it is that very image, wherever its tag has gone since.
    ``keep`` is told its manifest in the name's stead, which then means what it did; it is called inside write_store().
    ``show`` gets a line now and then about how far it is. Raises RegistryError, DigestMismatch, InvalidImage,
    KernelError, Unsupported, Untrusted; the name means what it did then.
    """
    reference = parse_reference("name", image.name)
    refuse_rejected(effective_policy(paths), reference)
    registry = Registry(reference, access=image.access)
    descriptor, content, index = _find_image(registry, reference, image)
    check_remote(paths, reference, [descriptor.digest, *index], registry, verified=image.verified)
    manifest = parse_manifest(content, f"the manifest of {reference.name}")
    if manifest.config.size > MAX_DOCUMENT:
        raise RegistryError(f"image {reference.name}: its configuration has {manifest.config.size} bytes")
    what = f"the configuration of {reference.name}"
    with Pin(paths) as pin:
        with write_store(paths) as store:
            pin.add((descriptor.digest, manifest.config.digest, *(blob.digest for blob in manifest.layers)))
            if not store.is_intact(manifest.config):
                blob = registry.read_blob(manifest.config.digest, manifest.config.size, what)
                store.put_blob(manifest.config.media_type, blob, manifest.config.digest)
            config = parse_config(store.read_blob(manifest.config), manifest, what)
            check_platform(config, image.platform, reference.name)
            pin.add(config["rootfs"]["diff_ids"])
        # What is pinned stays. Others may write and sweep meanwhile.
        layers = list(zip(manifest.layers, config["rootfs"]["diff_ids"]))
        made = _Layers(paths, store, registry, image.limits, reference.name, show).install(layers)
        if keep or made or store.names().get(reference.name) != descriptor or not store.is_intact(descriptor):
            with write_store(paths) as store:
                store.put_blob(descriptor.media_type, content, descriptor.digest)
                if keep:
                    keep(descriptor)
                else:
                    store.tag(reference.name, descriptor, pulled=True)
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
        self._budget = budget_of(limits)
        self._rules = rules_of(limits)
        self._name = name
        self._show = show
        self._counters: dict[str, Counter] = {}

    def install(self, layers: Sequence[tuple[Descriptor, str]]) -> bool:
        """Fetch and unpack those that this host lacks; False where it lacks none."""
        for _blob, diff_id in layers:
            check_unpacked(self._paths.layer(diff_id), diff_id, self._rules)
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
        there = os.path.isdir(self._paths.layer(diff_id)) and self._store.has_blob(blob)
        return not (there and diff_ids.is_known(self._store, blob, diff_id))

    def _install(self, blob: Descriptor, diff_id: str, target: str) -> None:
        """In a worker. A blob whose layer is to be unpacked is read anyway: one that was damaged is fetched again."""
        count = self._counters[blob.digest].add
        source = self._registry.open_blob(blob.digest, blob.size, blob.urls)
        fetcher = Fetcher(self._store, blob, source, what=f"a layer of {self._name}", count=count)
        if self._has_whole(blob, diff_id, target):
            count(blob.size)
        elif os.path.isdir(target):
            fetcher.fetch()
            self._read(blob, diff_id, target)
        else:
            fetcher.fetch_and_unpack(target, diff_id, self._budget, self._rules)
        diff_ids.note(self._store, blob, diff_id)

    def _has_whole(self, blob: Descriptor, diff_id: str, target: str) -> bool:
        if not self._store.has_blob(blob):
            return False
        try:
            self._read(blob, diff_id, target)
        except (InvalidImage, DigestMismatch):
            if self._store.is_intact(blob):
                raise
            return False
        return True

    def _read(self, blob: Descriptor, diff_id: str, target: str) -> None:
        """Unpack the blob, or only hold it against the diff_id of a layer that is there, where that is not known."""
        if os.path.isdir(target) and diff_ids.is_known(self._store, blob, diff_id):
            return
        with self._store.open_blob(blob) as file:
            if os.path.isdir(target):
                diff_ids.check(file, diff_id, self._budget)
            else:
                unpack_layer(file, target, diff_id, budget=self._budget, rules=self._rules)


def _find_image(registry: Registry, reference: Reference, image: Image) -> tuple[Descriptor, bytes, tuple[str, ...]]:
    """As _find_manifest(); of an image with a digest that one. The tag is asked first: it may lead there by an index,
    whose signatures hold for the image."""
    try:
        found = _find_manifest(registry, reference, image.platform)
        if image.digest in ("", found[0].digest):
            return found
    except (RegistryError, InvalidImage) as error:
        if not image.digest or getattr(error, "status", 404) != 404:
            raise
    return _find_manifest(registry, replace(reference, digest=image.digest), image.platform)


def _find_manifest(
    registry: Registry, reference: Reference, platform: str
) -> tuple[Descriptor, bytes, tuple[str, ...]]:
    """The manifest for ``platform`` (empty: this host), and the digests of the indexes that led to it; verified."""
    document = registry.get_manifest(reference.version)
    index: tuple[str, ...] = ()
    if document.media_type in INDEXES:
        chosen, index = find_image(
            document.digest,
            document.content,
            reference.name,
            platform,
            lambda inner: registry.get_manifest(inner.digest).content,
        )
        document = registry.get_manifest(chosen.digest)
    media_type = document.media_type if document.media_type in MANIFESTS else OCI_MANIFEST
    return Descriptor(media_type, document.digest, len(document.content)), document.content, index
