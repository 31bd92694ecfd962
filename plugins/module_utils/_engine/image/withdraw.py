# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take a name away from a registry (distribution-spec 1.1, "Content Management"), where the registry allows that."""

from __future__ import annotations

from ..errors import Conflict, RegistryError
from ..model.reference import parse_reference
from .registry.client import Registry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..model.registry import RemoteImage

# What registries answer that delete manifests by digest alone, or not at all.
_UNSUPPORTED = (400, 404, 405, 501)


def withdraw_image(current: RemoteImage) -> None:
    """Remove a tag, or a manifest by its digest. Raises RegistryError, Conflict.

    A registry that deletes by digest alone takes all tags along that mean it: that is done only where there are no
    others, or where the digest itself was named.
    """
    reference = parse_reference("name", current.name)
    registry = Registry(reference, access=current.access)
    if reference.digest:
        registry.delete_manifest(reference.digest)
        return
    try:
        registry.delete_manifest(reference.tag)
        return
    except RegistryError as error:
        if error.status not in _UNSUPPORTED:
            raise
    tags = (tag for tag in registry.list_tags() if tag != reference.tag)
    others = [tag for tag in tags if registry.find_digest(tag) == current.digest]
    if others:
        by_digest = f"{reference.registry}/{reference.repository}@{current.digest}"
        raise Conflict(
            f"the registry deletes by digest alone, and other tags mean the same image: {', '.join(sorted(others))}; "
            f"name {by_digest} to remove them all"
        )
    registry.delete_manifest(current.digest)
