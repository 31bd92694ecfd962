# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifests, indexes and lists of a registry: documents of at most 4 MiB, which are read at once and never resumed.

A manifest or index is verified where it comes in, so that nobody takes what a header says of it for what it is.
"""

from __future__ import annotations

import http.client
import time
from typing import NamedTuple

from ...errors import DigestMismatch, InvalidImage, InvalidReference
from ...model.reference import parse_digest
from ..manifest import INDEXES, MANIFESTS, MAX_DOCUMENT, OCI_INDEX, digest_of, parse_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .connections import Response
    from .endpoint import Endpoint

ACCEPT = {"Accept": ", ".join((*MANIFESTS, *INDEXES))}


class Document(NamedTuple):
    """A manifest or index as the registry gave it, and the digest that it has.

    After a HEAD request ``content`` is empty, and ``digest`` is what was asked for or what the registry says; empty
    where it says nothing.
    """

    media_type: str
    digest: str
    content: bytes


class Answer(NamedTuple):
    """An answer that has been read to its end."""

    response: Response
    content: bytes


def get_manifest(endpoint: Endpoint, version: str, *, head: bool = False) -> Document:
    """A manifest by tag or digest, verified. Raises RegistryError, DigestMismatch.

    What is asked for by digest has that one, whatever the header says (distribution-spec, "Pulling manifests").
    """
    method = "HEAD" if head else "GET"
    response, content = read_answer(endpoint, f"manifests/{version}", method=method, headers=ACCEPT)
    media_type = str(response.headers.get("Content-Type") or "").partition(";")[0].strip()
    expected = version if ":" in version else response.headers.get("Docker-Content-Digest") or ""
    if expected:
        try:
            algorithm = parse_digest("Docker-Content-Digest", expected).partition(":")[0]
        except InvalidReference as error:
            raise endpoint.error(f"it gives manifests/{version} a digest that is none", error) from error
    if head:
        return Document(media_type, expected, content)
    digest = digest_of(content, algorithm if expected else "sha256")
    if expected and digest != expected:
        raise DigestMismatch(f"registry {endpoint.registry}: manifest {version}", expected, digest)
    return Document(_kind(endpoint, version, media_type, content), digest, content)


def _kind(endpoint: Endpoint, version: str, told: str, content: bytes) -> str:
    """The media type; where the header has none that is known, what the document itself says or shows.

    A page that some server on the way gives for whatever it is asked is an error of that place.
    """
    try:
        document = parse_object(content, f"what it gives as manifest {version}")
    except InvalidImage as error:
        raise endpoint.error(str(error)) from error
    if not any(isinstance(document.get(field), list) for field in ("manifests", "layers", "fsLayers", "blobs")):
        raise endpoint.error(f"what it gives as manifest {version} is neither an image's manifest nor an index")
    known = (*INDEXES, *MANIFESTS)
    own = document.get("mediaType")
    if told in known or own in known:
        return told if told in known else str(own)
    return OCI_INDEX if isinstance(document.get("manifests"), list) else told


def read_answer(
    endpoint: Endpoint,
    where: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    expect: Sequence[int] = (200,),
) -> Answer:
    """All of an answer; one that breaks off is asked for again. Raises RegistryError where it is too large."""
    delays = list(endpoint.delays)
    while True:
        with endpoint.request(method, where, headers=headers, expect=expect) as response:
            try:
                content = response.read(MAX_DOCUMENT)
                break
            except (OSError, http.client.HTTPException) as error:
                if not delays:
                    raise endpoint.error("the answer broke off", error) from error
        time.sleep(delays.pop(0))
    if len(content) > MAX_DOCUMENT:
        raise endpoint.error(f"the answer has more than {MAX_DOCUMENT} bytes")
    return Answer(response, content)
