# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signatures where they are pulled from: in the repository of the image."""

from __future__ import annotations

from ...errors import RegistryError
from .check import check_image
from .policy import effective_policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from ...model.reference import Reference
    from ...paths import Paths
    from ..manifest import Descriptor
    from ..registry.client import Registry


def check_remote(
    paths: Paths, reference: Reference, digests: Sequence[str], registry: Registry, *, verified: str = ""
) -> None:
    """Raise Untrusted unless an image of a registry meets the host's policy; see check_image()."""
    check_image(effective_policy(paths), reference, digests, lambda: Repository(registry), verified=verified)


class Repository:
    """The signatures in one repository."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def manifest(self, version: str) -> bytes | None:
        """What a tag or digest means; None where the registry has none of it."""
        try:
            return self._registry.get_manifest(version).content
        except RegistryError as error:
            if error.status == 404:
                return None
            raise

    def referrers(self, digest: str) -> Iterable[Mapping[str, Any]]:
        return self._registry.referrers(digest)

    def blob(self, descriptor: Descriptor) -> bytes:
        return self._registry.read_blob(descriptor.digest, descriptor.size, "a signed text")
