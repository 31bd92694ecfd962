# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signing and checking by the library ``cryptography``, which the controller has and a host may have.

A host may lack it: then signing raises Unsupported. Private keys are PEM (PKCS #8, RFC 5958, encrypted or not), or what
cosign writes:
scrypt and secretbox around PKCS #8, which takes the library PyNaCl besides.
"""

from __future__ import annotations

import base64
import binascii
import json

try:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    AVAILABLE = True
except ImportError:
    AVAILABLE = False

from ...errors import InvalidOption, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_COSIGN = ("ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY")
_EXPECTED = "a private key in PEM of kind ECDSA, RSA or Ed25519"


def is_signed_by_library(key: str, payload: bytes, signature: bytes) -> bool:
    """As is_signed_by()."""
    try:
        public = serialization.load_pem_public_key(key.encode())
        if isinstance(public, ec.EllipticCurvePublicKey):
            public.verify(signature, payload, ec.ECDSA(hashes.SHA256()))
        elif isinstance(public, rsa.RSAPublicKey):
            public.verify(signature, payload, padding.PKCS1v15(), hashes.SHA256())
        elif isinstance(public, ed25519.Ed25519PublicKey):
            public.verify(signature, payload)
        else:
            return False
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


class Signer:
    """A private key, opened. Raises InvalidOption naming ``option`` (and not a word of the key), Unsupported."""

    def __init__(self, option: str, pem: str, passphrase: str = "") -> None:
        if not AVAILABLE:
            raise Unsupported("signing takes Python's library cryptography on the controller: pip install cryptography")
        secret = passphrase.encode()
        try:
            if any(f"-----BEGIN {kind}-----" in pem for kind in _COSIGN):
                self._key: Any = serialization.load_der_private_key(_open_cosign(pem, secret), password=None)
            else:
                self._key = serialization.load_pem_private_key(pem.encode(), password=secret or None)
        except (ValueError, TypeError, UnsupportedAlgorithm, binascii.Error):
            # The cause is kept out: it may quote the key.
            why = f"{_EXPECTED}, with the passphrase that opens it"
            raise InvalidOption(option, "what is there", why) from None
        if not isinstance(self._key, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey, ed25519.Ed25519PrivateKey)):
            raise InvalidOption(option, "a key of another kind", _EXPECTED)

    @property
    def public_key(self) -> str:
        """In PEM."""
        kind = serialization.PublicFormat.SubjectPublicKeyInfo
        encoded: bytes = self._key.public_key().public_bytes(serialization.Encoding.PEM, kind)
        return encoded.decode()

    def sign(self, payload: bytes) -> bytes:
        if isinstance(self._key, ec.EllipticCurvePrivateKey):
            return self._key.sign(payload, ec.ECDSA(hashes.SHA256()))
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(payload, padding.PKCS1v15(), hashes.SHA256())
        signature: bytes = self._key.sign(payload)
        return signature


def _open_cosign(pem: str, secret: bytes) -> bytes:
    """go-securesystemslib's encrypted envelope: JSON of a scrypt derivation and a NaCl secretbox. Returns DER."""
    try:
        from nacl.exceptions import CryptoError  # rarely needed
        from nacl.secret import SecretBox  # rarely needed
    except ImportError:
        raise Unsupported(
            "cosign's encrypted private keys take the library PyNaCl: install it, or give a key in PKCS #8 "
            "(openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256)"
        ) from None
    lines = [line for line in pem.strip().splitlines() if "-----" not in line]
    try:
        envelope = json.loads(base64.b64decode("".join(lines)))
        derivation, cipher = envelope["kdf"], envelope["cipher"]
        costs = derivation["params"]
        if derivation["name"] != "scrypt" or cipher["name"] != "nacl/secretbox" or costs["N"] > 1 << 20:
            raise ValueError("another kind of envelope")
        kdf = Scrypt(base64.b64decode(derivation["salt"]), 32, costs["N"], costs["r"], costs["p"])
        box = SecretBox(kdf.derive(secret))
        return bytes(box.decrypt(base64.b64decode(envelope["ciphertext"]), base64.b64decode(cipher["nonce"])))
    except (KeyError, TypeError, CryptoError) as error:
        raise ValueError("it cannot be opened") from error
