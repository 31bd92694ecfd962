# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write images of the store into an archive that docker, podman, skopeo and umoci read.

Promises: same images, same bytes; every blob is verified on its way; an archive is replaced whole or not at all. A
manifest in docker's spelling is written in OCI's, under which alone others find it in a layout: its digest is another
then, its configuration and layers are the same.
"""

from __future__ import annotations

import hashlib
import os
from typing import NamedTuple

from ...errors import Conflict, DigestMismatch, InvalidImage, InvalidOption, KernelError, NotFound
from ...linux.files import create_file, list_directory, remove_if_exists, sync_filesystem, write_atomic
from ...model.archive import DOCKER_ARCHIVE, OCI_DIRECTORY, Archive
from ...model.reference import normalise, parse_reference
from ..layer.budget import DEFAULT_BUDGET
from ..layer.compression import LayerStream
from ..manifest import (
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
    Manifest,
    encode,
    parse_object,
)
from ..store import REF_NAME, Store, read_chunks, write_all
from .contents import CONTAINERD_NAME, open_archive, verify_files
from .tar import ArchiveWriter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from ...paths import Paths
    from .contents import Contents

_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
_CHUNK = 1 << 20
_DOCKER_SUFFIXES = {"": "", ".gzip": "+gzip", ".zstd": "+zstd"}


class _Image(NamedTuple):
    name: str
    descriptor: Descriptor
    content: bytes
    manifest: Manifest
    diff_ids: list[str]


def resolve_archive(paths: Paths, archive: Archive) -> Archive:
    """``archive`` with the digests that its images (pairs of name and anything) have; only reads.

    Raises NotFound for an image that is not on this host, InvalidOption (path, names), Conflict (path).
    """
    _refuse_path(paths, archive)
    images = _read_images(Store(paths.images), archive)
    digest = _identity(archive.format)
    return Archive(archive.path, archive.format, archive.compression, tuple((i.name, digest(i)) for i in images))


def observe_archive(path: str) -> Archive | None:
    """What is at ``path``, all of its content verified; None where that is no archive of images. Only reads."""
    try:
        with open_archive(path) as contents:
            digest = _identity(contents.format)
            images = tuple(sorted((packed.name or packed.told, digest(packed)) for packed in contents.images))
            return Archive(path, contents.format, contents.files.compression or "none", images, _is_whole(contents))
    except (NotFound, InvalidImage, DigestMismatch):
        return None


def save_images(paths: Paths, archive: Archive) -> Archive:
    """Have ``archive`` at its path, with images of the store. Raises as resolve_archive(), DigestMismatch, KernelError.

    The store need not be locked: blobs are whole or not there, and one that is swept meanwhile is NotFound.
    """
    _refuse_path(paths, archive)
    store = Store(paths.images)
    images = _read_images(store, archive)
    try:
        if archive.format == OCI_DIRECTORY:
            _write_layout(store, archive.path, images)
        else:
            with ArchiveWriter(archive.path, archive.compression) as writer:
                (_write_docker if archive.format == DOCKER_ARCHIVE else _write_oci)(store, writer, images)
    except OSError as error:
        raise KernelError("writing the archive", error) from error
    return resolve_archive(paths, archive)


def _identity(kind: str) -> Any:
    """What names an image in an archive: docker's has no manifests."""
    if kind == DOCKER_ARCHIVE:
        return lambda image: image.manifest.config.digest
    return lambda image: image.descriptor.digest


def _is_whole(contents: Contents) -> bool:
    """Whether every blob is what it should be; and in a directory, whether there is none that no image needs."""
    files = {packed.files[blob.digest]: blob for packed in contents.images for blob in packed.blobs}
    try:
        verify_files(contents.files, files)
    except DigestMismatch:
        return False
    if contents.format == DOCKER_ARCHIVE:  # where docker compresses no layer
        return not any("+" in layer.media_type for packed in contents.images for layer in packed.manifest.layers)
    if contents.format != OCI_DIRECTORY:
        return True
    needed = {name for packed in contents.images for name in packed.files.values()}
    return {name for name in contents.files.sizes if name.startswith("blobs/")} == needed


