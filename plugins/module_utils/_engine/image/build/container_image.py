# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image out of a container: the layers that it was made from, what it changed in its root as one more, and the
configuration of its image with what is said over it.

Promise: the digest depends on the files, the image below and what is asked for alone, not on the container's name, nor
on when. So it is known without writing anything, and says truly whether there is anything to do.
"""

from __future__ import annotations

import json
import os
from typing import NamedTuple

from ...errors import KernelError, NotFound
from ...model.image import ImageConfig
from ..layer.directories import install_layers
from ..manifest import OCI_LAYER, OCI_MANIFEST, Descriptor, encode, image_of, override_config, parse_manifest
from ..store import Store, write_store
from .commit import stub_paths, upper_members
from .documents import date_of, image_documents, put_image
from .members import hash_blob, write_tar
from .view import View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from ...model.commit import Commit
    from ...model.image import Image
    from ...paths import Paths
    from .commit import Owner

    Layer = tuple[Descriptor, str]
    Sink = Callable[[str, Iterable[bytes]], Descriptor]


class Source(NamedTuple):
    """A container at rest: the digest of its image, its upper directory, where things were mounted in it, and whose a
    file of the upper directory is in it."""

    digest: str
    upper: str
    targets: Sequence[str]
    owner: Owner


def resolve_commit(paths: Paths, commit: Commit, source: Source) -> Image:
    """The image that committing would give. Only reads. Raises NotFound, InvalidImage, KernelError."""
    return _make(paths, Store(paths.images), commit, source, hash_blob)[0]


def store_commit(paths: Paths, commit: Commit, source: Source) -> Image:
    """Store the image, unpack its layer, and let its name mean it; raises as resolve_commit() does."""
    with write_store(paths) as store:
        image, layers, *documents = _make(paths, store, commit, source, store.put_stream)
        install_layers(paths, store, layers)
        put_image(store, commit.name, *documents)
        return image


def _make(
    paths: Paths, store: Store, commit: Commit, source: Source, sink: Sink
) -> tuple[Image, list[Layer], dict[str, Any], dict[str, Any]]:
    below, base = _base(paths, store, source.digest)
    view = View(paths.layer(diff_id) for _descriptor, diff_id in below)
    try:
        stubs = stub_paths(view, source.targets)
        members = upper_members(source.upper, view, commit.epoch or 0, owner=source.owner, stubs=stubs)
    except OSError as error:
        raise KernelError("reading what the container has changed", error) from error
    layers = list(below)
    if members:
        descriptor = sink(OCI_LAYER, write_tar(members))
        layers.append((descriptor, descriptor.digest))
    config, manifest = _documents(commit, base, layers, empty=not members)
    content = encode(manifest)
    digest = hash_blob(OCI_MANIFEST, (content,)).digest
    image = image_of(commit.name, digest, len(content), parse_manifest(content, commit.name), config)
    return image, layers, config, manifest


def _base(paths: Paths, store: Store, digest: str) -> tuple[list[Layer], dict[str, Any]]:
    """The layers and the configuration of the image that the container was made from; a container keeps its content."""
    try:
        size = os.stat(store.blob_path(digest)).st_size
    except FileNotFoundError as error:
        raise NotFound("image", digest, "the container was made from it; pull or make it again") from error
    manifest, config = store.read_image(Descriptor(OCI_MANIFEST, digest, size), digest)
    layers = list(zip(manifest.layers, config["rootfs"]["diff_ids"]))
    for _descriptor, diff_id in layers:
        if not os.path.isdir(paths.layer(diff_id)):
            raise NotFound("layer", diff_id, "it is of the container's image; pull or make that again")
    return layers, config


def _documents(
    commit: Commit, base: dict[str, Any], layers: Sequence[Layer], *, empty: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The configuration (image-spec, config.md), with all that the base's has besides, and the manifest."""
    entry: dict[str, Any] = {"created_by": "stowage: container"}
    if commit.config != ImageConfig():
        # What is only configured is to be seen in the history too.
        entry["created_by"] += " with " + json.dumps(override_config({}, commit.config), sort_keys=True)
    if commit.comment:
        entry["comment"] = commit.comment
    if empty:
        entry["empty_layer"] = True
    document = {key: value for key, value in base.items() if key != "created"}
    document["config"] = override_config(base.get("config"), commit.config)
    if commit.epoch is not None:
        document["created"] = entry["created"] = date_of(commit.epoch)
    history = [old for old in base.get("history") or () if isinstance(old, dict)]
    return image_documents(document, layers, [*history, entry])
