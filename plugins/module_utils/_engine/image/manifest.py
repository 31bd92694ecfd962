# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifests and configurations (OCI image-spec 1.1: manifest.md, config.md; and docker's schema 2, the same in shape).

What is parsed here came from elsewhere: every field that is used is checked, and what is wrong is InvalidImage.
"""

from __future__ import annotations

import hashlib
import json
from typing import NamedTuple

from ..errors import InvalidImage, InvalidReference
from ..model.image import Image, ImageConfig
from ..model.platform import normal_platform
from ..model.reference import parse_digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"

INDEXES = (OCI_INDEX, DOCKER_INDEX)
MANIFESTS = (OCI_MANIFEST, DOCKER_MANIFEST)
# Layers that may not be given to others: a registry need not have them (image-spec, layer.md; docker's schema 2).
FOREIGN_LAYERS = ("application/vnd.oci.image.layer.nondistributable.", "application/vnd.docker.image.rootfs.foreign.")

# Documentation/filesystems/overlayfs.rst: an overlay has at most 500 lower layers.
MAX_LAYERS = 500
# distribution-spec: "a registry SHOULD have a limit of 4 megabytes" for manifests.
MAX_DOCUMENT = 4 << 20
_MAX_SIZE = (1 << 63) - 1  # bytes: image-spec, descriptor.md has an int64


class Descriptor(NamedTuple):
    """Content by digest (image-spec, descriptor.md). ``size`` is in bytes; ``urls`` are other places that have it."""

    media_type: str
    digest: str
    size: int
    urls: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        urls = {"urls": list(self.urls)} if self.urls else {}
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size, **urls}


class Manifest(NamedTuple):
    """An image: its configuration and its layers from the lowest to the topmost."""

    config: Descriptor
    layers: tuple[Descriptor, ...]


def encode(document: Any) -> bytes:
    """JSON whose bytes depend on nothing but its content, so that digests are reproducible."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def digest_of(content: bytes, algorithm: str = "sha256") -> str:
    """The digest that names ``content``."""
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


def parse_object(content: bytes, what: str) -> dict[str, Any]:
    """A JSON object, or InvalidImage naming ``what``."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InvalidImage(f"{what} is not JSON ({error})") from error
    if not isinstance(document, dict):
        raise InvalidImage(f"{what} is not a JSON object")
    return document


def parse_descriptor(value: Any, what: str) -> Descriptor:
    """A descriptor, or InvalidImage naming ``what``."""
    try:
        digest = parse_digest(what, value["digest"])
        media_type, size = value.get("mediaType", ""), value["size"]
    except (KeyError, TypeError, AttributeError, InvalidReference) as error:
        raise InvalidImage(f"{what} is not a descriptor with a digest and a size ({error})") from error
    if (
        not isinstance(size, int)
        or isinstance(size, bool)
        or not 0 <= size <= _MAX_SIZE
        or not isinstance(media_type, str)
    ):
        raise InvalidImage(f"{what} has a size or a media type that cannot be: {_shown(size)}, {_shown(media_type)}")
    return Descriptor(media_type, digest, size, _strings(value.get("urls")) or ())


def parse_manifest(content: bytes, what: str) -> Manifest:
    """An image manifest, or InvalidImage naming ``what``."""
    document = parse_object(content, what)
    _refuse_two_faced(document, ("manifests",), INDEXES, what)
    layers = document.get("layers")
    if document.get("schemaVersion") != 2 or not isinstance(layers, list):
        raise InvalidImage(f"{what} is not an image manifest of schema version 2 (docker's schema 1 is not supported)")
    if len(layers) > MAX_LAYERS:
        raise InvalidImage(f"{what} has {len(layers)} layers; overlayfs can stack {MAX_LAYERS}")
    config = parse_descriptor(document.get("config"), f"the config of {what}")
    return Manifest(config, tuple(parse_descriptor(layer, f"layer {n} of {what}") for n, layer in enumerate(layers)))


def parse_index(content: bytes, what: str) -> list[Descriptor]:
    """The manifests of an image index, for whatever platform; or InvalidImage naming ``what``."""
    return [descriptor for descriptor, _platform in parse_platforms(content, what)]


def parse_platforms(content: bytes, what: str) -> list[tuple[Descriptor, dict[str, Any]]]:
    """The manifests of an image index with their platforms (image-index.md); or InvalidImage naming ``what``."""
    document = parse_object(content, what)
    _refuse_two_faced(document, ("layers", "config"), MANIFESTS, what)
    entries = document.get("manifests")
    if not isinstance(entries, list):
        raise InvalidImage(f"{what} is not an image index")
    found = []
    for number, entry in enumerate(entries):
        descriptor = parse_descriptor(entry, f"manifest {number} of {what}")
        platform = entry.get("platform")
        found.append((descriptor, platform if isinstance(platform, dict) else {}))
    return found


def parse_config(content: bytes, manifest: Manifest, what: str) -> dict[str, Any]:
    """A configuration whose ``rootfs.diff_ids`` are digests, one for each layer of ``manifest``; or InvalidImage."""
    document = parse_object(content, what)
    rootfs = document.get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(diff_ids, list):
        raise InvalidImage(f"{what} has no rootfs.diff_ids; it is not the configuration of a container image")
    if len(diff_ids) != len(manifest.layers):
        raise InvalidImage(f"{what} lists {len(diff_ids)} diff_ids, its manifest {len(manifest.layers)} layers")
    try:
        for diff_id in diff_ids:
            parse_digest("rootfs.diff_ids", diff_id)
    except InvalidReference as error:
        raise InvalidImage(f"{what}: {error}") from error
    return document


def image_of(name: str, digest: str, size: int, manifest: Manifest, config: dict[str, Any]) -> Image:
    """The model's view of an image; ``size`` is the manifest's own, in bytes."""
    created = config.get("created")
    return Image(
        name=name,
        digest=digest,
        layers=tuple(config["rootfs"]["diff_ids"]),
        size=size + manifest.config.size + sum(layer.size for layer in manifest.layers),
        created=created if isinstance(created, str) else "",
        config=image_config(config.get("config")),
        platform=platform_of(config),
    )


def platform_of(config: dict[str, Any]) -> str:
    """What an image's configuration says that it is made for, in one spelling; empty where it does not say."""
    words = [value if isinstance(value := config.get(key), str) else "" for key in ("os", "architecture", "variant")]
    return str(normal_platform(*words)) if words[0] and words[1] else ""