def _refuse_path(paths: Paths, archive: Archive) -> None:
    path = archive.path
    if not os.path.isabs(path) or path.endswith("/"):
        raise InvalidOption("path", path, "an absolute path, with no slash at its end")
    if os.path.commonpath((os.path.realpath(path), os.path.realpath(paths.root))) == os.path.realpath(paths.root):
        raise InvalidOption("path", path, f"a path outside of {paths.root}, which is the engine's own")
    if not os.path.isdir(os.path.dirname(path)):
        raise InvalidOption("path", path, "a path in a directory that is there")
    directory = archive.format == OCI_DIRECTORY
    if not directory and os.path.isdir(path):
        raise Conflict(f"{path} is a directory, where the archive is to be a file; remove it, or choose another path")
    if directory and os.path.lexists(path) and not os.path.isdir(path):
        raise Conflict(f"{path} is no directory; remove it, or choose another path")
    if directory and os.path.isdir(path) and set(os.listdir(path)) - {"oci-layout", "index.json", "blobs"}:
        raise Conflict(f"{path} holds what no OCI image layout does; remove it, or choose another path")


def _read_images(store: Store, archive: Archive) -> list[_Image]:
    names = sorted({normalise("names", name) for name, _digest in archive.images})
    if not names:
        raise InvalidOption("names", [], "the name of an image at least")
    if archive.format == DOCKER_ARCHIVE:
        for name in names:
            if "@" in name:
                raise InvalidOption("names", name, f"a name with a tag alone: a {DOCKER_ARCHIVE} has no others")
    there = store.names()
    images = []
    for name in names:
        if name not in there:
            raise NotFound("image", name, "pull, load or assemble it first")
        descriptor = there[name]
        manifest, config = store.read_image(descriptor, name)
        content = store.read_blob(descriptor)
        if descriptor.media_type == DOCKER_MANIFEST:
            descriptor, content, manifest = _in_oci_spelling(content, manifest)
        images.append(_Image(name, descriptor, content, manifest, config["rootfs"]["diff_ids"]))
    return images


def _in_oci_spelling(content: bytes, manifest: Manifest) -> tuple[Descriptor, bytes, Manifest]:
    layers = []
    for layer in manifest.layers:
        suffix = layer.media_type[len(DOCKER_LAYER) :] if layer.media_type.startswith(DOCKER_LAYER) else None
        spelled = layer.media_type if suffix is None else OCI_LAYER + _DOCKER_SUFFIXES.get(suffix, "")
        layers.append(layer._replace(media_type=spelled))
    config = manifest.config._replace(media_type=OCI_CONFIG)
    document = {
        **parse_object(content, "the manifest"),
        "mediaType": OCI_MANIFEST,
        "config": config.to_json(),
        "layers": [layer.to_json() for layer in layers],
    }
    encoded = encode(document)
    digest = f"sha256:{hashlib.sha256(encoded).hexdigest()}"
    return Descriptor(OCI_MANIFEST, digest, len(encoded)), encoded, Manifest(config, tuple(layers))


# The formats --------------------------------------------------------------------------------------


def _index(images: Sequence[_Image]) -> bytes:
    entries = [
        {**image.descriptor.to_json(), "annotations": {CONTAINERD_NAME: image.name, REF_NAME: image.name}}
        for image in images
    ]
    return encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})


def _blobs(images: Sequence[_Image]) -> dict[str, Descriptor]:
    """Every configuration and layer by its digest, sorted."""
    blobs = {blob.digest: blob for image in images for blob in (image.manifest.config, *image.manifest.layers)}
    return {digest: blobs[digest] for digest in sorted(blobs)}


def _write_oci(store: Store, writer: ArchiveWriter, images: Sequence[_Image]) -> None:
    writer.add("oci-layout", _LAYOUT)
    writer.add("index.json", _index(images))
    manifests = {image.descriptor.digest: image.content for image in images}
    for digest in sorted(manifests):
        writer.add(_blob_name(digest), manifests[digest])
    for digest, blob in _blobs(images).items():
        writer.add_stream(_blob_name(digest), blob.size, _verified(store, blob))


