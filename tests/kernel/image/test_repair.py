# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Repairs take what is here: what is needed and here is not fetched, and nothing goes before there is something in its
place.

Who runs on a damaged layer meanwhile is in test_repair_mounted.py.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import EngineError
from ansible_collections.stowage.engine.plugins.module_utils._engine.host import Host
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.build.recipe import assemble_image
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.fsck import find_damage
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.pull import pull_image
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.store import Store
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.image import (
    Entry,
    Image,
    LayerSource,
    Recipe,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.registry import Access
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.image import plan_image

from .conftest import digest_of, layer_of, member
from .faulty import MANIFEST, FaultyRegistry
from .offers import PLATFORM

pytestmark = pytest.mark.root

ACCESS = Access(insecure=True, timeout=2)
LAYER = layer_of(member("bin/sh"), member("etc/conf"), member(f"of-{os.getpid()}"))  # no one else has it mounted
DIFF_ID = digest_of(LAYER)
SITE = Image("docker.io/library/site:1", recipe=Recipe(layers=(LayerSource(entries=(Entry("/a", b"x"),)),)))


def offer(
    faulty: FaultyRegistry, blob: bytes | list[bytes], diff_id: str | list[str], repository: str = "app"
) -> Image:
    """An image, at the registry."""
    blobs = blob if isinstance(blob, list) else [blob]
    rootfs = {"type": "layers", "diff_ids": diff_id if isinstance(diff_id, list) else [diff_id]}
    config = json.dumps({**PLATFORM, "author": repository, "rootfs": rootfs}).encode()
    for content in (*blobs, config):
        faulty.put(repository, "blobs", content)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": "c", "digest": digest_of(config), "size": len(config)},
        "layers": [{"mediaType": "l", "digest": digest_of(layer), "size": len(layer)} for layer in blobs],
    }
    faulty.put(repository, "manifests", json.dumps(manifest).encode(), "1", MANIFEST)
    return Image(f"{faulty.host}/{repository}:1", access=ACCESS)


def pulled(paths: Paths, faulty: FaultyRegistry) -> Image:
    """The one that is damaged and repaired; what it was asked for by then is forgotten."""
    wanted = offer(faulty, gzip.compress(LAYER, mtime=0), DIFF_ID)
    pull_image(paths, wanted)
    faulty.asked.clear()
    return wanted


@pytest.fixture
def image(paths: Paths, faulty: FaultyRegistry) -> Image:
    return pulled(paths, faulty)


def blob_of(paths: Paths, name: str) -> Path:
    store = Store(paths.images)
    manifest, _config = store.read_image(store.names()[name], name)
    return Path(store.blob_path(manifest.layers[0].digest))


def tamper(paths: Paths, diff_id: str = DIFF_ID) -> None:
    Path(paths.layer(diff_id), "etc").joinpath("conf").write_bytes(b"evil")


def flip(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])


def verified(paths: Paths, wanted: Image) -> None:
    """As the module does it, with verify: true; and there is nothing more to do."""
    host = Host(paths)
    changes = list(plan_image(wanted, host.verify_image(wanted.name)))
    assert changes
    host.apply(changes)
    assert list(plan_image(wanted, Host(paths).verify_image(wanted.name))) == []


def test_a_damaged_layer_is_unpacked_again_without_a_registry(
    paths: Paths, image: Image, faulty: FaultyRegistry
) -> None:
    tamper(paths)
    verified(paths, image)
    assert faulty.asked == [] and find_damage(paths) == []


def test_a_layer_that_is_gone_is_unpacked_again_without_a_registry(
    paths: Paths, image: Image, faulty: FaultyRegistry
) -> None:
    shutil.rmtree(paths.layer(DIFF_ID))
    host = Host(paths)
    [change] = plan_image(image, host.observe_images()[image.name])
    assert str(change).startswith(f"restore image {image.name}")
    host.apply([change])
    assert faulty.asked == [] and Host(paths).observe_images()[image.name].missing == ()


