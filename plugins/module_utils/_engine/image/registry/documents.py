# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifests, indexes and lists of a registry: documents of at most 4 MiB, which are read at once and never resumed."""

from __future__ import annotations

import http.client
import time
from typing import NamedTuple

from ..manifest import INDEXES, MANIFESTS, MAX_DOCUMENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .connections import Response
    from .endpoint import Endpoint

ACCEPT = {"Accept": ", ".join((*MANIFESTS, *INDEXES))}


class Document(NamedTuple):
    """A manifest or index as the registry gave it; ``content`` is empty after a HEAD request."""

    media_type: str
    digest: str
    content: bytes


class Answer(NamedTuple):
    """An answer that has been read to its end."""

    response: Response
    content: bytes


def get_manifest(endpoint: Endpoint, version: str, *, head: bool = False) -> Document:
    """A manifest by tag or digest, not verified. Raises RegistryError."""
    method = "HEAD" if head else "GET"
    response, content = read_answer(endpoint, f"manifests/{version}", method=method, headers=ACCEPT)
    media_type = str(response.headers.get("Content-Type") or "").partition(";")[0].strip()
    return Document(media_type, response.headers.get("Docker-Content-Digest") or "", content)


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
