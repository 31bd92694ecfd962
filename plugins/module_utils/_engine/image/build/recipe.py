# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Assemble an image on the host: a base or nothing, layers of the host's files, a configuration.

Promise: same inputs, same digest, bit for bit, on every host; so the digest can be known without writing anything
(resolve_recipe), and says truly whether assembling would change what is there. Layers are stored uncompressed: what
a compressor writes differs between its versions.
"""

from __future__ import annotations

import os
from dataclasses import replace

from ...errors import InvalidImage, InvalidOption, KernelError
from ...model.image import ImageConfig
from ...model.reference import normalise
from ..layer.budget import DEFAULT_BUDGET
from ..layer.compression import LayerStream, compression_of
from ..layer.directories import install_layers
from ..layer.members import WHITEOUT, clean_path
from ..layer.tar import CHARACTER, Member, TarReader
from ..manifest import (
    OCI_CONFIG,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
    Manifest,
    encode,
    image_of,
    override_config,
)
from ..platform import host_architecture
from ..store import Store, read_chunks, write_store
from .documents import Base, date_of, image_documents, put_image
from .members import hash_blob, write_tar
from .sources import layer_members, source_date_epoch
from .view import View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from ...model.image import Image, LayerSource, Recipe
    from ...paths import Paths

    Sink = Callable[[str, Iterable[bytes]], Descriptor]

_OPAQUE = b".wh..wh..opq"


def resolve_recipe(paths: Paths, image: Image) -> Image:
    """``image`` with the digest, layers, size and configuration that assembling it would give. Only reads.

    Raises InvalidOption for a layer or path that cannot be, NotFound for a base that is not there.
    """
    store = Store(paths.images)
    recipe = _recipe(image)
    base = Base(store, recipe.base)
    layers = _make_layers(recipe, base.view(paths), hash_blob)
    config, manifest = _documents(recipe, base, layers)
    descriptor = hash_blob(OCI_MANIFEST, (encode(manifest),))
    return _resolved(image, descriptor, layers, base, config)


def assemble_image(paths: Paths, image: Image) -> Image:
    """Make the image of ``image.recipe`` in the store, unpack its layers, and let its name mean it.

    Returns what resolve_recipe() would. Raises as it does, and KernelError; the name means what it meant before then.
    """
    with write_store(paths) as store:
        recipe = _recipe(image)
        base = Base(store, recipe.base)
        install_layers(paths, store, base.layers)
        layers = _make_layers(recipe, base.view(paths), store.put_stream)
        install_layers(paths, store, layers)
        config, manifest = _documents(recipe, base, layers)
        descriptor = put_image(store, normalise("name", image.name), config, manifest)
        return _resolved(image, descriptor, layers, base, config)


def _recipe(image: Image) -> Recipe:
    if image.recipe is None:
        raise InvalidOption("name", image.name, "an image with a recipe")
    return image.recipe


def _make_layers(recipe: Recipe, view: View, sink: Sink) -> list[tuple[Descriptor, str]]:
    """The new layers' blobs and diff_ids, from the lowest; ``sink`` takes the blobs."""
    made = []
    for number, source in enumerate(recipe.layers):
        option = f"layers[{number}]"
        if _is_archive(source):
            descriptor, diff_id, members = _archive_layer(option, source, sink)
        else:
            contents = layer_members(option, source, view)
            descriptor = sink(OCI_LAYER, write_tar(contents))
            diff_id = descriptor.digest
            members = {path: member for path, (member, _content) in contents.items()}
        view.push(members)
        made.append((descriptor, diff_id))
    return made


def _is_archive(source: LayerSource) -> bool:
    """A file for the root of an image is a tar archive: one that is to be a file there has its name in ``dest``."""
    return bool(source.path) and source.dest.strip("/") == "" and os.path.isfile(source.path)


def _archive_layer(option: str, source: LayerSource, sink: Sink) -> tuple[Descriptor, str, dict[bytes, Member]]:
    if source.entries:
        raise InvalidOption(option, source.path, "an archive or entries, each a layer of its own")
    try:
        with open(source.path, "rb") as file:
            stream = LayerStream(file, limit=DEFAULT_BUDGET.size)
            members = _archive_members(TarReader(stream.read))
            diff_id = stream.digest()
            file.seek(0)
            compression = compression_of(file.read(512))
            file.seek(0)
            return sink(OCI_LAYER + (f"+{compression}" if compression else ""), read_chunks(file)), diff_id, members
    except InvalidImage as error:
        expected = "a tar archive, plain, gzip or zstd; a single file needs dest to say where it goes"
        raise InvalidOption(f"{option}.path", source.path, f"{expected} ({error})") from error
    except OSError as error:
        raise KernelError(f"{option}.path: reading the archive", error) from error


def _archive_members(reader: TarReader) -> dict[bytes, Member]:
    """An archive's members as a View takes them: whiteouts as devices, opaque directories with a slash."""
    members = {}
    for member in reader:
        name = clean_path(member.name)
        directory, _slash, base = name.rpartition(b"/")
        if base == _OPAQUE:
            members[directory + b"/"] = member
        elif base.startswith(WHITEOUT):
            hidden = b"/".join(filter(None, (directory, base[len(WHITEOUT) :])))
            members.setdefault(hidden, Member(hidden, CHARACTER))
        elif name:
            members[name] = member
    return members


def _documents(
    recipe: Recipe, base: Base, layers: list[tuple[Descriptor, str]]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The configuration and the manifest (image-spec, config.md and manifest.md)."""
    history = [entry for entry in base.config.get("history") or () if isinstance(entry, dict)]
    history += [{"created_by": f"stowage: {_describe(source)}"} for source in recipe.layers]
    if recipe.config != ImageConfig():
        history.append({"created_by": "stowage: config", "empty_layer": True})
    document = {
        "architecture": base.config.get("architecture") or host_architecture(),
        "os": base.config.get("os") or "linux",
        "config": override_config(base.config.get("config"), recipe.config),
    }
    if "variant" in base.config:
        document["variant"] = base.config["variant"]
    if os.environ.get("SOURCE_DATE_EPOCH"):
        document["created"] = date_of(source_date_epoch())
    return image_documents(document, [*base.layers, *layers], history)


def _describe(source: LayerSource) -> str:
    """What a layer is, without the host's path, on which the digest must not depend."""
    if not source.path:
        return f"{len(source.entries)} entries"
    return "archive" if _is_archive(source) else f"files at {source.dest}"


def _resolved(
    image: Image, descriptor: Descriptor, layers: list[tuple[Descriptor, str]], base: Base, config: dict[str, Any]
) -> Image:
    name = normalise("name", image.name)
    encoded = Descriptor(OCI_CONFIG, "", len(encode(config)))
    manifest = Manifest(encoded, tuple(blob for blob, _diff_id in [*base.layers, *layers]))
    return replace(image_of(name, descriptor.digest, descriptor.size, manifest, config), recipe=image.recipe)
