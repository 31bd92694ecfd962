# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signatures that travel with an image, so that a host without a registry can hold it against its policy."""

from __future__ import annotations

from ...errors import InvalidImage
from ..manifest import parse_object
from ..store import verify
from ..trust.signatures import ARTIFACT, parse_signatures, signature_manifests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from ..manifest import Descriptor
    from ..trust.signatures import Source


def collect_signatures(source: Source, digests: Sequence[str]) -> dict[str, bytes]:
    """All that find_signatures() reads of ``source``, by tag or digest. Raises as that does."""
    documents: dict[str, bytes] = {}
    for digest in digests:
        for key, content in signature_manifests(source, digest):
            documents[key] = content
            for descriptor, _signature in parse_signatures(content, f"the signatures {key}"):
                documents[descriptor.digest] = source.blob(descriptor)
    return documents


class Carried:
    """The far end of collect_signatures(): nothing of it is believed but what digests and keys say."""

    def __init__(self, documents: Mapping[str, bytes]) -> None:
        self._documents = documents

    def manifest(self, version: str) -> bytes | None:
        content = self._documents.get(version)
        if content is not None and ":" in version:
            verify(content, version, "a manifest of signatures")
        return content

    def referrers(self, digest: str) -> Iterable[Mapping[str, Any]]:
        """Every manifest that was carried, if it says that it belongs to ``digest``."""
        for version, content in self._documents.items():
            if ":" in version and content.startswith(b"{"):
                subject = parse_object(content, version).get("subject")
                if isinstance(subject, dict) and subject.get("digest") == digest:
                    yield {"artifactType": ARTIFACT, "mediaType": "", "digest": version, "size": len(content)}

    def blob(self, descriptor: Descriptor) -> bytes:
        content = self._documents.get(descriptor.digest)
        if content is None:
            raise InvalidImage(f"the signed text {descriptor.digest} was not sent along")
        verify(content, descriptor.digest, "a signed text")
        return content
