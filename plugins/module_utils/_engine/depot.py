# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's images, out of which hosts are sent what they lack. Runs as whoever runs Ansible.

A depot is a store without unpacked layers, in a directory that may be taken away whenever no play runs. Promises: what
is fetched is fetched once for all hosts, and only what some host lacks; several processes may use one depot at once;
within one task all get the same bytes of one name, whatever a registry does meanwhile. What no task has offered for
long is removed when something else comes. Check mode keeps nothing, and removes nothing.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import time
from dataclasses import dataclass

from .errors import DigestMismatch, InvalidImage, NotFound, RegistryError
from .image.archive.contents import open_archive
from .image.archive.files import DirectoryFiles
from .image.archive.load import choose
from .image.archive.signatures import ArchiveSignatures
from .image.fetch import Fetcher
from .image.index import find_image
from .image.manifest import (
    INDEXES,
    MANIFESTS,
    MAX_DOCUMENT,
    OCI_MANIFEST,
    Descriptor,
    parse_config,
    parse_manifest,
    parse_object,
    platform_of,
)
from .image.platform import check_platform, machine_platform
from .image.registry.client import Registry
from .image.store import Store, verify, write_store
from .image.transfer.signatures import collect_signatures
from .image.trust.remote import Repository, check_remote
from .linux.files import exclusive_lock, list_directory, read_json, remove_if_exists, write_atomic, write_json
from .linux.worker import run_workers
from .model.lock import encode_lock
from .model.reference import parse_reference
from .model.registry import Access
from .model.transfer import Offer
from .paths import Paths
from .progress import Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from .image.archive.contents import Contents, Packed

_DAY = 86_400  # seconds; what a task resolved is of no use to others, what came of a blob in part not for longer
_AT_ONCE = 4  # blobs that are fetched
_EVERY = 2.0  # seconds between lines of progress


@dataclass(frozen=True)
class Source:
    """What the controller is to offer.

    ``name`` is normalised. ``src`` is an archive or a layout on the controller; empty, the image comes from its
    registry. ``platform`` is empty where the host's own is meant. ``task`` is the same for all hosts of one task.
    ``verified`` is a digest whose signatures have been seen to, or empty. ``keep``: False in check mode.
    """

    name: str
    access: Access = Access()
    src: str = ""
    platform: str = ""
    always: bool = False
    task: str = ""
    verified: str = ""
    keep: bool = True