def image_config(section: Any) -> ImageConfig:
    """What a configuration's ``config`` says, with fields of the wrong type left out."""
    if not isinstance(section, dict):
        return ImageConfig()
    env = (entry.partition("=") for entry in _strings(section.get("Env")) or ())
    labels = section.get("Labels")
    ports = section.get("ExposedPorts")
    return ImageConfig(
        entrypoint=_strings(section.get("Entrypoint")),
        command=_strings(section.get("Cmd")),
        env=tuple((name, value) for name, _equals, value in env),
        working_dir=_string(section.get("WorkingDir")),
        user=_string(section.get("User")),
        stop_signal=_string(section.get("StopSignal")),
        labels=tuple(sorted((str(k), str(v)) for k, v in labels.items())) if isinstance(labels, dict) else (),
        exposed_ports=tuple(sorted(ports)) if isinstance(ports, dict) else (),
    )


def override_config(base: Any, wanted: ImageConfig) -> dict[str, Any]:
    """The ``config`` section of an image on top of ``base``'s: None keeps what the base has, lists of pairs merge.

    As in a Containerfile, an entrypoint without a command drops the base's command, which was meant for another.
    """
    section: dict[str, Any] = dict(base) if isinstance(base, dict) else {}
    if wanted.entrypoint is not None:
        section.update(Entrypoint=list(wanted.entrypoint))
        section.pop("Cmd", None)
    if wanted.command is not None:
        section.update(Cmd=list(wanted.command))
    for key, value in (("WorkingDir", wanted.working_dir), ("User", wanted.user), ("StopSignal", wanted.stop_signal)):
        if value is not None:
            section[key] = value
    if wanted.env:
        env = dict(image_config(section).env)
        env.update(wanted.env)
        section["Env"] = [f"{name}={value}" for name, value in env.items()]
    if wanted.labels:
        section["Labels"] = {**(section.get("Labels") or {}), **dict(wanted.labels)}
    if wanted.exposed_ports:
        section["ExposedPorts"] = {**(section.get("ExposedPorts") or {}), **{port: {} for port in wanted.exposed_ports}}
    return section


def _refuse_two_faced(document: dict[str, Any], others: tuple[str, ...], types: tuple[str, ...], what: str) -> None:
    """A document that is an index to one reader and a manifest to another has two contents under one digest: one that
    was looked at, and one that is run (CVE-2021-41190; image-spec, manifest.md, ``mediaType``)."""
    if any(document.get(key) for key in others) or document.get("mediaType") in types:
        raise InvalidImage(f"{what} is at once an index and an image's manifest; which one is meant cannot be told")


def _shown(value: Any) -> str:
    """What others have written, on one line. Python writes no integer of more than 4,300 digits."""
    return repr(value)[:80] if not isinstance(value, int) or value.bit_length() < 128 else "a huge number"


def _strings(value: Any) -> tuple[str, ...] | None:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    return None


def _string(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