def test_a_blob_is_fetched_by_its_digest_and_no_tag_is_asked_for(
    paths: Paths, image: Image, faulty: FaultyRegistry
) -> None:
    before = Host(paths).observe_images()[image.name].digest
    offer(faulty, gzip.compress(layer_of(member("newer"))), digest_of(layer_of(member("newer"))))
    flip(blob_of(paths, image.name))
    tamper(paths)
    verified(paths, image)
    assert find_damage(paths) == [] and faulty.asked
    assert not [asked.path for asked in faulty.asked if asked.path.endswith("/manifests/1")]
    found = Host(paths).observe_images()
    assert list(found) == [image.name] and found[image.name].digest == before


def test_nothing_goes_where_nothing_comes(paths: Paths, image: Image, faulty: FaultyRegistry) -> None:
    """Blob and layer are damaged, and there is no registry: the image is no worse for it, and neither are others."""
    flip(blob_of(paths, image.name))
    tamper(paths)
    faulty.__exit__(None, None, None)
    host = Host(paths)
    current = host.verify_image(image.name)
    assert current is not None and current.damaged == (DIFF_ID,)
    with pytest.raises(EngineError, match="registry"):
        host.apply(plan_image(image, current))
    assert Host(paths).observe_images()[image.name].missing == ()
    with host.locked():
        assert host.repair(find_damage(paths))
    assert Host(paths).observe_images()[image.name].missing == ()


@pytest.mark.parametrize("damaged", [False, True])
def test_an_image_that_was_made_here_is_asked_of_nobody(paths: Paths, *, damaged: bool) -> None:
    made = assemble_image(paths, SITE)
    wanted = Image(SITE.name)
    if not damaged:
        shutil.rmtree(paths.layer(made.layers[0]))
        Host(paths).apply(plan_image(wanted, Host(paths).observe_images()[SITE.name]))
        assert Host(paths).observe_images()[SITE.name].missing == ()
        return
    flip(blob_of(paths, SITE.name))
    Path(paths.layer(made.layers[0]), "a").write_bytes(b"y")
    host = Host(paths)
    start = time.monotonic()
    with pytest.raises(EngineError, match="did not come from a registry"):
        host.apply(plan_image(wanted, host.verify_image(SITE.name)))
    assert time.monotonic() - start < 2
    verified(paths, SITE)
    assert find_damage(paths) == []


def test_what_was_made_here_is_not_taken_from_whoever_has_its_name(
    paths: Paths, image: Image, faulty: FaultyRegistry
) -> None:
    """Its manifest is damaged: it is no image any more. A registry has the name, and is asked only where told so."""
    store = Store(paths.images)
    made = assemble_image(paths, replace(SITE, name=image.name))
    flip(Path(store.blob_path(made.digest)))
    host = Host(paths)
    with pytest.raises(EngineError, match="did not come from a registry"):
        host.resolve_image(image)
    assert faulty.asked == []
    desired = host.resolve_image(image, refresh=True)
    host.apply(plan_image(desired, host.observe_images().get(image.name)))
    assert Host(paths).observe_images()[image.name].digest == desired.digest
    # That one did come from the registry: it is asked again.
    flip(Path(store.blob_path(desired.digest)))
    assert Host(paths).resolve_image(image).digest == desired.digest


@pytest.mark.parametrize("gone", ["manifest", "configuration"])
@pytest.mark.parametrize("tag", ["stays", "moves", "goes"])
@pytest.mark.parametrize("platform", ["", "linux/amd64"])
def test_an_image_without_its_documents_is_what_it_was_wherever_its_tag_has_gone(
    paths: Paths, image: Image, faulty: FaultyRegistry, *, gone: str, tag: str, platform: str
) -> None:
    store = Store(paths.images)
    before = store.names()[image.name]
    document = before.digest if gone == "manifest" else store.read_image(before, image.name)[0].config.digest
    Path(store.blob_path(document)).unlink()
    if tag == "moves":
        offer(faulty, gzip.compress(layer_of(member("newer"))), digest_of(layer_of(member("newer"))))
    elif tag == "goes":
        del faulty.content["app", "manifests", "1"]
    wanted = replace(image, platform=platform)
    host = Host(paths)
    desired = host.resolve_image(wanted)
    assert desired.digest == before.digest
    host.apply(plan_image(desired, host.observe_images().get(image.name)))
    found = Host(paths).observe_images()[image.name]
    assert (found.digest, found.missing) == (before.digest, ()) and find_damage(paths) == []
    if tag == "moves":
        assert host.resolve_image(wanted, refresh=True).digest != before.digest


