# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's images, out of which hosts are sent what they lack. Runs as whoever runs Ansible.

A depot is a store without unpacked layers, in a directory that may be taken away whenever no play runs. Promises: what
is fetched is fetched once for all hosts, and only what some host lacks; several processes may use one depot at once;
within one task all get the same bytes of one name, whatever a registry does meanwhile. Check mode keeps nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from dataclasses import dataclass

from .errors import DigestMismatch, InvalidImage, NotFound
from .image.archive.contents import open_archive
from .image.archive.files import DirectoryFiles
from .image.archive.load import choose
from .image.archive.signatures import ArchiveSignatures
from .image.manifest import (
    INDEXES,
    MANIFESTS,
    MAX_DOCUMENT,
    OCI_MANIFEST,
    Descriptor,
    parse_config,
    parse_manifest,
    parse_platforms,
)
from .image.platform import check_platform, choose_platform, machine_platform
from .image.registry.client import Registry
from .image.store import Store, verify, write_store
from .image.transfer.signatures import collect_signatures
from .image.trust.remote import Repository, check_remote
from .linux.files import exclusive_lock, list_directory, read_json, remove_if_exists, write_atomic, write_json
from .model.lock import encode_lock
from .model.reference import parse_digest, parse_reference
from .model.registry import Access
from .model.transfer import Offer
from .paths import Paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from .image.archive.contents import Contents, Packed

_DAY = 86_400  # seconds; what a task resolved is of no use to others


@dataclass(frozen=True)
class Source:
    """What the controller is to offer.

    ``name`` is normalised. ``src`` is an archive or a layout on the controller; empty, the image comes from its
    registry. ``platform`` is empty where the host's own is meant. ``task`` is the same for all hosts of one task.
    ``keep``: False in check mode.
    """

    name: str
    access: Access = Access()
    src: str = ""
    platform: str = ""
    always: bool = False
    task: str = ""
    keep: bool = True


class Depot:
    """The images under ``root``. Making one reads and writes nothing."""

    def __init__(self, root: str) -> None:
        self.paths = Paths(root, os.path.join(root, "run"))
        self._store = Store(self.paths.images)

    def offer(self, source: Source, machine: Callable[[], str]) -> Offer:
        """The image's documents. ``machine`` is asked for the host's uname(2) where there are several platforms.

        Raises RegistryError, NotFound, InvalidImage, InvalidOption, DigestMismatch, Untrusted, KernelError.
        """

        def platform() -> str:
            return source.platform or str(machine_platform(machine()))

        if source.src:
            with open_archive(source.src, platform) as archive:
                return _offer_of(archive, source)
        reference = parse_reference("name", source.name)
        with self._open(keep=source.keep) as store, contextlib.closing(Registry(reference, access=source.access)) as at:
            fetch = _Fetch(store, at, source)
            top, content = self._resolve(fetch)
            index = ""
            if top.media_type in INDEXES:
                what = f"the index of {source.name}"
                index, top = top.digest, choose_platform(parse_platforms(content, what), source.name, platform())
                content = fetch.manifest(top)
            check_remote(self.paths, reference, [top.digest, *filter(None, [index])], at)
            manifest = parse_manifest(content, f"the manifest of {source.name}")
            config = fetch.config(manifest.config)
            what = f"the configuration of {source.name}"
            check_platform(parse_config(config, manifest, what), source.platform, source.name)
            return Offer(source.name, top.media_type, top.digest, content, config, index)

    def digest(self, source: Source) -> str:
        """The digest that the registry has under the name, of an image or an index: by one HEAD request a task."""
        with exclusive_lock(self.paths.lock) if source.keep else contextlib.nullcontext():
            known = self._resolved(source, "digest ")
            if known is not None:
                return str(known[0])
            reference = parse_reference("name", source.name)
            with contextlib.closing(Registry(reference, access=source.access)) as registry:
                digest = registry.head_manifest(reference.version).digest
                if not digest:  # which a registry should tell, and need not (distribution-spec, "Pulling manifests")
                    content = registry.get_manifest(reference.version).content
                    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
            self._remember(source, "digest ", [parse_digest("Docker-Content-Digest", digest)])
            return digest

    def hold(self, source: Source, offer: Offer, digests: Sequence[str], *, suspect: bool = False) -> dict[str, str]:
        """Have those blobs of an offered image in files, and say where. ``suspect``: those here may be damaged."""
        manifest = parse_manifest(offer.manifest, f"the manifest of {offer.name}")
        blobs = [blob for blob in manifest.layers if blob.digest in set(digests)]
        if source.src:
            with open_archive(source.src, lambda: source.platform) as archive:
                if isinstance(archive.files, DirectoryFiles):
                    names = {blob.digest: f"blobs/{blob.digest.replace(':', '/')}" for blob in blobs}
                    return {digest: os.path.join(source.src, name) for digest, name in names.items()}
                files = next(packed.files for packed in archive.images if packed.descriptor.digest == offer.digest)
                self._keep(blobs, suspect, lambda blob: archive.files.chunks(files[blob.digest]))
        else:
            reference = parse_reference("name", source.name)
            with contextlib.closing(Registry(reference, access=source.access)) as registry:
                self._keep(blobs, suspect, lambda blob: registry.get_blob(blob.digest, blob.size))
        return {blob.digest: self._store.blob_path(blob.digest) for blob in blobs}

    def signatures(self, source: Source, offer: Offer) -> dict[str, bytes]:
        """The signatures of an offered image, for a host whose policy wants some."""
        digests = [offer.digest, *filter(None, [offer.index])]
        if source.src:
            with open_archive(source.src, lambda: source.platform) as archive:
                return collect_signatures(ArchiveSignatures(archive.files), digests)
        with contextlib.closing(Registry(parse_reference("name", source.name), access=source.access)) as registry:
            return collect_signatures(Repository(registry), digests)

    def _keep(
        self, blobs: Sequence[Descriptor], suspect: bool, chunks: Callable[[Descriptor], Iterator[bytes]]
    ) -> None:
        """One process fetches, the others wait and find."""
        with self._open(keep=True) as store:
            for blob in blobs:
                if not (store.is_intact(blob) if suspect else store.has_blob(blob)):
                    store.put_stream(blob.media_type, chunks(blob), expected=blob.digest, what=f"blob {blob.digest}")

    @contextlib.contextmanager
    def _open(self, *, keep: bool) -> Iterator[Store]:
        if not keep:
            yield self._store
            return
        with exclusive_lock(self.paths.lock), write_store(self.paths) as store:
            yield store

    def _resolve(self, fetch: _Fetch) -> tuple[Descriptor, bytes]:
        """What the name means: as this task found it before, or as the depot has it, or as the registry says."""
        source = fetch.source
        resolved: Any = self._resolved(source)
        known = Descriptor(*resolved) if resolved else self._store.names().get(source.name)
        if known is not None and (resolved or not source.always or fetch.is_current(known)):
            content = fetch.kept(known)
            if content is not None:
                return known, content
        top, content = fetch.top()
        if source.keep:
            fetch.store.put_blob(top.media_type, content)
            fetch.store.tag(source.name, top)
            self._remember(source, "", list(top))
        return top, content

    # What a task has resolved, for its other hosts: a file a task -----------------------------------

    def _record(self, source: Source) -> str:
        return os.path.join(self.paths.run_root, "tasks", hashlib.sha256(source.task.encode()).hexdigest()[:32])

    def _resolved(self, source: Source, kind: str = "") -> list[object] | None:
        found = (read_json(self._record(source)) or {}) if source.keep and source.task else {}
        resolved: list[object] | None = found.get(kind + source.name)
        return resolved

    def _remember(self, source: Source, kind: str, resolved: list[object]) -> None:
        """Only while the depot is locked. What tasks of long ago resolved goes."""
        if not source.keep or not source.task:
            return
        record = self._record(source)
        directory = os.path.dirname(record)
        os.makedirs(directory, mode=0o700, exist_ok=True)
        for name in list_directory(directory):
            if time.time() - os.stat(os.path.join(directory, name)).st_mtime > _DAY:
                remove_if_exists(os.path.join(directory, name))
        write_json(record, {**(read_json(record) or {}), kind + source.name: resolved}, durable=False)


