# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do so that a host keeps no images that are not wanted, and no build cache."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ..model.prune import CacheEntry, Garbage, Prunable, Prune, StoredImage
from ..model.reference import parse_reference
from .change import Change, Fields
from .image import RemoveImage


@dataclass(frozen=True)
class SweepImages(Change):
    """Removes blobs and unpacked layers that nothing uses."""

    garbage: Garbage

    @property
    def subject(self) -> str:
        return "images without a name"

    @property
    def before(self) -> Fields:
        return {"blobs": len(self.garbage.blobs), "bytes": self.garbage.size, "layers": len(self.garbage.layers)}


@dataclass(frozen=True)
class PruneBuildCache(Change):
    """Removes what builds have left for the next ones; layers and blobs that only it kept are swept after it."""

    entries: tuple[CacheEntry, ...]

    @property
    def subject(self) -> str:
        return "build cache"

    @property
    def before(self) -> Fields:
        kinds = Counter(entry.name.partition("/")[0] for entry in self.entries)
        return {**dict(sorted(kinds.items())), "bytes": sum(entry.size for entry in self.entries)}


def plan_prune(prune: Prune, found: Prunable, now: float) -> Iterator[Change]:
    """Yield the changes. What a container is made of stays, and counts among the latest."""
    if found.cache:
        yield PruneBuildCache(found.cache)
    yield from _plan_images(prune, found.stored, now)
    if found.garbage.blobs or found.garbage.layers:
        yield SweepImages(found.garbage)


def lets_go(prune: Prune, entry: CacheEntry, now: float) -> bool:
    """Whether something of the build cache is to go; what came later than ``now`` stays in any case."""
    return prune.build_cache and now - entry.at >= (prune.older_than or 0)


def _plan_images(prune: Prune, stored: Iterable[StoredImage], now: float) -> Iterator[Change]:
    ranks: dict[str, int] = {}
    for found in sorted(stored, key=lambda found: (-found.at, found.image.name)):
        reference = parse_reference("name", found.image.name)
        repository = f"{reference.registry}/{reference.repository}"
        rank = ranks[repository] = ranks.get(repository, -1) + 1
        if not found.used and _may_go(prune, found, rank, now):
            yield RemoveImage(found.image)


def _may_go(prune: Prune, found: StoredImage, rank: int, now: float) -> bool:
    if prune.keep_last is None and prune.older_than is None:
        return False
    late = prune.keep_last is None or rank >= prune.keep_last
    old = prune.older_than is None or now - found.at >= prune.older_than
    return late and old and (not prune.names or any(fnmatchcase(found.image.name, name) for name in prune.names))
