# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which images of a host are no longer wanted, and what of the build cache."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import InvalidOption
from .image import Image

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True)
class Prune:
    """What may go: of each repository all but the ``keep_last`` latest, and what is ``older_than`` so many seconds.

    Where both are given, both must hold; where neither is, no name goes. ``names`` are patterns (fnmatch) of whole
    names, of which one must fit; none: all do.
    """

    keep_last: int | None = None
    older_than: int | None = None
    names: tuple[str, ...] = ()
    build_cache: bool = False
    """What was of no use to a build for ``older_than`` goes too, all of it where that is not given."""


@dataclass(frozen=True)
class StoredImage:
    """An image as the store keeps it: ``at`` is when it last came or was made (seconds since the epoch), ``used``
    whether a container is made of it."""

    image: Image
    at: float
    used: bool


@dataclass(frozen=True)
class Garbage:
    """What nothing uses: digests of blobs with their ``size`` in bytes, and diff_ids of unpacked layers, those that a
    repair replaced among them."""

    blobs: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    size: int = 0


@dataclass(frozen=True)
class CacheEntry:
    """Something of the build cache: its ``name`` below that, as ``steps/...``, when it was last of use (seconds since
    the epoch), and its ``size`` in bytes, without layers and blobs that it keeps."""

    name: str
    at: float
    size: int


@dataclass(frozen=True)
class Prunable:
    """What there is to be pruned: all images with a name, what of the build cache is to go, and the garbage that there
    is once that is gone."""

    stored: tuple[StoredImage, ...] = ()
    cache: tuple[CacheEntry, ...] = ()
    garbage: Garbage = Garbage()


def parse_age(option: str, text: str) -> int:
    """Seconds out of ``1d12h``. Raises InvalidOption."""
    parts = re.findall(r"(\d{1,9})([smhdw])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise InvalidOption(option, text, "a time such as 30d, 12h or 1d12h (w, d, h, m, s)")
    return sum(int(number) * _UNITS[unit] for number, unit in parts)


def parse_prune(keep_last: int | None, older_than: str | None, names: tuple[str, ...], *, build_cache: bool) -> Prune:
    """What a user asks for. Raises InvalidOption."""
    if keep_last is not None and keep_last < 0:
        raise InvalidOption("keep_last", keep_last, "a number of images, 0 or more")
    if names and keep_last is None and older_than is None:
        raise InvalidOption("names", list(names), "nothing, unless keep_last or older_than say what may go")
    seconds = None if older_than is None else parse_age("older_than", older_than)
    return Prune(keep_last, seconds, names, build_cache)
