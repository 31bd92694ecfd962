# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a repository holds: its tags, and what refers to a manifest (distribution-spec, "Content Discovery").

A registry without the referrers API keeps them by a convention: an index under the tag ``sha256-<hex>``, which whoever
pushes a manifest with a subject keeps up ("Referrers Tag Schema").
"""

from __future__ import annotations

import hashlib
import re
import urllib.parse

from ...errors import InvalidImage, InvalidReference, RegistryError
from ...model.reference import parse_digest
from ..manifest import INDEXES, MAX_DOCUMENT, OCI_INDEX, encode, parse_object
from .connections import Body
from .documents import get_manifest, read_answer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from .endpoint import Endpoint

_NEXT = re.compile(r'<([^<>]*)>\s*;[^,<]*\brel="?next"?')
_MAX_PAGES = 1000
_MAX_LIST = 16 * MAX_DOCUMENT  # bytes: all pages together


def list_tags(endpoint: Endpoint) -> list[str]:
    """All tags of a repository, in the registry's order. Raises RegistryError."""
    found: list[str] = []
    for page in _pages(endpoint, "tags/list"):
        tags = page.get("tags")
        found += [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []
    return found


def list_referrers(endpoint: Endpoint, digest: str, artifact_type: str = "") -> list[dict[str, Any]]:
    """Descriptors of what has ``digest`` as its subject, of one ``artifactType`` if wanted. Raises RegistryError."""
    query = f"?{urllib.parse.urlencode({'artifactType': artifact_type})}" if artifact_type else ""
    found: list[dict[str, Any]] = []
    try:
        for page in _pages(endpoint, f"referrers/{digest}{query}"):
            found += _manifests(page)
    except RegistryError as error:
        if error.status not in (400, 404, 405):
            raise
        found = _tagged(endpoint, digest)
    # A registry that has filtered says so, and need not have.
    return [entry for entry in found if not artifact_type or entry.get("artifactType") == artifact_type]


def add_referrer(endpoint: Endpoint, scopes: Sequence[str], media_type: str, content: bytes) -> None:
    """After a push to a registry that took no notice of the manifest's subject: put it on the subject's list."""
    document = parse_object(content, "the manifest that was pushed")
    subject = document.get("subject")
    if not isinstance(subject, dict):
        return
    try:
        digest = parse_digest("subject", subject.get("digest", ""))
    except InvalidReference as error:
        raise InvalidImage(f"the manifest that was pushed has a bad subject: {error}") from error
    config = document.get("config")
    kind = document.get("artifactType") or (config.get("mediaType") if isinstance(config, dict) else None)
    entry = {
        "mediaType": media_type,
        "digest": f"sha256:{hashlib.sha256(content).hexdigest()}",
        "size": len(content),
        **({"artifactType": kind} if kind else {}),
        **({"annotations": document["annotations"]} if document.get("annotations") else {}),
    }
    known = _tagged(endpoint, digest)
    if any(other.get("digest") == entry["digest"] for other in known):
        return
    index = encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [*known, entry]})
    endpoint.request(
        "PUT",
        f"manifests/{_referrers_tag(digest)}",
        headers={"Content-Type": OCI_INDEX},
        body=Body(len(index), lambda: iter((index,))),
        scopes=scopes,
        expect=(201,),
    ).close()


def _tagged(endpoint: Endpoint, digest: str) -> list[dict[str, Any]]:
    try:
        document = get_manifest(endpoint, _referrers_tag(digest))
    except RegistryError as error:
        if error.status == 404:
            return []
        raise
    if document.media_type not in INDEXES:
        return []
    return _manifests(_parse(endpoint, document.content))


def _referrers_tag(digest: str) -> str:
    return digest.replace(":", "-", 1)[:128]


def _manifests(index: dict[str, Any]) -> list[dict[str, Any]]:
    entries = index.get("manifests")
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _pages(endpoint: Endpoint, path: str) -> Iterator[dict[str, Any]]:
    """The pages of a list, along the Link headers (RFC 8288)."""
    where, size = path, 0
    seen = set()
    for _page in range(_MAX_PAGES):
        response, content = read_answer(endpoint, where, headers={"Accept": f"application/json, {OCI_INDEX}"})
        size += len(content)
        if size > _MAX_LIST:
            raise endpoint.error(f"its list has more than {_MAX_LIST} bytes")
        yield _parse(endpoint, content)
        match = _NEXT.search(response.headers.get("Link") or "")
        if not match:
            return
        where = endpoint.resolve(response, match.group(1))
        if where in seen:
            raise endpoint.error("its list goes in circles")
        seen.add(where)
    raise endpoint.error(f"its list has more than {_MAX_PAGES} pages")


def _parse(endpoint: Endpoint, content: bytes) -> dict[str, Any]:
    try:
        return parse_object(content, "the registry's list")
    except InvalidImage as error:
        raise endpoint.error(str(error)) from error
