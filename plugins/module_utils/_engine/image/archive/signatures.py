# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signatures that an archive carries beside its images, under the tag that cosign gives them."""

from __future__ import annotations

from ...errors import InvalidImage
from ..manifest import parse_descriptor, parse_object
from ..store import REF_NAME, verify
from ..trust.check import check_image
from ..trust.policy import effective_policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from ...model.reference import Reference
    from ...paths import Paths
    from ..manifest import Descriptor
    from .contents import Packed
    from .files import Files


def check_packed(paths: Paths, files: Files, reference: Reference, packed: Packed) -> None:
    """Raise Untrusted unless an image of an archive meets the host's policy; see check_image()."""
    signed = [packed.descriptor.digest, *filter(None, [packed.chosen_from])]
    check_image(effective_policy(paths), reference, signed, lambda: ArchiveSignatures(files))


# What `cosign save` calls the signatures of the one image, or index, that it puts into a layout.
_KIND = ("kind", "dev.cosignproject.cosign/sigs")


class ArchiveSignatures:
    """What find_signatures() asks, of the files of an archive."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def manifest(self, version: str) -> bytes | None:
        """What the index calls by that tag, with or without a repository before it, or has under that digest.

        For a tag of signatures that it knows nothing of, those that it has for whatever image: what a signature is for
        is in the text that was signed.
        """
        if ":" in version:
            return self._content(version)
        if "index.json" not in self._files.sizes:
            return None
        what = f"{self._files.path}: index.json"
        found = None
        for number, entry in enumerate(parse_object(self._files.read("index.json"), what).get("manifests") or ()):
            annotations = entry.get("annotations") if isinstance(entry, dict) else None
            name = annotations.get(REF_NAME) if isinstance(annotations, dict) else None
            if isinstance(name, str) and name.rpartition(":")[2] == version:
                return self._content(parse_descriptor(entry, f"{what}: manifest {number}").digest)
            if isinstance(annotations, dict) and _KIND in annotations.items():
                found = parse_descriptor(entry, f"{what}: manifest {number}").digest
        return self._content(found) if found else None

    def referrers(self, digest: str) -> Iterable[Mapping[str, Any]]:
        """Tools that write layouts tell of none there."""
        return ()

    def blob(self, descriptor: Descriptor) -> bytes:
        content = self._content(descriptor.digest)
        if content is None:
            raise InvalidImage(f"{self._files.path} lacks the signed text {descriptor.digest}")
        return content

    def _content(self, digest: str) -> bytes | None:
        name = f"blobs/{digest.replace(':', '/')}"
        if name not in self._files.sizes:
            return None
        content = self._files.read(name)
        verify(content, digest, f"{self._files.path}: {name}")
        return content