def _write_docker(store: Store, writer: ArchiveWriter, images: Sequence[_Image]) -> None:
    """Documents first: whoever reads a compressed archive need not look for them at its end."""
    entries, repositories = [], dict[str, dict[str, str]]()
    for image in images:
        reference = parse_reference("names", image.name)
        files = [f"{_encoded(diff_id)}.tar" for diff_id in image.diff_ids]
        config = f"{_encoded(image.manifest.config.digest)}.json"
        entries.append({"Config": config, "RepoTags": [image.name], "Layers": files})
        if image.diff_ids:  # what docker before 1.10 reads
            repository = repositories.setdefault(f"{reference.registry}/{reference.repository}", {})
            repository[reference.tag] = _encoded(image.diff_ids[-1])
    writer.add("manifest.json", encode(entries))
    writer.add("repositories", encode(repositories))
    configs = {image.manifest.config.digest: image.manifest.config for image in images}
    for digest in sorted(configs):
        writer.add(f"{_encoded(digest)}.json", store.read_blob(configs[digest]))
    layers = {diff: blob for image in images for diff, blob in zip(image.diff_ids, image.manifest.layers)}
    for diff_id in sorted(layers):
        size = -1 if writer.rewritable else sum(map(len, _uncompressed(store, layers[diff_id], diff_id)))
        writer.add_stream(f"{_encoded(diff_id)}.tar", size, _uncompressed(store, layers[diff_id], diff_id))


def _write_layout(store: Store, path: str, images: Sequence[_Image]) -> None:
    """Blobs first, then the index, in one moment; then what no image needs any more goes."""
    os.makedirs(path, mode=0o755, exist_ok=True)
    manifests = {image.descriptor.digest: image.content for image in images}
    blobs = _blobs(images)
    for digest in (*manifests, *blobs):
        os.makedirs(os.path.dirname(os.path.join(path, _blob_name(digest))), mode=0o755, exist_ok=True)
    for digest, content in manifests.items():
        write_atomic(os.path.join(path, _blob_name(digest)), content, mode=0o644, durable=False)
    for digest, blob in blobs.items():
        target = os.path.join(path, _blob_name(digest))
        if not _is_intact(target, blob):
            _copy_blob(store, blob, target)
    write_atomic(os.path.join(path, "oci-layout"), _LAYOUT, mode=0o644, durable=False)
    sync_filesystem(path)
    write_atomic(os.path.join(path, "index.json"), _index(images), mode=0o644)
    for algorithm in list_directory(os.path.join(path, "blobs")):
        for encoded in list_directory(os.path.join(path, "blobs", algorithm)):
            if f"{algorithm}:{encoded}" not in manifests and f"{algorithm}:{encoded}" not in blobs:
                remove_if_exists(os.path.join(path, "blobs", algorithm, encoded))


def _is_intact(path: str, blob: Descriptor) -> bool:
    """Whether a file of ours is there and is that blob; what is no file of ours is written anew."""
    try:
        if os.path.islink(path) or os.stat(path).st_size != blob.size:
            return False
        state = hashlib.new(blob.digest.partition(":")[0])
        with open(path, "rb") as file:
            for chunk in read_chunks(file):
                state.update(chunk)
    except FileNotFoundError:
        return False
    return f"{state.name}:{state.hexdigest()}" == blob.digest


def _copy_blob(store: Store, blob: Descriptor, target: str) -> None:
    directory, name = os.path.split(target)
    temporary = os.path.join(directory, f".{name}.tmp")
    fd = create_file(temporary, 0o644)
    try:
        for chunk in _verified(store, blob):
            write_all(fd, chunk)
        os.rename(temporary, target)
    finally:
        os.close(fd)
        remove_if_exists(temporary)


def _verified(store: Store, blob: Descriptor) -> Iterator[bytes]:
    """A blob's content; DigestMismatch at its end where the disk has made another of it."""
    state = hashlib.new(blob.digest.partition(":")[0])
    with store.open_blob(blob) as file:
        for chunk in read_chunks(file):
            state.update(chunk)
            yield chunk
    found = f"{state.name}:{state.hexdigest()}"
    if found != blob.digest:
        raise DigestMismatch(store.blob_path(blob.digest), blob.digest, found)


def _uncompressed(store: Store, blob: Descriptor, diff_id: str) -> Iterator[bytes]:
    with store.open_blob(blob) as file:
        stream = LayerStream(file, limit=DEFAULT_BUDGET.size, algorithm=diff_id.partition(":")[0])
        yield from iter(lambda: stream.read(_CHUNK), b"")
        if stream.digest() != diff_id:
            raise DigestMismatch(f"the layer {blob.digest}", diff_id, stream.digest())


def _blob_name(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _encoded(digest: str) -> str:
    return digest.partition(":")[2]
