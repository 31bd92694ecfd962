# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signing an image in its registry, and looking for the signatures that it has there."""

from __future__ import annotations

import io

from ...errors import InvalidImage
from ..manifest import OCI_MANIFEST, Descriptor, digest_of
from ..registry.upload import Blob
from .keys import is_signed_by
from .remote import Repository
from .signatures import Claim, Signature, add_signature, find_signatures, make_payload, parse_claim, signature_tag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...model.trust import Signing
    from ..registry.client import Registry
    from .library import Signer


def resolve_subject(registry: Registry, version: str) -> Descriptor:
    """The manifest or index that a tag or digest means in a registry. Raises RegistryError, DigestMismatch."""
    document = registry.get_manifest(version)
    return Descriptor(document.media_type, document.digest, len(document.content))


def is_signed(registry: Registry, wanted: Signing) -> bool:
    """Whether there is that very signature already."""
    for signature in find_signatures(Repository(registry), wanted.digest):
        if is_signed_by(wanted.key, signature.payload, signature.signature):
            try:
                claim = parse_claim(signature.payload)
            except InvalidImage:
                continue
            if claim == Claim(wanted.digest, wanted.identity):
                return True
    return False


def sign_image(
    registry: Registry,
    wanted: Signing,
    signer: Signer,
    *,
    annotations: Mapping[str, str] | None = None,
    subject: Descriptor | None = None,
) -> None:
    """Add a signature in the registry: under cosign's tag, or (``subject``) as a referrer of the manifest.

    Everything that the manifest of signatures names is there before it is. Raises RegistryError.
    """
    payload = make_payload(Claim(wanted.digest, wanted.identity), annotations)
    tag = signature_tag(wanted.digest)
    before = Repository(registry).manifest(tag) if subject is None else None
    signed = add_signature(before, Signature(payload, signer.sign(payload)), subject=subject)
    _put(registry, signed.payload, payload)
    _put(registry, signed.config_descriptor, signed.config)
    registry.put_manifest(tag if subject is None else digest_of(signed.manifest), OCI_MANIFEST, signed.manifest)


def _put(registry: Registry, descriptor: Descriptor, content: bytes) -> None:
    if not registry.has_blob(descriptor.digest):
        registry.put_blob(Blob(descriptor.digest, descriptor.size, lambda: io.BytesIO(content)))
