# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Push images of the store to a registry: one as it is, or several platforms' as an OCI index.

Promises: what the registry has already is not sent; what another of its repositories is known to have is mounted from
there; the name means the new image only once all of it is there. Importing this costs http and ssl.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import NamedTuple

from ..errors import Conflict, InvalidImage, NotFound
from ..model.reference import parse_reference
from ..progress import Progress
from .locks import Pin
from .manifest import FOREIGN_LAYERS, INDEXES, OCI_INDEX, Descriptor, encode, parse_manifest, platform_of
from .registry.client import Registry
from .registry.upload import Blob
from .store import Store, write_store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from ..model.reference import Reference
    from ..model.registry import RemoteImage
    from ..paths import Paths

# How many blobs are on their way at once: as docker has it (max-concurrent-uploads).
_WORKERS = 5
# How many repositories are asked for a blob before it is sent.
_MOUNTS = 3
_TICK = 0.2  # seconds between looks at how far it is


class _Local(NamedTuple):
    """An image of the store: its manifest, and the blobs that a registry is to have."""

    descriptor: Descriptor
    content: bytes
    blobs: tuple[Descriptor, ...]
    config: dict[str, Any]


class _Push(NamedTuple):
    """All of a push: images, and what the name is to mean."""

    images: tuple[_Local, ...]
    media_type: str
    content: bytes
    digest: str


def resolve_push(paths: Paths, wanted: RemoteImage) -> RemoteImage:
    """``wanted`` with the digest that its name is to mean. Raises NotFound, InvalidImage, Conflict; writes nothing."""
    return replace(wanted, digest=_read(Store(paths.images), wanted).digest)


def observe_pushed(wanted: RemoteImage) -> RemoteImage | None:
    """What the registry has under the name of ``wanted``, None where there is no such name. Raises RegistryError."""
    reference = parse_reference("name", wanted.name)
    digest = Registry(reference, access=wanted.access).find_digest(reference.version)
    if digest is None:
        return None
    return replace(wanted, digest=digest)


def push_image(paths: Paths, wanted: RemoteImage, show: Callable[[str], None] | None = None) -> None:
    """Send what the registry lacks, and let the name mean it. ``show`` gets a line now and then about how far it is.

    Raises RegistryError, NotFound, InvalidImage; the name means what it did then.
    """
    reference = parse_reference("name", wanted.name)
    registry = Registry(reference, access=wanted.access)
    with Pin(paths) as pin:
        with write_store(paths) as store:
            push = _read(store, wanted)
            blobs = {blob.digest: blob for image in push.images for blob in image.blobs}
            pin.add(blobs)
        try:
            _Blobs(store, registry, reference, wanted.chunk_size).send(list(blobs.values()), show)
        finally:
            registry.close()
    if push.media_type == OCI_INDEX:
        for image in push.images:
            registry.put_manifest(image.descriptor.digest, image.descriptor.media_type, image.content)
    registry.put_manifest(reference.version, push.media_type, push.content)


class _Blobs:
    """Blobs of the store, on their way to ``registry``."""

    def __init__(self, store: Store, registry: Registry, reference: Reference, chunk_size: int) -> None:
        self._store = store
        self._registry = registry
        self._name = reference.name
        self._chunk_size = chunk_size
        self._elsewhere = _find_repositories(store, reference.registry, reference.repository)

    def send(self, blobs: list[Descriptor], show: Callable[[str], None] | None) -> None:
        """All of them, several at once, the largest first. Raises RegistryError."""
        progress = Progress(f"pushing {self._name}", sum(blob.size for blob in blobs), len(blobs), show)
        with ThreadPoolExecutor(_WORKERS) as workers:
            pending = {
                workers.submit(self._send, blob, progress.counter().set)
                for blob in sorted(blobs, key=lambda blob: -blob.size)
            }
            try:
                while pending:
                    done, pending = wait(pending, _TICK, FIRST_COMPLETED)
                    for future in done:
                        future.result()
                    progress.tick()
            finally:
                for future in pending:
                    future.cancel()
        progress.end()

    def _send(self, blob: Descriptor, sent: Callable[[int], None]) -> None:
        if not self._is_there(blob):
            content = Blob(blob.digest, blob.size, lambda: self._store.open_blob(blob), sent)
            self._registry.put_blob(content, self._chunk_size)
        sent(blob.size)

    def _is_there(self, blob: Descriptor) -> bool:
        """Whether the repository has it, or has it now, from another."""
        return self._registry.has_blob(blob.digest) or any(
            self._registry.mount_blob(blob.digest, other) for other in self._elsewhere.get(blob.digest, ())[:_MOUNTS]
        )


def _read(store: Store, wanted: RemoteImage) -> _Push:
    names = store.names()
    images = tuple(_read_image(store, names, name) for name in wanted.images)
    if len(images) == 1:
        (image,) = images
        return _Push(images, image.descriptor.media_type, image.content, image.descriptor.digest)
    entries: list[dict[str, Any]] = []
    seen: dict[str, str] = {}
    for name, image in zip(wanted.images, images):
        platform = platform_of(image.config)
        if not platform:
            raise InvalidImage(f"the configuration of {name} names no platform; an index needs one of each image")
        if platform in seen:
            raise Conflict(f"{seen[platform]} and {name} are both for {platform}; an index has one image of a platform")
        seen[platform] = name
        fields = {
            key: image.config[key] for key in ("os", "architecture", "variant", "os.version") if image.config.get(key)
        }
        entries.append({**image.descriptor.to_json(), "platform": fields})
    content = encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})
    return _Push(images, OCI_INDEX, content, f"sha256:{hashlib.sha256(content).hexdigest()}")


def _read_image(store: Store, names: Mapping[str, Descriptor], name: str) -> _Local:
    descriptor = names.get(name)
    if descriptor is None:
        raise NotFound("image", name, "pull, build or assemble it first")
    manifest, config = store.read_image(descriptor, name)
    layers = [layer for layer in manifest.layers if not (layer.urls and layer.media_type.startswith(FOREIGN_LAYERS))]
    blobs = (manifest.config, *layers)
    for blob in blobs:
        if not store.has_blob(blob):
            raise NotFound("blob", blob.digest, f"pull, build or assemble {name} again")
    return _Local(descriptor, store.read_blob(descriptor), blobs, config)


def _find_repositories(store: Store, registry: str, without: str) -> dict[str, list[str]]:
    """Which other repositories of ``registry`` have a blob, by digest, as far as names of the store tell."""
    found: dict[str, list[str]] = {}
    for name, descriptor in sorted(store.names().items()):
        reference = parse_reference("name", name)
        if reference.registry != registry or reference.repository == without or descriptor.media_type in INDEXES:
            continue
        try:
            manifest = parse_manifest(store.read_blob(descriptor), name)
        except (NotFound, InvalidImage):
            continue  # it is not this image that is pushed
        for blob in (manifest.config, *manifest.layers):
            repositories = found.setdefault(blob.digest, [])
            if reference.repository not in repositories:
                repositories.append(reference.repository)
    return found
