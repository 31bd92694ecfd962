# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the controller offers a host, and how its blobs arrive there."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import InvalidOption, InvalidReference
from .image import Image
from .reference import normalise, parse_digest

_TEXTS = ("name", "media_type", "digest", "manifest", "config")


@dataclass(frozen=True)
class Offer:
    """An image's documents, as they stand.

    ``digest`` is the manifest's, ``index`` that of the index that it was chosen from, or empty. ``signatures`` are
    documents by what they are asked for, see image/transfer/signatures.py. ``verified`` is a digest whose signatures
    the controller has seen to, or empty.
    """

    name: str
    media_type: str
    digest: str
    manifest: bytes
    config: bytes
    index: str = ""
    signatures: Mapping[str, bytes] = field(default_factory=dict)
    verified: str = ""


@dataclass(frozen=True)
class Transfer:
    """An image that a host is to have. ``lacking`` are digests and sizes (bytes) of the blobs that it must be sent."""

    image: Image
    offer: Offer
    lacking: tuple[tuple[str, int], ...] = ()


def encode_offer(offer: Offer) -> dict[str, Any]:
    """An offer as a task's argument; documents are base64, since their bytes count."""
    return {
        "name": offer.name,
        "media_type": offer.media_type,
        "digest": offer.digest,
        "manifest": _encode(offer.manifest),
        "config": _encode(offer.config),
        "index": offer.index,
        "signatures": {key: _encode(value) for key, value in offer.signatures.items()},
        "verified": offer.verified,
    }


def parse_offer(option: str, value: Mapping[str, Any]) -> Offer:
    """What encode_offer() gave. Raises InvalidOption."""
    index, verified = value.get("index") or "", value.get("verified") or ""
    signatures = value.get("signatures") or {}
    if not all(isinstance(value.get(key), str) for key in _TEXTS) or not isinstance(signatures, Mapping):
        raise InvalidOption(option, sorted(value), f"a mapping with {', '.join(_TEXTS)}, as the action plugin makes it")
    try:
        return Offer(
            normalise("name", value["name"]),
            value["media_type"],
            parse_digest("digest", value["digest"]),
            base64.b64decode(value["manifest"], validate=True),
            base64.b64decode(value["config"], validate=True),
            parse_digest("index", index) if index else "",
            {key: base64.b64decode(content, validate=True) for key, content in signatures.items()},
            parse_digest("verified", verified) if verified else "",
        )
    except (InvalidReference, binascii.Error, ValueError, TypeError) as error:
        raise InvalidOption(option, value["name"], f"an offer as the action plugin makes it ({error})") from error


def piece_name(digest: str, offset: int) -> str:
    """The file in which the bytes of a blob from ``offset`` on arrive."""
    return f"{digest.replace(':', '-')}.{offset}"


def parse_piece_name(name: str) -> tuple[str, int] | None:
    """Digest and offset; None for a name that is no piece's."""
    stem, _dot, offset = name.partition(".")
    try:
        digest = parse_digest("piece", stem.replace("-", ":", 1))
    except InvalidReference:
        return None
    return (digest, int(offset)) if offset.isascii() and offset.isdecimal() and len(offset) < 16 else None


def arrived(pieces: Mapping[int, int], size: int) -> list[int]:
    """The offsets of the pieces (offset to size) that follow one another from the beginning of a blob of ``size``."""
    found = []
    position = 0
    while position < size and pieces.get(position, 0) > 0:
        found.append(position)
        position += pieces[position]
    return found


def _encode(content: bytes) -> str:
    return base64.b64encode(content).decode()
