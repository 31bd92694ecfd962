# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documents of an image made here: its configuration and its manifest (image-spec: config.md, manifest.md)."""

from __future__ import annotations

import os
import time

from ...errors import NotFound
from ...model.reference import normalise
from ..manifest import DOCKER_LAYER, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Descriptor, encode
from .members import hash_blob
from .view import View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from ...paths import Paths
    from ..store import Store

    Layer = tuple[Descriptor, str]


def image_documents(
    document: Mapping[str, Any], layers: Sequence[Layer], history: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The configuration, ``document`` with what ``layers`` and ``history`` add to it, and the manifest."""
    rootfs = {"type": "layers", "diff_ids": [diff_id for _descriptor, diff_id in layers]}
    config = {**document, "rootfs": rootfs, "history": list(history)}
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": hash_blob(OCI_CONFIG, (encode(config),)).to_json(),
        "layers": [oci_layer(descriptor).to_json() for descriptor, _diff_id in layers],
    }
    return config, manifest


def put_image(store: Store, name: str, config: Mapping[str, Any], manifest: Mapping[str, Any]) -> Descriptor:
    """Store the documents, and let ``name``, which is normalised, mean them. Only inside write_store()."""
    store.put_blob(OCI_CONFIG, encode(config))
    descriptor = store.put_blob(OCI_MANIFEST, encode(manifest))
    store.tag(name, descriptor)
    return descriptor


def date_of(epoch: int | None) -> str:
    """``epoch``, in seconds, as configurations have dates (RFC 3339); nothing where there is none."""
    return "" if epoch is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))


def oci_layer(descriptor: Descriptor) -> Descriptor:
    """A layer of a docker base has the same bytes under an OCI name."""
    if descriptor.media_type.startswith(DOCKER_LAYER):
        suffix = {".gzip": "+gzip", ".zstd": "+zstd"}.get(descriptor.media_type[len(DOCKER_LAYER) :], "")
        return descriptor._replace(media_type=OCI_LAYER + suffix)
    return descriptor


class Base:
    """What an image is built on: another image of the store, or nothing."""

    def __init__(self, store: Store, name: str) -> None:
        self.name = normalise("base", name) if name else ""
        self.config: dict[str, Any] = {}
        self.layers: list[tuple[Descriptor, str]] = []
        if name:
            descriptor = store.names().get(self.name)
            if descriptor is None:
                raise NotFound("image", self.name, "pull or assemble it before the image that has it as base")
            manifest, self.config = store.read_image(descriptor, self.name)
            self.layers = list(zip(manifest.layers, self.config["rootfs"]["diff_ids"]))

    def view(self, paths: Paths) -> View:
        for _descriptor, diff_id in self.layers:
            if not os.path.isdir(paths.layer(diff_id)):
                raise NotFound("layer", diff_id, f"pull or assemble the base {self.name} again")
        return View(paths.layer(diff_id) for _descriptor, diff_id in self.layers)
