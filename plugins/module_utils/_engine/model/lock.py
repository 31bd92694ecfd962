# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lock file: which digest each image name means, for all hosts and until somebody says otherwise.

It is JSON, sorted, with a line for each name and nothing that changes by itself, so that it can be kept beside a
playbook and its differences be read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from ..errors import InvalidReference, StateCorrupt
from .reference import normalise, parse_digest, parse_reference

VERSION = 1


def parse_lock(content: bytes, path: str) -> dict[str, str]:
    """Normalised name to digest. Raises StateCorrupt, naming ``path``."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise StateCorrupt(path, f"not JSON ({error})") from error
    images = document.get("images") if isinstance(document, dict) else None
    if not isinstance(images, dict) or document.get("version") != VERSION:
        raise StateCorrupt(path, f"not a lock file of version {VERSION}")
    try:
        return {normalise("name", name): parse_digest("digest", digest) for name, digest in images.items()}
    except InvalidReference as error:
        raise StateCorrupt(path, f"an entry is no name with its digest: {error}") from error


def encode_lock(locked: Mapping[str, str]) -> bytes:
    """The file's content: the same for the same names and digests."""
    return json.dumps({"images": dict(locked), "version": VERSION}, indent=2, sort_keys=True).encode() + b"\n"


def pinned_name(name: str, digest: str) -> str:
    """The name under which everybody gets just those bytes: ``registry/repository@digest``."""
    reference = parse_reference("name", name)
    return f"{reference.registry}/{reference.repository}@{digest}"
