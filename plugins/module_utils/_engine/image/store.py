# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images on disk: an OCI image layout (image-spec 1.1, image-layout.md) that skopeo and umoci read and write too.

Promises: a blob is whole and has the digest of its name, or is not there; what is read is verified; what index.json
names is durable. Writers share the store's lock, a sweep has it alone; readers need none, since everything is renamed
into place. A killed writer leaves files under ``.partial`` alone: blobs that came in part, under their digests, which
the next pull of them goes on from, and others, which the next writer clears.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import itertools
import os

from ..errors import DigestMismatch, InvalidReference, KernelError, NotFound, StateCorrupt
from ..linux.files import (
    list_directory,
    read_json,
    remove_if_exists,
    sync_filesystem,
    write_atomic,
    write_json,
)
from ..model.reference import normalise
from .manifest import OCI_INDEX, Descriptor, Manifest, parse_config, parse_descriptor, parse_manifest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, BinaryIO

    from ..paths import Paths

# image-spec, annotations.md: the name that `oci:<layout>:<name>` means to other tools.
REF_NAME = "org.opencontainers.image.ref.name"
# Of our own: the image came from the registry that its name names, which may be asked for it again.
_PULLED = "org.stowage.pulled"
_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
_PARTIAL = ".partial"
_ALGORITHMS = ("sha256-", "sha512-")  # how the name of a blob that came in part begins
_new_names = itertools.count()
_CHUNK = 1 << 20


class Store:
    """The blobs and names under one directory. Making one reads and writes nothing."""

    def __init__(self, root: str) -> None:
        self.root = root

    def blob_path(self, digest: str) -> str:
        """Where the blob is or would be. ``digest`` has been parsed: it cannot leave the store."""
        algorithm, _colon, encoded = digest.partition(":")
        return os.path.join(self.root, "blobs", algorithm, encoded)

    def partial_path(self, digest: str) -> str:
        """Where a blob is that came in part: only for who holds its content lock (locks.py)."""
        return os.path.join(self.root, _PARTIAL, digest.replace(":", "-"))

    def has_blob(self, descriptor: Descriptor) -> bool:
        """Whether a blob of that digest and size is there (its content is verified when it is read)."""
        try:
            return os.stat(self.blob_path(descriptor.digest)).st_size == descriptor.size
        except FileNotFoundError:
            return False

    def is_intact(self, descriptor: Descriptor) -> bool:
        """Whether the blob is there and has the content that its name says; reads all of it."""
        state = hashlib.new(descriptor.digest.partition(":")[0])
        try:
            with self.open_blob(descriptor) as file:
                for chunk in read_chunks(file):
                    state.update(chunk)
        except NotFound:
            return False
        return descriptor.digest == f"{state.name}:{state.hexdigest()}"

    def read_blob(self, descriptor: Descriptor) -> bytes:
        """The content of a small blob, verified. Raises NotFound, DigestMismatch."""
        with self.open_blob(descriptor) as file:
            content = file.read()
        verify(content, descriptor.digest, self.blob_path(descriptor.digest))
        return content

    def open_blob(self, descriptor: Descriptor) -> BinaryIO:
        """A blob to stream from; whoever reads it verifies what comes. Raises NotFound."""
        try:
            return open(self.blob_path(descriptor.digest), "rb")
        except FileNotFoundError as error:
            raise NotFound("blob", descriptor.digest, "pull or assemble the image again") from error

    def blobs(self) -> list[str]:
        """The digests of all blobs."""
        blobs = os.path.join(self.root, "blobs")
        return [
            f"{algorithm}:{encoded}"
            for algorithm in list_directory(blobs)
            for encoded in list_directory(os.path.join(blobs, algorithm))
        ]

    def names(self) -> dict[str, Descriptor]:
        """Every image of the store: its normalised name, and its manifest's descriptor. Raises StateCorrupt."""
        found = {}
        for entry in self._entries():
            name = _ref_name(entry)
            if name:
                found[name] = parse_descriptor(entry, f"{name} in {self.root}/index.json")
        return found

    def pulled(self) -> dict[str, Descriptor]:
        """The images of names() that came from a registry under that name; the others were made or brought here."""
        came = {
            _ref_name(entry) for entry in self._entries() if (entry.get("annotations") or {}).get(_PULLED) == "true"
        }
        return {name: descriptor for name, descriptor in self.names().items() if name in came}

    def roots(self) -> list[Descriptor]:
        """What index.json names, with entries that other tools wrote under no name of ours."""
        return [parse_descriptor(entry, f"an entry of {self.root}/index.json") for entry in self._entries()]

    def read_image(self, descriptor: Descriptor, name: str) -> tuple[Manifest, dict[str, Any]]:
        """An image's manifest and configuration, verified. Raises NotFound, DigestMismatch, InvalidImage."""
        manifest = parse_manifest(self.read_blob(descriptor), f"the manifest of {name}")
        return manifest, parse_config(self.read_blob(manifest.config), manifest, f"the configuration of {name}")

    # Writing: only inside write_store() -----------------------------------------------------------

    def put_blob(self, media_type: str, content: bytes, digest: str = "") -> Descriptor:
        """Store ``content``, as ``digest`` where it has that name already; a blob that is there, be it damaged, is
        replaced. Raises DigestMismatch."""
        return self.put_stream(media_type, (content,), expected=digest)

    def put_stream(
        self, media_type: str, chunks: Iterable[bytes], expected: str = "", what: str = "blob"
    ) -> Descriptor:
        """Store what ``chunks`` yield, never holding more than one. Raises DigestMismatch, and then stores nothing."""
        temporary = os.path.join(self.root, _PARTIAL, f"new-{os.getpid()}-{next(_new_names)}")
        algorithm = expected.partition(":")[0] or "sha256"
        state = hashlib.new(algorithm)
        try:
            with open(temporary, "wb", buffering=0) as file:
                for chunk in chunks:
                    state.update(chunk)
                    write_all(file.fileno(), chunk)
                size = file.tell()
            digest = f"{algorithm}:{state.hexdigest()}"
            if expected and digest != expected:
                raise DigestMismatch(what, expected, digest)
            os.makedirs(os.path.dirname(self.blob_path(digest)), mode=0o700, exist_ok=True)
            os.rename(temporary, self.blob_path(digest))
        except BaseException as error:
            remove_if_exists(temporary)
            if isinstance(error, OSError):
                raise KernelError(f"storing {what}", error) from error
            raise
        return Descriptor(media_type, digest, size)

    def tag(self, name: str, descriptor: Descriptor, *, pulled: bool = False) -> None:
        """Let ``name`` mean that manifest, durably, with all blobs written before. This is what makes an image be."""
        entry = {**descriptor.to_json(), "annotations": {REF_NAME: name, **({_PULLED: "true"} if pulled else {})}}
        sync_filesystem(self.root)
        with self._index_lock():
            self._write_index([*(other for other in self._entries() if _ref_name(other) != name), entry])

    def untag(self, name: str) -> None:
        """Forget ``name``; content stays until it is swept."""
        with self._index_lock():
            entries = self._entries()
            kept = [entry for entry in entries if _ref_name(entry) != name]
            if len(kept) < len(entries):
                self._write_index(kept)

    def remove_blob(self, digest: str) -> None:
        remove_if_exists(self.blob_path(digest))

    def prepare(self) -> None:
        """Make the layout where it is not whole."""
        for directory in (os.path.join("blobs", "sha256"), _PARTIAL):
            os.makedirs(os.path.join(self.root, directory), mode=0o700, exist_ok=True)
        if os.path.exists(self._index_path):
            return
        with self._index_lock():
            write_atomic(os.path.join(self.root, "oci-layout"), _LAYOUT, durable=False)
            self._write_index(self._entries())

    def clear(self) -> None:
        """Remove what a killed writer left, with nobody else writing; blobs that came in part stay."""
        for name in list_directory(os.path.join(self.root, _PARTIAL)):
            if not name.startswith(_ALGORITHMS):
                remove_if_exists(os.path.join(self.root, _PARTIAL, name))

    def partial_blobs(self) -> list[str]:
        """The digests of the blobs that came in part."""
        names = list_directory(os.path.join(self.root, _PARTIAL))
        return [name.replace("-", ":", 1) for name in names if name.startswith(_ALGORITHMS)]

    @contextlib.contextmanager
    def _index_lock(self) -> Iterator[None]:
        """Hold the names, for as long as it takes to write them anew."""
        fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    @property
    def _index_path(self) -> str:
        return os.path.join(self.root, "index.json")

    def _entries(self) -> list[dict[str, Any]]:
        index = read_json(self._index_path)
        if index is None:
            return []
        manifests = index.get("manifests") if isinstance(index, dict) else None
        if not isinstance(manifests, list) or not all(isinstance(entry, dict) for entry in manifests):
            raise StateCorrupt(self._index_path, "not an OCI image index")
        return manifests

    def _write_index(self, entries: list[dict[str, Any]]) -> None:
        write_json(self._index_path, {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})


