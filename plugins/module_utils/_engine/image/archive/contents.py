# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What images an archive holds, whatever its format: an OCI image layout or what ``docker save`` writes.

Promises: only documents are read, never a layer that is not compressed; what an image needs is there and has the size
that is said of it; a document has the digest of its name. Whether layers do, verify_files() says. What is wrong is
InvalidImage or DigestMismatch, before anything is done with what is right.
"""

from __future__ import annotations

import contextlib
import hashlib
from typing import NamedTuple

from ...errors import DigestMismatch, InvalidImage, InvalidReference
from ...model.archive import DOCKER_ARCHIVE, OCI_ARCHIVE, OCI_DIRECTORY
from ...model.reference import normalise, parse_digest
from ..index import find_image
from ..layer.compression import compression_of
from ..manifest import (
    INDEXES,
    MANIFESTS,
    OCI_CONFIG,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
    Manifest,
    encode,
    parse_config,
    parse_descriptor,
    parse_manifest,
    parse_object,
)
from ..store import REF_NAME, verify
from .files import DirectoryFiles, open_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from .files import Files

# What containerd and docker call an image in a layout; REF_NAME then has the tag alone.
CONTAINERD_NAME = "io.containerd.image.name"
_CONFIGS = (OCI_CONFIG, "application/vnd.docker.container.image.v1+json")
_MAX_IMAGES = 1000


class Packed(NamedTuple):
    """One image of an archive. ``name`` is normalised, or empty; ``told`` is what the archive calls it.

    ``files`` says in which file of the archive the blob of a digest is; the manifest may be in none.
    ``chosen_from`` is the digest of the index that the image was found in, or empty.
    """

    name: str
    told: str
    descriptor: Descriptor
    content: bytes
    manifest: Manifest
    config: dict[str, Any]
    files: dict[str, str]
    chosen_from: str = ""

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """The configuration and the layers."""
        return (self.manifest.config, *self.manifest.layers)


class Contents(NamedTuple):
    """An archive that is open. ``format`` is one of model/archive.py's."""

    files: Files
    format: str
    images: tuple[Packed, ...]


@contextlib.contextmanager
def open_archive(path: str, platform: Callable[[], str] = str) -> Iterator[Contents]:
    """The archive at ``path``. Raises NotFound, InvalidImage, DigestMismatch, KernelError; writes nothing.

    ``platform`` is called where images of several must be chosen from; an empty answer means this host's.
    """
    files = open_files(path)
    try:
        yield _contents(files, platform)
    finally:
        files.close()


def _contents(files: Files, platform: Callable[[], str]) -> Contents:
    if "index.json" in files.sizes:
        kind = OCI_DIRECTORY if isinstance(files, DirectoryFiles) else OCI_ARCHIVE
        return Contents(files, kind, tuple(_oci_images(files, platform)))
    if "manifest.json" in files.sizes:
        return Contents(files, DOCKER_ARCHIVE, tuple(_docker_images(files)))
    raise InvalidImage(f"{files.path} has neither index.json nor manifest.json: it is no archive of images")


def verify_files(files: Files, blobs: Mapping[str, Descriptor]) -> None:
    """Read those files of an archive; DigestMismatch where one is not the blob that it should be."""
    for name in files.in_order(blobs):
        expected = blobs[name].digest
        state = hashlib.new(expected.partition(":")[0])
        for chunk in files.chunks(name):
            state.update(chunk)
        found = f"{state.name}:{state.hexdigest()}"
        if found != expected:
            raise DigestMismatch(f"{files.path}: {name}", expected, found)


# An OCI image layout (image-spec 1.1, image-layout.md) -------------------------------------------


def _oci_images(files: Files, platform: Callable[[], str]) -> Iterator[Packed]:
    what = f"{files.path}: index.json"
    index = parse_object(files.read("index.json"), what)
    entries = index.get("manifests")
    if not isinstance(entries, list) or len(entries) > _MAX_IMAGES:
        raise InvalidImage(f"{what} is not an image index of at most {_MAX_IMAGES} images")
    for number, entry in enumerate(entries):
        descriptor = parse_descriptor(entry, f"{what}: manifest {number}")
        annotations = entry.get("annotations")
        annotations = annotations if isinstance(annotations, dict) else {}
        told = annotations.get(CONTAINERD_NAME) or annotations.get(REF_NAME) or ""
        chosen_from = ""
        if descriptor.media_type in INDEXES:
            chosen_from = descriptor.digest
            where = f"{files.path}: the index {descriptor.digest}"
            content = _read_blob(files, descriptor)
            descriptor, _indexes = find_image(
                descriptor.digest, content, where, platform(), lambda inner: _read_blob(files, inner)
            )
        if descriptor.media_type in MANIFESTS:
            image = _oci_image(files, descriptor, told if isinstance(told, str) else "")
            if image is not None:
                yield image._replace(chosen_from=chosen_from)


