# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The images that stages begin with: of this host, or pulled where a build may do that."""

from __future__ import annotations

import os
from dataclasses import replace

from ...errors import DigestMismatch, InvalidImage, NotFound
from ...model.image import Image
from ...model.platform import same_platform
from ...progress import Line
from ..layer.directories import install_layers
from ..manifest import platform_of
from ..observe import damaged_digest
from ..platform import host_platform
from ..store import Store, write_store
from .kept_bases import KeptBase

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ...model.build import Build
    from ...paths import Paths
    from ..manifest import Descriptor, Manifest


def find_base(
    paths: Paths, build: Build, name: str, platform: str, *, forecast: bool, tell: Callable[[str], None]
) -> tuple[Manifest, dict[str, Any]] | None:
    """The manifest and configuration of the image ``name``, its layers unpacked.

    What the name means on this host is not changed to another platform. None in a forecast, where it would have to be
    pulled first; such a one asks the registry only if ``pull`` is always. ``tell`` hears of pulls.

    What one that is here lacks comes by its digest. Raises InvalidImage where that did not come from a registry.
    """
    image = Image(name, platform=platform, access=build.access)
    store = Store(paths.images)
    kept = None if _is_own(store, name, platform) else KeptBase(paths, name, platform)
    descriptor = kept.find() if kept else store.names().get(name)
    digest = ""
    if build.pull == "always":
        from ..pull import resolve_remote  # http and ssl: 60 ms

        digest = resolve_remote(paths, image, descriptor.digest if descriptor else "", note=tell)
        descriptor = descriptor if descriptor and descriptor.digest == digest else None
    found = _read(store, descriptor, name, platform) if descriptor else None
    if found is not None and kept and not forecast:
        kept.used()
    if found is not None and _is_whole(paths, store, *found):
        return found
    if found is not None and all(map(store.has_blob, found[0].layers)):
        if forecast:
            return None
        with write_store(paths) as writable:
            install_layers(paths, writable, zip(found[0].layers, found[1]["rootfs"]["diff_ids"]))
        return found
    if descriptor and not digest:
        known = descriptor.digest if kept else damaged_digest(paths, name)
        # One that cannot be read may be for another platform than the one that is asked for now.
        digest = known if found or kept or not platform else ""
    if forecast:
        return None
    from ..pull import pull_image  # http and ssl: 60 ms

    line = Line(lambda text: tell(text.rstrip("\n")), terminal=False)
    pull_image(paths, replace(image, digest=digest), line, keep=kept.keep if kept else None)
    descriptor = kept.find() if kept else store.names()[name]
    return _read(store, descriptor, name, platform) if descriptor else None


def _is_own(store: Store, name: str, platform: str) -> bool:
    """Whether it is the image for ``platform`` that the name means on this host, or is to mean once it is pulled."""
    descriptor = store.names().get(name)
    if not platform or (descriptor and _read(store, descriptor, name, platform)):
        return True
    there = descriptor and _read(store, descriptor, name, "")
    return not there and same_platform(platform, str(host_platform()))


def _read(store: Store, descriptor: Descriptor, name: str, platform: str) -> tuple[Manifest, dict[str, Any]] | None:
    try:
        manifest, config = store.read_image(descriptor, name)
    except (NotFound, DigestMismatch, InvalidImage):
        return None
    return (manifest, config) if same_platform(platform, platform_of(config)) else None


def _is_whole(paths: Paths, store: Store, manifest: Manifest, config: dict[str, Any]) -> bool:
    layers = zip(manifest.layers, config["rootfs"]["diff_ids"])
    return all(os.path.isdir(paths.layer(diff_id)) and store.has_blob(blob) for blob, diff_id in layers)
