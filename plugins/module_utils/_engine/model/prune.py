# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which images of a host are no longer wanted."""

from __future__ import annotations

from dataclasses import dataclass

from .image import Image


@dataclass(frozen=True)
class Prune:
    """What may go: of each repository all but the ``keep_last`` latest, and what is ``older_than`` so many seconds.

    Where both are given, both must hold; where neither is, no name goes. ``names`` are patterns (fnmatch) of whole
    names, of which one must fit; none: all do.
    """

    keep_last: int | None = None
    older_than: int | None = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class StoredImage:
    """An image as the store keeps it: ``at`` is when it last came or was made (seconds since the epoch), ``used``
    whether a container is made of it."""

    image: Image
    at: float
    used: bool


@dataclass(frozen=True)
class Garbage:
    """What nothing uses: digests of blobs with their ``size`` in bytes, and diff_ids of unpacked layers."""

    blobs: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    size: int = 0
