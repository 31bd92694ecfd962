# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images that stages begin with and that no name of the host means: those of another platform than the name's own.

They are of the build cache, under ``build-cache/bases/``: a record of a manifest for each name and platform. All that
such an image is made of is kept from being swept as long as its record is there.
"""

from __future__ import annotations

import contextlib
import hashlib
import os

from ...errors import InvalidImage, StateCorrupt
from ...linux.files import list_directory, read_json, write_json
from ..manifest import parse_descriptor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from ...paths import Paths
    from ..manifest import Descriptor


class KeptBase:
    """The image ``name`` for ``platform``."""

    def __init__(self, paths: Paths, name: str, platform: str) -> None:
        key = hashlib.sha256(f"{name} {platform}".encode()).hexdigest()
        self._path = os.path.join(_directory(paths), key + ".json")
        self._told = f"{name} for {platform}"

    def find(self) -> Descriptor | None:
        return _read(self._path)

    def keep(self, descriptor: Descriptor) -> None:
        """Only inside write_store(), which its manifest was written in."""
        os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
        # After a crash it may be gone or empty: then the image is pulled again.
        write_json(self._path, {"manifest": descriptor.to_json(), "image": self._told}, durable=False)

    def used(self) -> None:
        """Note that it was of use, for prune_build_cache()."""
        with contextlib.suppress(OSError):
            os.utime(self._path)


def kept_bases(paths: Paths, without: Container[str] = ()) -> Iterator[Descriptor]:
    """Their manifests, save those ``without`` (as ``bases/...``): what a sweep has to leave."""
    for name in list_directory(_directory(paths)):
        descriptor = None if f"bases/{name}" in without else _read(os.path.join(_directory(paths), name))
        if descriptor:
            yield descriptor


def _directory(paths: Paths) -> str:
    return os.path.join(paths.build_cache, "bases")


def _read(path: str) -> Descriptor | None:
    try:
        found = read_json(path)
        return parse_descriptor(found["manifest"], "a base of the build cache") if found else None
    except (StateCorrupt, InvalidImage, KeyError, TypeError):
        return None  # what a crash left of it