def test_a_damaged_image_that_its_registry_lacks_is_not_another_one(
    paths: Paths, image: Image, faulty: FaultyRegistry
) -> None:
    digest = Store(paths.images).names()[image.name].digest
    flip(Path(Store(paths.images).blob_path(digest)))
    del faulty.content["app", "manifests", digest]
    newer = gzip.compress(layer_of(member("newer")))
    offer(faulty, newer, digest_of(layer_of(member("newer"))))
    for host in (Host(paths), Host(paths, absent=lambda _error: None)):
        with pytest.raises(EngineError, match=f"lacks {digest}: pull what it has by now with pull: always"):
            host.resolve_image(image)
    assert Host(paths).resolve_image(image, refresh=True).digest != digest


def test_a_damaged_image_of_another_platform_gives_way(paths: Paths, image: Image, faulty: FaultyRegistry) -> None:
    before = Store(paths.images).names()[image.name].digest
    flip(Path(Store(paths.images).blob_path(before)))
    config = {"os": "linux", "architecture": "s390x"}
    digest = faulty.put_image("1", LAYER, config=config)
    assert Host(paths).resolve_image(replace(image, platform="linux/s390x")).digest == digest


def test_the_blob_of_a_layer_that_is_not_compressed_has_its_name(paths: Paths) -> None:
    """What is damaged of the two is told apart, though both have one digest."""
    made = assemble_image(paths, SITE)
    Path(paths.layer(made.layers[0]), "a").write_bytes(b"y")
    verified(paths, Image(SITE.name))
    Path(paths.layer(made.layers[0]), "a").write_bytes(b"y")
    host = Host(paths)
    with host.locked():
        assert host.repair(find_damage(paths)) == []
        flip(blob_of(paths, SITE.name))
        [damage] = find_damage(paths)
        assert host.repair([damage, damage._replace(kind="layer")]) == [damage]


def test_a_blob_of_another_image_serves(paths: Paths, image: Image, faulty: FaultyRegistry) -> None:
    """The same layer, packed otherwise: the whole one of the two blobs restores it, nobody is asked for it."""
    other = offer(faulty, gzip.compress(LAYER, 1, mtime=1), DIFF_ID, "other")
    pull_image(paths, other)
    faulty.asked.clear()
    flip(blob_of(paths, image.name))
    tamper(paths)
    host = Host(paths)
    with host.locked():
        assert host.repair([item for item in find_damage(paths) if item.kind == "layer"]) == []
    assert faulty.asked == [] and [item.kind for item in find_damage(paths)] == ["blob"]


def test_a_newer_image_brings_back_what_is_damaged_of_both(paths: Paths, image: Image, faulty: FaultyRegistry) -> None:
    more = layer_of(member("more"))
    blobs = [gzip.compress(LAYER, mtime=0), gzip.compress(more, mtime=0)]
    newer = offer(faulty, blobs, [DIFF_ID, digest_of(more)])
    flip(blob_of(paths, image.name))
    tamper(paths)
    host = Host(paths)
    current = host.verify_image(image.name)
    desired = host.resolve_image(newer, refresh=True)
    assert current is not None and current.damaged and current.digest != desired.digest
    host.apply(plan_image(desired, current))
    assert find_damage(paths) == [] and list(plan_image(desired, Host(paths).verify_image(image.name))) == []
