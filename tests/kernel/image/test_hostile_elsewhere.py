# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hostile layers that come in an archive or from the controller meet the same defences as those of a registry."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import EngineError, InvalidImage
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.archive.load import load_images
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.gc import remove_image, sweep
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.manifest import (
    OCI_CONFIG,
    OCI_LAYER,
    OCI_MANIFEST,
    encode,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.observe import observe_images
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.store import REF_NAME, Store
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.transfer.receive import (
    receive_image,
    resolve_transfer,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.image import Limits
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.transfer import Offer, piece_name
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths

from .hostile import Place, archive, digest_of, entry, octal
from .test_archive_hostile import Entries, described, tar_of
from .test_hostile import KEPT, PRIVILEGED, REFUSED

pytestmark = pytest.mark.root

NAME = "docker.io/library/bad:1"
NO_LIMITS = Limits()


def offer(layer: bytes) -> Offer:
    """An image of one layer, which comes compressed, as a controller offers it."""
    config = encode({"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": [digest_of(layer)]}})
    blobs = {"config": described(OCI_CONFIG, config), "layers": [described(OCI_LAYER, gzip.compress(layer, mtime=0))]}
    manifest = encode({"schemaVersion": 2, "mediaType": OCI_MANIFEST, **blobs})
    return Offer(NAME, OCI_MANIFEST, digest_of(manifest), manifest, config)


class Ways:
    """How an image of a layer comes to a host whose store has a canary on every side."""

    def __init__(self, directory: Path) -> None:
        self.place = Place(directory / "top")
        self.paths = Paths(str(self.place.outside / "lib"), str(self.place.outside / "run"))
        self.file, self.incoming = directory / "archive", directory / "incoming"
        self.incoming.mkdir()

    def oci(self, layer: bytes, limits: Limits) -> None:
        found = offer(layer)
        index = encode({"manifests": [described(OCI_MANIFEST, found.manifest, annotations={REF_NAME: "bad:1"})]})
        blobs = (found.manifest, found.config, gzip.compress(layer, mtime=0))
        named = {f"blobs/{digest_of(blob).replace(':', '/')}": blob for blob in blobs}
        self.load({"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": index, **named}, limits)

    def docker(self, layer: bytes, limits: Limits) -> None:
        """As `docker save` writes it: with no digest but that of what unpacks."""
        config = offer(layer).config
        entries = encode([{"Config": "config.json", "RepoTags": ["bad:1"], "Layers": ["layer.tar"]}])
        self.load({"manifest.json": entries, "config.json": config, "layer.tar": layer}, limits)

    def load(self, entries: Entries, limits: Limits) -> None:
        self.file.write_bytes(tar_of(entries))
        load_images(self.paths, str(self.file), limits=limits)

    def transfer(self, layer: bytes, limits: Limits) -> None:
        wanted = resolve_transfer(self.paths, offer(layer))
        for digest, _size in wanted.lacking:
            (self.incoming / piece_name(digest, 0)).write_bytes(gzip.compress(layer, mtime=0))
        limited = replace(wanted, image=replace(wanted.image, limits=limits))
        receive_image(self.paths, limited, str(self.incoming))

    def touched(self) -> list[str]:
        """What was changed around the store."""
        own = (str(self.place.outside / "lib"), str(self.place.outside / "run"))
        return [name for name in self.place.changes() if not name.startswith(own) and name != str(self.place.outside)]

    def is_clean(self) -> None:
        """No image is there, nothing at all after a sweep, and all around it is as it was."""
        assert observe_images(self.paths) == {}
        sweep(self.paths)
        assert Store(self.paths.images).blobs() == []
        assert os.listdir(self.paths.layers) == []
        assert self.touched() == []


@pytest.fixture
def ways(tmp_path: Path) -> Ways:
    return Ways(tmp_path)


WAYS: dict[str, Callable[[Ways, bytes, Limits], None]] = {
    "archive": Ways.oci,
    "docker's archive": Ways.docker,
    "transfer": Ways.transfer,
}
# Some for each sentence that test_hostile.py has many more for.
CORPUS = [
    *("pax name out", "gnu name out", "prefix out", "sparse name out", "pax name with a NUL", "a path of 5,000"),
    *("a hard link to nothing", "deep by links", "links in a circle", "negative size", "a size of 4 EB"),
    *("a device beyond all", "pax of 1 GB", "a hole of 8 EB", "a file as a directory", "a whiteout out, by a name"),
]


@pytest.mark.parametrize("name", CORPUS)
@pytest.mark.parametrize("way", WAYS)
def test_layers_that_are_refused_are_refused_whichever_way_they_come(way: str, name: str, ways: Ways) -> None:
    parts, said = REFUSED[name]
    layer = archive(entry(b"first"), *parts, entry(b"last"))
    with pytest.raises(InvalidImage, match=said) as raised:
        WAYS[way](ways, layer, NO_LIMITS)
    assert f"layer {digest_of(layer)}: " in str(raised.value)
    ways.is_clean()


@pytest.mark.parametrize("way", WAYS)
def test_layers_that_are_only_odd_stay_inside_whichever_way_they_come(way: str, ways: Ways) -> None:
    for parts in KEPT.values():
        WAYS[way](ways, archive(*parts), NO_LIMITS)
        remove_image(ways.paths, NAME)
        ways.is_clean()


FORBIDDEN = {
    "size": (archive(entry(b"x", content=b"y" * 5000)), Limits(size=4999), "more than 4999 bytes"),
    "entries": (archive(*(entry(b"%d" % number) for number in range(11))), Limits(entries=10), "more than 10 entries"),
    "devices": (
        archive(entry(b"sda", b"4", major=octal(8, 8))),
        Limits(devices=False),
        "the device 'sda'",
    ),
    **{
        kind: (archive(part), Limits(setuid=False), f"'bin/x', which .*{kind}.*not allowed")
        for kind, part in PRIVILEGED.items()
    },
}


@pytest.mark.parametrize("name", FORBIDDEN)
@pytest.mark.parametrize("way", WAYS)
def test_limits_hold_whichever_way_an_image_comes(way: str, name: str, ways: Ways) -> None:
    """Without them it comes; what a layer may have is looked at then, too."""
    layer, limits, said = FORBIDDEN[name]
    with pytest.raises(EngineError, match=said):
        WAYS[way](ways, layer, limits)
    ways.is_clean()
    WAYS[way](ways, layer, NO_LIMITS)
    assert list(observe_images(ways.paths)) == [NAME]
    if name not in ("size", "entries"):
        with pytest.raises(EngineError, match=said):
            WAYS[way](ways, layer, limits)
