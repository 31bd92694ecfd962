# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Further names for images of this host: nothing is copied, both names mean the same manifest."""

from __future__ import annotations

from dataclasses import replace

from ..errors import NotFound
from ..model.reference import normalise
from .store import write_store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..model.image import Image
    from ..paths import Paths

_ADVICE = "pull, build or assemble it first"


def resolve_tag(images: Mapping[str, Image], source: str, wanted: Image) -> Image:
    """``wanted`` with what ``source``, the name of one of ``images``, means. Raises NotFound."""
    found = images.get(normalise("name", source))
    if found is None:
        raise NotFound("image", source, _ADVICE)
    return replace(found, name=wanted.name)


def tag_image(paths: Paths, image: Image) -> None:
    """Let ``image.name`` mean the manifest ``image.digest``, which another name means already. Raises NotFound."""
    with write_store(paths) as store:
        for descriptor in store.names().values():
            if descriptor.digest == image.digest:
                store.tag(image.name, descriptor)
                return
    raise NotFound("image", image.digest, _ADVICE)
