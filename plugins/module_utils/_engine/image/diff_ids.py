# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which blob unpacks to which layer: a configuration only says so, and is believed only where it was seen.

A layer that is there already is not unpacked again: so what a blob inflates to is held against the diff_id then, or an
image could call anything a layer of another one. What was seen is noted, a file a blob: it stays true whatever happens
to blob or layer, and saves reading it again.
"""

from __future__ import annotations

import os

from ..errors import DigestMismatch
from ..linux.files import list_directory, read_whole, remove_if_exists, write_atomic
from .layer.budget import DEFAULT_BUDGET
from .layer.compression import LayerStream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .layer.budget import Budget
    from .layer.compression import Readable
    from .manifest import Descriptor
    from .store import Store

_DIRECTORY = ".diff-ids"


def is_known(store: Store, blob: Descriptor, diff_id: str) -> bool:
    """Whether ``blob`` is known to unpack to the layer; reads no blob. One that is not compressed has its digest."""
    noted = _noted(store, blob.digest)
    return blob.digest == diff_id if noted is None else diff_id in noted


def suspect(store: Store, digest: str) -> None:
    """Nothing is known of a blob any more: it was found damaged. Who comes to need it reads it, and finds so too."""
    _write(store, digest, ())


def _noted(store: Store, digest: str) -> list[str] | None:
    """The digests of the layer, one for each algorithm that configurations name it with."""
    try:
        return read_whole(_path(store, digest)).decode(errors="replace").split()
    except FileNotFoundError:
        return None


def _write(store: Store, digest: str, told: Iterable[str]) -> None:
    os.makedirs(os.path.join(store.root, _DIRECTORY), mode=0o700, exist_ok=True)
    write_atomic(_path(store, digest), " ".join(told).encode(), durable=False)


def note(store: Store, blob: Descriptor, diff_id: str) -> None:
    """Remember it; only after the content was held against both digests, by who holds the content lock of the blob.

    Where a crash empties the note, it is not known."""
    if not is_known(store, blob, diff_id):
        _write(store, blob.digest, [*(_noted(store, blob.digest) or ()), diff_id])


def check(file: Readable, diff_id: str, budget: Budget = DEFAULT_BUDGET) -> None:
    """Inflate a layer, and unpack nothing. Raises DigestMismatch where it is not ``diff_id``, InvalidImage."""
    windows = budget.spent.windows if budget.spent else None
    stream = LayerStream(file, limit=budget.size, algorithm=diff_id.partition(":")[0], windows=windows)
    found = stream.digest()
    if found != diff_id:
        raise DigestMismatch("layer", diff_id, found)


def forget_unused(store: Store) -> None:
    """Remove the notes of blobs that are there no more; with the store alone."""
    for name in list_directory(os.path.join(store.root, _DIRECTORY)):
        digest = name.replace("-", ":", 1)
        if not os.path.exists(store.blob_path(digest)):
            remove_if_exists(_path(store, digest))


def _path(store: Store, digest: str) -> str:
    return os.path.join(store.root, _DIRECTORY, digest.replace(":", "-"))
