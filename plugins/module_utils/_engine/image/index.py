# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The image that an index leads to for a platform, also where it stands in an index within that index.

image-spec, image-index.md: what an index lists may be indexes. How deep they stand and how many are read is bounded.
"""

from __future__ import annotations

from ..errors import InvalidImage
from .manifest import INDEXES, parse_platforms
from .platform import choose_platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .manifest import Descriptor

_DEPTH = 3  # indexes, one within the other
_READ = 32  # indexes that are looked into for one image


def find_image(
    index: str, content: bytes, what: str, platform: str, read: Callable[[Descriptor], bytes]
) -> tuple[Descriptor, tuple[str, ...]]:
    """The manifest for ``platform`` (empty: this host) of the index with that digest and ``content``; and the digests
    of the indexes that lead to it, the nearest first. ``read`` gives what another has, verified.

    Raises InvalidImage, naming ``what`` and the platforms that there are.
    """
    level: list[tuple[Descriptor, dict[str, Any], tuple[str, ...]]]
    found = level = [(*entry, (index,)) for entry in parse_platforms(content, f"the index of {what}")]
    left = _READ
    for depth in range(1, _DEPTH + 1):
        try:
            chosen = choose_platform([(descriptor, fields) for descriptor, fields, _way in found], what, platform)
        except InvalidImage:
            # One that says nothing of a platform may have any.
            within = [(entry, way) for entry, fields, way in level if entry.media_type in INDEXES and not fields]
            if not within:
                raise
        else:
            way = next(way for descriptor, _fields, way in found if descriptor == chosen)
            if chosen.media_type not in INDEXES:
                return chosen, way
            found, within = [], [(chosen, way)]
        left -= len(within)
        if depth == _DEPTH or left < 0:
            break
        level = [
            (*entry, (inner.digest, *way))
            for inner, way in within
            for entry in parse_platforms(read(inner), f"an index of {what}")
        ]
        found = [*found, *level]
    raise InvalidImage(f"{what}: its index has indexes within indexes, more than {_DEPTH} deep or {_READ} in number")
