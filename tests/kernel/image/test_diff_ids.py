# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image cannot pass off any blob as a layer of another one, whichever way it comes; it costs a pull nothing."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import EngineError
from ansible_collections.stowage.engine.plugins.module_utils._engine.host import Host
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.archive.load import load_images
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.fsck import find_damage
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.gc import remove_image, sweep
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.manifest import Descriptor
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.observe import observe_images
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.pull import pull_image
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.store import Store, write_store
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.transfer.receive import (
    receive_image,
    resolve_transfer,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.image import Image
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.transfer import Offer, piece_name
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths

from .conftest import digest_of, layer_of, member, tree_of
from .faulty import MANIFEST, FaultyRegistry
from .test_repair import ACCESS, offer

pytestmark = pytest.mark.root

GOOD, EVIL = layer_of(member("good")), layer_of(member("evil"))
BLOB, OTHER = gzip.compress(GOOD, mtime=0), gzip.compress(EVIL, mtime=0)
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"


@pytest.fixture
def good(paths: Paths, faulty: FaultyRegistry) -> Image:
    wanted = offer(faulty, BLOB, digest_of(GOOD), "good")
    pull_image(paths, wanted)
    return wanted


def documents(faulty: FaultyRegistry, repository: str) -> tuple[bytes, bytes]:
    """What the registry has of an image, as an image layout has it."""
    manifest = json.loads(faulty.content[repository, "manifests", "1"][1])
    config = faulty.content[repository, "blobs", manifest["config"]["digest"]][1]
    manifest["config"]["mediaType"] = CONFIG_TYPE
    return json.dumps(manifest).encode(), config


def by_pull(paths: Paths, faulty: FaultyRegistry, _blob: bytes, _directory: Path) -> None:
    pull_image(paths, Image(f"{faulty.host}/evil:1", access=ACCESS))


def by_load(paths: Paths, faulty: FaultyRegistry, blob: bytes, directory: Path) -> None:
    manifest, config = documents(faulty, "evil")
    blobs = directory / "layout/blobs/sha256"
    blobs.mkdir(parents=True)
    for content in (manifest, config, blob):
        (blobs / digest_of(content)[7:]).write_bytes(content)
    entry = {
        "mediaType": MANIFEST,
        "digest": digest_of(manifest),
        "size": len(manifest),
        "annotations": {"org.opencontainers.image.ref.name": "z.test/evil:1"},
    }
    (directory / "layout/index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (directory / "layout/oci-layout").write_text(json.dumps({"imageLayoutVersion": "1.0.0"}))
    load_images(paths, str(directory / "layout"))


def by_transfer(paths: Paths, faulty: FaultyRegistry, blob: bytes, directory: Path) -> None:
    manifest, config = documents(faulty, "evil")
    transfer = resolve_transfer(paths, Offer("z.test/evil:1", MANIFEST, digest_of(manifest), manifest, config))
    (directory / "in").mkdir()
    (directory / "in" / piece_name(digest_of(blob), 0)).write_bytes(blob)
    receive_image(paths, transfer, str(directory / "in"))


WAYS: dict[str, Callable[[Paths, FaultyRegistry, bytes, Path], None]] = {
    "pull": by_pull,
    "load": by_load,
    "transfer": by_transfer,
}


@pytest.mark.parametrize("packed", [EVIL, OTHER, b"no archive at all"], ids=["plain", "gzip", "rubbish"])
@pytest.mark.parametrize("there", [False, True], ids=["new blob", "blob is there"])
@pytest.mark.parametrize("way", WAYS)
def test_a_blob_under_another_layers_diff_id_is_refused(
    paths: Paths, faulty: FaultyRegistry, good: Image, tmp_path: Path, way: str, packed: bytes, *, there: bool
) -> None:
    before = tree_of(paths.layer(digest_of(GOOD)))
    if there and packed == b"no archive at all":
        with write_store(paths) as store:
            store.put_blob("l", packed)
    elif there:  # it came with an image that said the truth of it
        pull_image(paths, offer(faulty, packed, digest_of(EVIL), "honest"))
    names = set(observe_images(paths))
    offer(faulty, packed, digest_of(GOOD), "evil")
    for attempt in (1, 2):  # what the first one leaves does not let the second one pass
        place = tmp_path / str(attempt)
        place.mkdir()
        with pytest.raises(EngineError, match=digest_of(GOOD)):
            WAYS[way](paths, faulty, packed, place)
    assert set(observe_images(paths)) == names
    assert find_damage(paths) == [] and tree_of(paths.layer(digest_of(GOOD))) == before


@pytest.mark.parametrize("packed", [EVIL, OTHER], ids=["plain", "gzip"])
@pytest.mark.parametrize("way", WAYS)
def test_a_blob_that_was_found_damaged_is_brought_anew(
    paths: Paths, faulty: FaultyRegistry, tmp_path: Path, way: str, packed: bytes
) -> None:
    """A repair that cannot mend it leaves it; it is not believed any more, though layer, name and size are there."""
    offer(faulty, packed, digest_of(EVIL), "evil")
    for attempt in (1, 2):
        place = tmp_path / str(attempt)
        place.mkdir()
        WAYS[way](paths, faulty, packed, place)
        assert find_damage(paths) == []
        if attempt == 1:
            Path(Store(paths.images).blob_path(digest_of(packed))).write_bytes(bytes(len(packed)))
            host = Host(paths)
            with host.locked():
                assert len(host.repair(find_damage(paths))) == 1
            assert [image.missing for image in observe_images(paths).values()] == [()]


def test_another_blob_of_the_same_layer_is_welcome(paths: Paths, faulty: FaultyRegistry, good: Image) -> None:
    other = offer(faulty, gzip.compress(GOOD, 1, mtime=5), digest_of(GOOD), "other")
    pull_image(paths, other)
    assert find_damage(paths) == [] and set(observe_images(paths)) == {good.name, other.name}


def test_what_lies_here_already_hurts_nobody(paths: Paths, faulty: FaultyRegistry, good: Image) -> None:
    """As if it had come before blobs were held against diff_ids: it is told, and the other image keeps its layer."""
    offer(faulty, OTHER, digest_of(GOOD), "evil")
    manifest, config = documents(faulty, "evil")
    with write_store(paths) as store:
        for content in (config, OTHER, manifest):
            store.put_blob("", content)
        store.tag("z.test/evil:1", Descriptor(MANIFEST, digest_of(manifest), len(manifest)))
    before = tree_of(paths.layer(digest_of(GOOD)))
    told = [("blob", digest_of(OTHER), ("z.test/evil:1",))]
    damage = find_damage(paths)
    assert [(item.kind, item.digest, item.images) for item in damage] == told and "does not unpack" in damage[0].why
    current = Host(paths).verify_image(good.name)
    assert current is not None and current.damaged == ()
    # With a layer that is damaged indeed, of which both are said to be the blob.
    Path(paths.layer(digest_of(GOOD)), "good").write_bytes(b"evil")
    damage = find_damage(paths)
    assert sorted(item.kind for item in damage) == ["blob", "layer"]
    host = Host(paths)
    with host.locked():
        assert [item.digest for item in host.repair(damage)] == [digest_of(OTHER)]
    assert tree_of(paths.layer(digest_of(GOOD))) == before
    remove_image(paths, "z.test/evil:1")
    assert find_damage(paths) == []


def test_what_is_known_is_not_read_again(paths: Paths, faulty: FaultyRegistry, good: Image) -> None:
    """Nobody who reads the blob would take it: as long as nobody does, the pull has nothing to do."""
    blob = Path(Store(paths.images).blob_path(digest_of(BLOB)))
    blob.write_bytes(bytes(len(BLOB)))
    faulty.asked.clear()
    pull_image(paths, good)
    assert blob.read_bytes() == bytes(len(BLOB))
    assert not [asked for asked in faulty.asked if "/blobs/" in asked.path]
    # Not known, as in a store of an earlier version: it is read, and the damage comes to light and is mended.
    shutil.rmtree(os.path.join(paths.images, ".diff-ids"))
    pull_image(paths, good)
    assert blob.read_bytes() == BLOB and find_damage(paths) == []
    assert os.listdir(os.path.join(paths.images, ".diff-ids")) == [digest_of(BLOB).replace(":", "-")]


def test_what_is_known_of_a_blob_goes_with_it(paths: Paths, good: Image) -> None:
    sweep(paths)
    assert os.listdir(os.path.join(paths.images, ".diff-ids"))
    remove_image(paths, good.name)
    assert os.listdir(os.path.join(paths.images, ".diff-ids")) == []


def test_one_blob_under_two_digests_of_its_layer(paths: Paths, faulty: FaultyRegistry, good: Image) -> None:
    both = ["sha512:" + hashlib.sha512(GOOD).hexdigest(), digest_of(GOOD)]
    config = json.loads(documents(faulty, "good")[1])
    config["rootfs"]["diff_ids"] = both
    content = json.dumps(config).encode()
    faulty.put("two", "blobs", content)
    faulty.put("two", "blobs", BLOB)
    manifest = json.loads(documents(faulty, "good")[0])
    manifest["config"].update(digest=digest_of(content), size=len(content))
    manifest["layers"] *= 2
    faulty.put("two", "manifests", json.dumps(manifest).encode(), "1", MANIFEST)
    pull_image(paths, replace(good, name=f"{faulty.host}/two:1"))
    assert find_damage(paths) == []
