# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The images that stages begin with: of this host, or pulled where a build may do that."""

from __future__ import annotations

import os

from ...errors import DigestMismatch, InvalidImage, NotFound
from ...model.image import Image
from ...model.platform import same_platform
from ..layer.directories import install_layers
from ..manifest import platform_of
from ..store import Store, write_store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...model.build import Build
    from ...paths import Paths
    from ..manifest import Descriptor, Manifest


def find_base(
    paths: Paths, build: Build, name: str, platform: str, *, forecast: bool
) -> tuple[Manifest, dict[str, Any]] | None:
    """The manifest and configuration of the image ``name``, its layers unpacked.

    None in a forecast, where it would have to be pulled first; such a one asks the registry only if ``pull`` is always.
    """
    image = Image(name, platform=platform, access=build.access)
    store = Store(paths.images)
    descriptor = store.names().get(name)
    if build.pull == "always":
        from ..pull import resolve_remote  # http and ssl: 60 ms

        digest = resolve_remote(paths, image, descriptor.digest if descriptor else "")
        descriptor = descriptor if descriptor and descriptor.digest == digest else None
    found = _read(store, descriptor, name, platform) if descriptor else None
    if found is not None and _is_whole(paths, store, *found):
        return found
    if forecast:
        return None
    if found is not None and all(map(store.has_blob, found[0].layers)):
        with write_store(paths) as writable:
            install_layers(paths, writable, zip(found[0].layers, found[1]["rootfs"]["diff_ids"]))
        return found
    from ..pull import pull_image  # http and ssl: 60 ms

    pull_image(paths, image)
    return _read(store, store.names()[name], name, platform)


def _read(store: Store, descriptor: Descriptor, name: str, platform: str) -> tuple[Manifest, dict[str, Any]] | None:
    try:
        manifest, config = store.read_image(descriptor, name)
    except (NotFound, DigestMismatch, InvalidImage):
        return None
    return (manifest, config) if same_platform(platform, platform_of(config)) else None


def _is_whole(paths: Paths, store: Store, manifest: Manifest, config: dict[str, Any]) -> bool:
    layers = zip(manifest.layers, config["rootfs"]["diff_ids"])
    return all(os.path.isdir(paths.layer(diff_id)) and store.has_blob(blob) for blob, diff_id in layers)