def write_lock_file(path: str, locked: Mapping[str, str]) -> None:
    """Write a lock file, whole or not at all; one that is there keeps its mode. Raises OSError."""
    mode = os.stat(path).st_mode & 0o777 if os.path.exists(path) else 0o644
    write_atomic(path, encode_lock(locked), mode=mode)


class _Fetch:
    """Documents of one image: kept ones where there are some, else the registry's; these are kept then."""

    def __init__(self, store: Store, registry: Registry, source: Source) -> None:
        self.store = store
        self.source = source
        self._registry = registry
        self._reference = parse_reference("name", source.name)

    def is_current(self, known: Descriptor) -> bool:
        """Whether the registry still means ``known`` by the name: by a HEAD request, none for a digest."""
        version = self._reference.version
        return known.digest in (version, self._registry.head_manifest(version).digest)

    def kept(self, descriptor: Descriptor) -> bytes | None:
        try:
            return self.store.read_blob(descriptor)
        except (NotFound, DigestMismatch):
            return None

    def top(self) -> tuple[Descriptor, bytes]:
        document = self._registry.get_manifest(self._reference.version)
        digest = self._reference.digest or document.digest or f"sha256:{hashlib.sha256(document.content).hexdigest()}"
        verify(document.content, parse_digest("Docker-Content-Digest", digest), f"the manifest of {self.source.name}")
        media_type = document.media_type if document.media_type in (*MANIFESTS, *INDEXES) else OCI_MANIFEST
        return Descriptor(media_type, digest, len(document.content)), document.content

    def manifest(self, descriptor: Descriptor) -> bytes:
        return self._document(descriptor, lambda: self._registry.get_manifest(descriptor.digest).content)

    def config(self, descriptor: Descriptor) -> bytes:
        if descriptor.size > MAX_DOCUMENT:
            raise InvalidImage(f"image {self.source.name}: its configuration has {descriptor.size} bytes")
        return self._document(descriptor, lambda: b"".join(self._registry.get_blob(descriptor.digest, descriptor.size)))

    def _document(self, descriptor: Descriptor, get: Callable[[], bytes]) -> bytes:
        content = self.kept(descriptor)
        if content is None:
            content = get()
            verify(content, descriptor.digest, f"a document of {self.source.name}")
            if self.source.keep:
                self.store.put_blob(descriptor.media_type, content)
        return content


def _offer_of(archive: Contents, source: Source) -> Offer:
    packed: Packed = next(iter(choose(archive, [source.name]).values()))
    config = archive.files.read(packed.files[packed.manifest.config.digest])
    check_platform(packed.config, source.platform, source.name)
    descriptor = packed.descriptor
    return Offer(source.name, descriptor.media_type, descriptor.digest, packed.content, config)
