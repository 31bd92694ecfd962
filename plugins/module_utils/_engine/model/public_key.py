# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Public keys in PEM (RFC 7468, RFC 5280: SubjectPublicKeyInfo)."""

from __future__ import annotations

import base64
import binascii

from ..errors import InvalidOption

_BEGIN, _END = "-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----"
# The object identifiers of RFC 3279 and RFC 8410, as they stand in the key.
_ALGORITHMS = {
    bytes.fromhex("06072a8648ce3d0201"): "ecdsa",
    bytes.fromhex("06092a864886f70d010101"): "rsa",
    bytes.fromhex("06032b6570"): "ed25519",
}
_MAX_KEY = 16 << 10


def parse_public_key(option: str, text: str) -> str:
    """The key in its one canonical spelling. Raises InvalidOption where it is no public key of a kind that is known."""
    expected = "a public key in PEM (-----BEGIN PUBLIC KEY-----) of kind ECDSA, RSA or Ed25519"
    content = text.strip()
    if not isinstance(text, str) or "PRIVATE KEY" in content:
        raise InvalidOption(option, "a private key", expected)  # and not a word of it
    if not (content.startswith(_BEGIN) and content.endswith(_END)) or len(content) > _MAX_KEY:
        raise InvalidOption(option, text[:80], expected)
    encoded = "".join(content[len(_BEGIN) : -len(_END)].split())
    try:
        der = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidOption(option, text[:80], expected) from error
    if _algorithm(der) is None:
        raise InvalidOption(option, text[:80], expected)
    lines = [encoded[at : at + 64] for at in range(0, len(encoded), 64)]
    return "\n".join([_BEGIN, *lines, _END, ""])


def algorithm_of(key: str) -> str:
    """``ecdsa``, ``rsa`` or ``ed25519``; of a key that parse_public_key() let through."""
    return _algorithm(base64.b64decode("".join(key.split("\n")[1:-2]))) or ""


def _algorithm(der: bytes) -> str | None:
    """By the object identifier that opens the AlgorithmIdentifier: SEQUENCE { SEQUENCE { OBJECT IDENTIFIER ..."""
    at = _content_of(der, 0)
    at = _content_of(der, at) if at else 0
    return next((name for oid, name in _ALGORITHMS.items() if at and der[at:].startswith(oid)), None)


def _content_of(der: bytes, at: int) -> int:
    """Where the content of the SEQUENCE at ``at`` begins (X.690, 8.1.3); 0 where there is none."""
    if len(der) < at + 2 or der[at] != 0x30:
        return 0
    return at + 2 + (der[at + 1] & 0x7F if der[at + 1] & 0x80 else 0)
