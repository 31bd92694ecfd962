# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signatures as cosign stores them (cosign's SIGNATURE_SPEC.md): an image of its own, a layer a signature.

It is found under the tag ``sha256-<hex>.sig`` beside the signed image, or among the referrers of the signed manifest
(distribution-spec 1.1). A layer is the signed text ("simple signing"), the signature itself is an annotation of it.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import NamedTuple

from ...errors import InvalidImage, InvalidReference
from ...model.reference import parse_reference
from ..manifest import OCI_CONFIG, OCI_MANIFEST, Descriptor, digest_of, encode, parse_descriptor, parse_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any, Protocol

    class Source(Protocol):
        """Where an image's signatures are: its repository, or an image layout."""

        def manifest(self, version: str) -> bytes | None:
            """What that tag or digest means, verified where it is a digest; None where there is no such thing."""

        def referrers(self, digest: str) -> Iterable[Mapping[str, Any]]:
            """The descriptors, as they came, of the manifests whose subject is ``digest``."""

        def blob(self, descriptor: Descriptor) -> bytes:
            """The content, verified."""


PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"
ARTIFACT = "application/vnd.dev.cosign.artifact.sig.v1+json"
_BUNDLE = "application/vnd.dev.sigstore.bundle."  # a version follows
SIGNATURE = "dev.cosignproject.cosign/signature"
_TYPE = "cosign container image signature"
# Bounds on what a registry may make us read.
_MAX_PAYLOAD = 64 << 10
_MAX_SIGNATURES = 100


class Signature(NamedTuple):
    """What was signed, and the signature over it."""

    payload: bytes
    signature: bytes


class Claim(NamedTuple):
    """What a signed text says: that the manifest ``digest`` is the image of the name ``reference``."""

    digest: str
    reference: str


def signature_tag(digest: str) -> str:
    """The tag under which cosign puts the signatures of that manifest."""
    return digest.replace(":", "-") + ".sig"


def find_signatures(source: Source, digest: str) -> Iterator[Signature]:
    """The signatures of a manifest, wherever they are stored. Raises InvalidImage where they are malformed."""
    found = 0
    for _key, content in signature_manifests(source, digest):
        for descriptor, signature in parse_signatures(content, f"the signatures of {digest}"):
            found += 1
            if found > _MAX_SIGNATURES:
                raise InvalidImage(f"{digest} has more than {_MAX_SIGNATURES} signatures")
            yield Signature(source.blob(descriptor), signature)


def signature_manifests(source: Source, digest: str) -> Iterator[tuple[str, bytes]]:
    """The manifests of signatures of a manifest, each with the tag or digest that it is found by."""
    tagged = source.manifest(signature_tag(digest))
    if tagged is not None:
        yield signature_tag(digest), tagged
    for entry in source.referrers(digest):
        if ARTIFACT in (entry.get("artifactType"), _config_type(entry)):
            found = parse_descriptor(entry, f"a referrer of {digest}").digest
            content = source.manifest(found)
            if content is not None:
                yield found, content


def has_bundle(source: Source, digest: str) -> bool:
    """Whether a manifest has a signature of the kind that cosign makes since version 3, which find_signatures() does
    not find."""
    return any(str(entry.get("artifactType")).startswith(_BUNDLE) for entry in source.referrers(digest))


def _config_type(entry: Mapping[str, Any]) -> Any:
    config = entry.get("config")
    return config.get("mediaType") if isinstance(config, dict) else None


def parse_signatures(content: bytes, what: str) -> list[tuple[Descriptor, bytes]]:
    """The signed texts of a manifest of signatures, each with its signature; layers of other kinds are left out."""
    layers = parse_object(content, what).get("layers")
    if not isinstance(layers, list) or len(layers) > _MAX_SIGNATURES:
        raise InvalidImage(f"{what} are no manifest with at most {_MAX_SIGNATURES} layers")
    found = []
    for number, layer in enumerate(layers):
        descriptor = parse_descriptor(layer, f"layer {number} of {what}")
        annotations = layer.get("annotations")
        encoded = annotations.get(SIGNATURE) if isinstance(annotations, dict) else None
        if descriptor.media_type != PAYLOAD or not isinstance(encoded, str):
            continue
        if descriptor.size > _MAX_PAYLOAD:
            raise InvalidImage(f"layer {number} of {what} has {descriptor.size} bytes; at most {_MAX_PAYLOAD} can be")
        try:
            found.append((descriptor, base64.b64decode(encoded, validate=True)))
        except (binascii.Error, ValueError) as error:
            raise InvalidImage(f"layer {number} of {what} has a signature that is not base64") from error
    return found


def parse_claim(payload: bytes) -> Claim:
    """What a signed text says. Only of a text whose signature was checked; InvalidImage where it is another kind."""
    critical: Any = parse_object(payload, "a signed text").get("critical")
    try:
        claim = Claim(critical["image"]["docker-manifest-digest"], critical["identity"]["docker-reference"])
        kind = critical["type"]
    except (KeyError, TypeError) as error:
        raise InvalidImage("a signed text is not of the kind that names an image and its digest") from error
    # podman and skopeo write "atomic container signature" into GPG signatures, cosign's into those of its format.
    if kind != _TYPE or not isinstance(claim.digest, str) or not isinstance(claim.reference, str):
        raise InvalidImage(f"a signed text is of kind {str(kind)[:60]!r}, not {_TYPE!r}")
    return claim


# Writing ------------------------------------------------------------------------------------------


def make_payload(claim: Claim, annotations: Mapping[str, str] | None = None) -> bytes:
    """The text to be signed (containers-signature(5), "JSON Data Format", as cosign fills it)."""
    critical = {
        "identity": {"docker-reference": claim.reference},
        "image": {"docker-manifest-digest": claim.digest},
        "type": _TYPE,
    }
    return encode({"critical": critical, "optional": dict(annotations) if annotations else None})


def add_signature(manifest: bytes | None, signature: Signature, *, subject: Descriptor | None = None) -> Signed:
    """The manifest of signatures with one more, and the configuration that it names."""
    before: list[Any] = []
    if manifest is not None:
        parse_signatures(manifest, "the signatures that are there")
        before = json.loads(manifest)["layers"]
    payload = Descriptor(PAYLOAD, digest_of(signature.payload), len(signature.payload))
    encoded = base64.b64encode(signature.signature).decode()
    layers = [*before, {**payload.to_json(), "annotations": {SIGNATURE: encoded}}]
    rootfs = {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]}
    config = encode({"architecture": "", "os": "", "config": {}, "rootfs": rootfs})
    kind = OCI_CONFIG if subject is None else ARTIFACT
    described = Descriptor(kind, digest_of(config), len(config))
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": described.to_json(), "layers": layers}
    if subject is not None:
        document.update(artifactType=ARTIFACT, subject=subject.to_json())
    return Signed(encode(document), described, config, payload)


class Signed(NamedTuple):
    """A manifest of signatures, its configuration, and the descriptor of the text that was added."""

    manifest: bytes
    config_descriptor: Descriptor
    config: bytes
    payload: Descriptor


def repository_of(reference: str) -> str:
    """The repository that a signed name speaks of, normalised; empty where it is no name."""
    try:
        parsed = parse_reference("docker-reference", reference)
    except InvalidReference:
        return ""
    return f"{parsed.registry}/{parsed.repository}"