def _oci_image(files: Files, descriptor: Descriptor, told: str) -> Packed | None:
    """An image; None for what is none, such as signatures and attestations, whose layers are documents."""
    what = f"{files.path}: image {told or descriptor.digest}"
    content = _read_blob(files, descriptor)
    manifest = parse_manifest(content, f"{what}: its manifest")
    of_documents = any(layer.media_type.endswith("+json") for layer in manifest.layers)
    if of_documents or manifest.config.media_type not in _CONFIGS:
        return None
    config = parse_config(_read_blob(files, manifest.config), manifest, f"{what}: its configuration")
    names = {}
    for blob in (descriptor, manifest.config, *manifest.layers):
        names[blob.digest] = _blob_file(files, blob)
    return Packed(_name(told), told, descriptor, content, manifest, config, names)


def _read_blob(files: Files, descriptor: Descriptor) -> bytes:
    name = _blob_file(files, descriptor)
    content = files.read(name)
    verify(content, descriptor.digest, f"{files.path}: {name}")
    return content


def _blob_file(files: Files, descriptor: Descriptor) -> str:
    name = f"blobs/{descriptor.digest.replace(':', '/')}"
    size = files.sizes.get(name)
    if size is None:
        raise InvalidImage(f"{files.path} has no {name!r}, which its index needs; it is not whole")
    if size != descriptor.size:
        raise InvalidImage(f"{files.path}: {name!r} has {size} bytes, and should have {descriptor.size}")
    return name


def _name(told: str) -> str:
    try:
        return normalise("name", told) if told else ""
    except InvalidReference:
        return ""


# What docker save writes (moby, image/spec/v1.2.md, "Combined Image JSON + Filesystem Changeset Format") ---------


def _docker_images(files: Files) -> Iterator[Packed]:
    what = f"{files.path}: manifest.json"
    entries = parse_object(b'{"images":%b}' % files.read("manifest.json"), what)["images"]
    if not isinstance(entries, list) or len(entries) > _MAX_IMAGES:
        raise InvalidImage(f"{what} is not a list of at most {_MAX_IMAGES} images")
    looked_at: dict[str, Descriptor] = {}
    named = 0
    for entry in entries:
        entry = entry if isinstance(entry, dict) else {}  # noqa: PLW2901 - what is no image has no fields
        tags, layers = entry.get("RepoTags") or [], entry.get("Layers") or []
        if not isinstance(entry.get("Config"), str) or not (_are_strings(tags) and _are_strings(layers)):
            raise InvalidImage(f"{what} has an image without Config, RepoTags and Layers as docker writes them")
        named += len(tags)
        if named > _MAX_IMAGES:
            raise InvalidImage(f"{what} has more than {_MAX_IMAGES} names")
        image = _docker_image(files, entry["Config"], layers, looked_at)
        for told in tags or [""]:
            yield image._replace(name=_name(told), told=told)


def _docker_image(files: Files, config_file: str, layer_files: list[str], looked_at: dict[str, Descriptor]) -> Packed:
    """An image, with the manifest that its configuration and layers have as they stand in the archive."""
    what = f"{files.path}: {config_file}"
    content = files.read(config_file)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    stem = config_file.rpartition("/")[2]
    stem = stem[: -len(".json")] if stem.endswith(".json") else stem
    with contextlib.suppress(InvalidReference):  # not all writers name it after its digest
        verify(content, parse_digest("Config", f"sha256:{stem}"), what)
    descriptor = Descriptor(OCI_CONFIG, digest, len(content))
    placeholders = tuple(Descriptor(OCI_LAYER, "", 0) for _file in layer_files)
    config = parse_config(content, Manifest(descriptor, placeholders), what)
    layers = []
    for name, diff_id in zip(layer_files, config["rootfs"]["diff_ids"]):
        if name not in looked_at:  # a thousand images may say the same gigabyte
            looked_at[name] = _docker_layer(files, name)
        layer = looked_at[name]
        layers.append(layer if layer.digest else layer._replace(digest=diff_id))
    manifest = Manifest(descriptor, tuple(layers))
    document = encode(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor.to_json(),
            "layers": [layer.to_json() for layer in layers],
        }
    )
    parse_manifest(document, f"{what}: its manifest")  # no more layers than can be stacked
    names = {digest: config_file, **{layer.digest: name for layer, name in zip(layers, layer_files)}}
    whole = Descriptor(OCI_MANIFEST, f"sha256:{hashlib.sha256(document).hexdigest()}", len(document))
    return Packed("", "", whole, document, manifest, config, names)


def _docker_layer(files: Files, name: str) -> Descriptor:
    """A layer; one that is not compressed has the digest that its configuration says."""
    if name not in files.sizes:
        raise InvalidImage(f"{files.path} has no {name!r}, which its manifest.json needs; it is not whole")
    compression = compression_of(files.first(name, 512))
    if not compression:
        return Descriptor(OCI_LAYER, "", files.sizes[name])
    state = hashlib.sha256()
    for chunk in files.chunks(name):
        state.update(chunk)
    return Descriptor(f"{OCI_LAYER}+{compression}", f"sha256:{state.hexdigest()}", files.sizes[name])


def _are_strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