@contextlib.contextmanager
def write_store(paths: Paths, *, alone: bool = False) -> Iterator[Store]:
    """The store, for writing beside other writers, or (``alone``) when there is none; made where it is not whole.

    What a killed writer left is cleared if nobody else is writing. Raises KernelError where the disk refuses.
    """
    try:
        os.makedirs(os.path.dirname(paths.image_lock), mode=0o700, exist_ok=True)
        fd = os.open(paths.image_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise KernelError("writing images", error) from error
    try:
        store = Store(paths.images)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | (0 if alone else fcntl.LOCK_NB))
            store.clear()
        if not alone:
            fcntl.flock(fd, fcntl.LOCK_SH)
        store.prepare()
        os.makedirs(paths.layers, mode=0o700, exist_ok=True)
        yield store
    except OSError as error:  # a full disk, for one
        raise KernelError("writing images", error) from error
    finally:
        os.close(fd)


def write_all(fd: int, content: bytes | memoryview) -> None:
    """write(2) until all of ``content`` is written."""
    written = os.write(fd, content)
    while written < len(content):
        content = memoryview(content)[written:]
        written = os.write(fd, content)


def verify(content: bytes, digest: str, what: str) -> None:
    """Raise DigestMismatch unless ``content`` hashes to ``digest``."""
    algorithm = digest.partition(":")[0]
    found = f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"
    if found != digest:
        raise DigestMismatch(what, digest, found)


def read_chunks(file: BinaryIO) -> Iterator[bytes]:
    """A file's content, a piece at a time."""
    return iter(lambda: file.read(_CHUNK), b"")


def _ref_name(entry: dict[str, Any]) -> str:
    """An entry's name, normalised; empty where it has none that a name can be. Tools may have written short ones."""
    annotations = entry.get("annotations")
    name = annotations.get(REF_NAME) if isinstance(annotations, dict) else None
    try:
        return normalise(REF_NAME, name) if isinstance(name, str) else ""
    except InvalidReference:
        return ""