class Depot:
    """The images under ``root``, each for ``days`` after it was offered last (0: for ever).

    Making one reads and writes nothing.
    """

    def __init__(self, root: str, days: int = 0) -> None:
        self.paths = Paths(root, os.path.join(root, "run"))
        self._store = Store(self.paths.images)
        self._days = days

    def offer(self, source: Source, machine: Callable[[], str]) -> Offer:
        """The image's documents. ``machine`` is asked for the host's uname(2) where there are several platforms.

        Raises RegistryError, NotFound (the registry has no such name, too), InvalidImage, InvalidOption,
        DigestMismatch, Untrusted, KernelError.
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
                index = top.digest
                top, _indexes = find_image(index, content, source.name, platform(), fetch.manifest)
                content = fetch.manifest(top)
            signed = [top.digest, *filter(None, [index])]
            check_remote(self.paths, reference, signed, at, verified=source.verified)
            manifest = parse_manifest(content, f"the manifest of {source.name}")
            config = fetch.config(manifest.config)
            what = f"the configuration of {source.name}"
            check_platform(parse_config(config, manifest, what), source.platform, source.name)
            if source.keep:
                self._use([top.digest, manifest.config.digest, *(blob.digest for blob in manifest.layers)], index)
            return Offer(source.name, top.media_type, top.digest, content, config, index, verified=source.verified)

    def digest(self, source: Source, note: Callable[[str], None] = lambda _note: None) -> str:
        """The digest that the registry has under the name, of an image or an index: by one HEAD request a task.

        ``note`` hears of mirrors that were passed over. Raises NotFound where it has none, RegistryError.
        """
        with exclusive_lock(self.paths.lock) if source.keep else contextlib.nullcontext():
            known = self._resolved(source, "digest ")
            if known is not None:
                return str(known[0])
            digest = _find_digest(source, note)
            self._remember(source, "digest ", [digest])
            return digest

    def hold(
        self,
        source: Source,
        offer: Offer,
        digests: Sequence[str],
        *,
        suspect: bool = False,
        show: Callable[[str], None] | None = None,
    ) -> dict[str, str]:
        """Have those blobs of an offered image in files, and say where. ``suspect``: those here may be damaged.

        ``show`` gets a line now and then about how far it is.
        """
        manifest = parse_manifest(offer.manifest, f"the manifest of {offer.name}")
        blobs = list({blob.digest: blob for blob in manifest.layers if blob.digest in set(digests)}.values())
        if source.src:
            with open_archive(source.src, lambda: _platform_of(offer)) as archive:
                if isinstance(archive.files, DirectoryFiles):
                    names = {blob.digest: f"blobs/{blob.digest.replace(':', '/')}" for blob in blobs}
                    return {digest: os.path.join(source.src, name) for digest, name in names.items()}
                files = next(packed.files for packed in archive.images if packed.descriptor.digest == offer.digest)
                with self._keep(blobs, suspect) as (store, lacking):
                    for blob in lacking:
                        chunks = archive.files.chunks(files[blob.digest])
                        store.put_stream(blob.media_type, chunks, expected=blob.digest, what=f"blob {blob.digest}")
        else:
            with self._keep(blobs, suspect) as (store, lacking):
                _fetch_blobs(store, source, lacking, show)
        return {blob.digest: self._store.blob_path(blob.digest) for blob in blobs}

    def signatures(self, source: Source, offer: Offer) -> dict[str, bytes]:
        """The signatures of an offered image, for a host whose policy wants some: for all hosts of a task the same."""
        kind = f"signatures {offer.digest} "
        with exclusive_lock(self.paths.lock) if source.keep else contextlib.nullcontext():
            known: Any = self._resolved(source, kind)
            if known is None:
                found = self._collect(source, offer)
                known = [[name, base64.b64encode(content).decode()] for name, content in found.items()]
                self._remember(source, kind, known)
        return {name: base64.b64decode(content) for name, content in known}

    def _collect(self, source: Source, offer: Offer) -> dict[str, bytes]:
        digests = [offer.digest, *filter(None, [offer.index])]
        if source.src:
            with open_archive(source.src, lambda: _platform_of(offer)) as archive:
                return collect_signatures(ArchiveSignatures(archive.files), digests)
        with contextlib.closing(Registry(parse_reference("name", source.name), access=source.access)) as registry:
            return collect_signatures(Repository(registry), digests)

    @contextlib.contextmanager
    def _keep(self, blobs: Sequence[Descriptor], suspect: bool) -> Iterator[tuple[Store, list[Descriptor]]]:
        """The blobs that are still to come. One process has them come, the others wait and find."""
        with self._open(keep=True) as store:
            has = store.is_intact if suspect else store.has_blob
            lacking = [blob for blob in blobs if not has(blob)]
            yield store, lacking
            self._use([blob.digest for blob in blobs])
            if lacking and self._days:
                self._sweep(store)

    def _use(self, digests: Sequence[str], index: str = "") -> None:
        """Blobs that are there are of use now: their files' times say when last."""
        for digest in (*digests, index):
            with contextlib.suppress(FileNotFoundError):
                os.utime(self._store.blob_path(digest))

    def _sweep(self, store: Store) -> None:
        """Remove what was of no use for long, and the names that meant it. A name without its image is no fault."""
        for age, digests, path_of in (
            (self._days * _DAY, store.blobs(), store.blob_path),
            (_DAY, store.partial_blobs(), store.partial_path),
        ):
            for path in map(path_of, digests):
                if os.stat(path).st_mtime < time.time() - age:
                    os.unlink(path)
        for name, top in store.names().items():
            if not store.has_blob(top):
                store.untag(name)

    @contextlib.contextmanager
    def _open(self, *, keep: bool) -> Iterator[Store]:
        locked = exclusive_lock(self.paths.lock) if keep else contextlib.nullcontext()
        with locked, write_store(self.paths) if keep else contextlib.nullcontext(self._store) as store:
            yield store

    def _resolve(self, fetch: _Fetch) -> tuple[Descriptor, bytes]:
        """What the name means: as this task found it before, or as the depot has it, or as the registry says."""
        source = fetch.source
        resolved: Any = self._resolved(source)
        known = Descriptor(*resolved) if resolved else self._store.names().get(source.name)
        with _asking(source):
            if known is not None and (resolved or not source.always or fetch.is_current(known)):
                content = fetch.kept(known)
                if content is not None:
                    return known, content
            top, content = fetch.top()
        if source.keep:
            fetch.store.put_blob(top.media_type, content, top.digest)
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


