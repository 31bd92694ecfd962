# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys that are made for the tests, and signatures in memory that are made with them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from ansible_collections.stowage.engine.plugins.module_utils._engine.image.manifest import OCI_MANIFEST, Descriptor
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.trust.library import Signer
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.trust.signatures import (
    Claim,
    Signature,
    add_signature,
    make_payload,
    signature_tag,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.trust import SIGNED, Identity, Requirement

DIGEST, OTHER = "sha256:" + "1" * 64, "sha256:" + "2" * 64
REPOSITORY = Identity()


def pem_of(private: Any, passphrase: str = "") -> str:
    locked = serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    kind = serialization.PrivateFormat.PKCS8
    encoded: bytes = private.private_bytes(serialization.Encoding.PEM, kind, locked)
    return encoded.decode()


MADE = {
    "ecdsa": ec.generate_private_key(ec.SECP256R1()),
    "ecdsa-384": ec.generate_private_key(ec.SECP384R1()),
    "rsa": rsa.generate_private_key(65537, 2048),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
}
SIGNERS = {name: Signer("key", pem_of(key)) for name, key in MADE.items()}
KEY = SIGNERS["ecdsa"]
ENCODED = base64.b64encode(KEY.public_key.encode()).decode()


class Layout:
    """Signatures in memory, as a registry would have them."""

    def __init__(self, *, as_referrers: bool = False) -> None:
        self.as_referrers = as_referrers
        self.has_bundle = False
        self.manifests: dict[str, bytes] = {}
        self.blobs: dict[str, bytes] = {}

    def sign(self, signer: Signer, claim: Claim, *, at: str = "", altered: bool = False) -> None:
        payload = make_payload(claim)
        signature = Signature(payload, signer.sign(payload + b"!" if altered else payload))
        tag = signature_tag(at or claim.digest)
        subject = Descriptor(OCI_MANIFEST, claim.digest, 1) if self.as_referrers else None
        signed = add_signature(self.manifests.get(tag), signature, subject=subject)
        self.manifests[tag] = signed.manifest
        self.blobs[signed.payload.digest] = payload

    def manifest(self, version: str) -> bytes | None:
        if self.as_referrers and version.endswith(".sig"):
            return None
        found = {f"sha256:{hashlib.sha256(content).hexdigest()}": content for content in self.manifests.values()}
        return {**self.manifests, **found}.get(version)

    def referrers(self, digest: str) -> Iterable[Mapping[str, Any]]:
        content = self.manifests.get(signature_tag(digest)) if self.as_referrers else None
        if content is not None:
            found = f"sha256:{hashlib.sha256(content).hexdigest()}"
            kind = "application/vnd.dev.cosign.artifact.sig.v1+json"
            yield {"mediaType": "", "digest": found, "size": len(content), "artifactType": kind}
            yield {"mediaType": "", "digest": OTHER, "size": 1, "artifactType": "application/spdx+json"}
        if self.has_bundle:
            kind = "application/vnd.dev.sigstore.bundle.v0.3+json"
            yield {"mediaType": OCI_MANIFEST, "digest": OTHER, "size": 1, "artifactType": kind}

    def blob(self, descriptor: Descriptor) -> bytes:
        return self.blobs[descriptor.digest]


def signed_by(*signers: Signer, identity: Identity = REPOSITORY) -> Requirement:
    return Requirement(SIGNED, tuple(signer.public_key for signer in signers), identity)
