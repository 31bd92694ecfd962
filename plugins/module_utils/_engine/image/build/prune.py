# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is in the build cache, and how it goes: the records of steps and bases, what cache mounts hold, downloads."""

from __future__ import annotations

import contextlib
import os

from ...linux.files import list_directory, remove_if_exists
from ...model.prune import CacheEntry
from ..layer.unpack import remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...paths import Paths

_FOLDERS = ("bases", "downloads", "files", "mounts", "steps")


def observe_build_cache(paths: Paths) -> tuple[CacheEntry, ...]:
    """All that is there. A build that uses something sets its time."""
    found = []
    for folder in _FOLDERS:
        for name in list_directory(os.path.join(paths.build_cache, folder)):
            path = os.path.join(paths.build_cache, folder, name)
            with contextlib.suppress(FileNotFoundError):  # a build goes on meanwhile
                found.append(CacheEntry(f"{folder}/{name}", os.lstat(path).st_mtime, _size(path)))
    return tuple(found)


def prune_build_cache(paths: Paths, entries: Iterable[CacheEntry]) -> None:
    """Remove ``entries``, save what was used since. Layers that only they kept go with the next sweep.

    The caller holds ``build_lock``.
    """
    for entry in entries:
        path = os.path.join(paths.build_cache, entry.name)
        with contextlib.suppress(FileNotFoundError):
            if os.lstat(path).st_mtime == entry.at:
                remove_tree(path) if os.path.isdir(path) else remove_if_exists(path)


def _size(path: str) -> int:
    size = os.lstat(path).st_size
    for folder, folders, names in os.walk(path):
        for name in (*folders, *names):
            with contextlib.suppress(FileNotFoundError):
                size += os.lstat(os.path.join(folder, name)).st_size
    return size