@contextlib.contextmanager
def _asking(source: Source) -> Iterator[None]:
    """``with`` a registry is asked for what is offered: NotFound where it has no such name."""
    try:
        yield
    except RegistryError as error:
        if error.status != 404:
            raise
        raise NotFound("image", source.name, str(error), where="at its registry") from error


def _find_digest(source: Source, note: Callable[[str], None]) -> str:
    reference = parse_reference("name", source.name)
    with _asking(source), contextlib.closing(Registry(reference, access=source.access)) as registry:
        # Which a registry should tell, and need not (distribution-spec, "Pulling manifests").
        digest = registry.head_manifest(reference.version).digest or registry.get_manifest(reference.version).digest
    for told in registry.notes:
        note(told)
    return digest


def _fetch_blobs(store: Store, source: Source, blobs: Sequence[Descriptor], show: Callable[[str], None] | None) -> None:
    """Several at a time, the largest first. What came of one before a break stays for the next run."""
    progress = Progress(f"pulling {source.name}", sum(blob.size for blob in blobs), len(blobs), show, interval=_EVERY)
    with contextlib.closing(Registry(parse_reference("name", source.name), access=source.access)) as registry:

        def fetcher(blob: Descriptor) -> Fetcher:
            what = f"blob {blob.digest} of {source.name}"
            content = registry.open_blob(blob.digest, blob.size, blob.urls)
            return Fetcher(store, blob, content, what=what, count=progress.counter().add)

        ordered = sorted(blobs, key=lambda blob: -blob.size)
        run_workers([fetcher(blob).fetch for blob in ordered], _AT_ONCE, progress.tick)
    if blobs:
        progress.end()


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
        return known.digest in (version, self._registry.head_manifest(version, known.digest).digest)

    def kept(self, descriptor: Descriptor) -> bytes | None:
        try:
            return self.store.read_blob(descriptor)
        except (NotFound, DigestMismatch):
            return None

    def top(self) -> tuple[Descriptor, bytes]:
        document = self._registry.get_manifest(self._reference.version)
        media_type = document.media_type if document.media_type in (*MANIFESTS, *INDEXES) else OCI_MANIFEST
        return Descriptor(media_type, document.digest, len(document.content)), document.content

    def manifest(self, descriptor: Descriptor) -> bytes:
        return self._document(descriptor, lambda: self._registry.get_manifest(descriptor.digest).content)

    def config(self, descriptor: Descriptor) -> bytes:
        if descriptor.size > MAX_DOCUMENT:
            raise InvalidImage(f"image {self.source.name}: its configuration has {descriptor.size} bytes")
        what = f"the configuration of {self.source.name}"
        return self._document(descriptor, lambda: self._registry.read_blob(descriptor.digest, descriptor.size, what))

    def _document(self, descriptor: Descriptor, get: Callable[[], bytes]) -> bytes:
        content = self.kept(descriptor)
        if content is None:
            content = get()
            verify(content, descriptor.digest, f"a document of {self.source.name}")
            if self.source.keep:
                self.store.put_blob(descriptor.media_type, content, descriptor.digest)
        return content


def _offer_of(archive: Contents, source: Source) -> Offer:
    packed: Packed = next(iter(choose(archive, [source.name]).values()))
    config = archive.files.read(packed.files[packed.manifest.config.digest])
    check_platform(packed.config, source.platform, source.name)
    descriptor = packed.descriptor
    index, verified = packed.chosen_from, source.verified
    return Offer(
        source.name, descriptor.media_type, descriptor.digest, packed.content, config, index, verified=verified
    )


def _platform_of(offer: Offer) -> str:
    """The platform that an offered image was chosen for, where an archive has it for several."""
    return platform_of(parse_object(offer.config, f"the configuration of {offer.name}"))
