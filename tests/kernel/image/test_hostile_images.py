# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images that lie: whatever a manifest, an index or a configuration says, it is told as an error.

Each is pulled for real from the tests' own registry. Nothing of it stays in the store, and the name means what it did.
"""

from __future__ import annotations

import json
import os
import tarfile
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import EngineError
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.observe import observe_images
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.pull import pull_image
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.image import Image, Limits
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths

from .conftest import digest_of, layer_of, member
from .faulty import INDEX, FaultyRegistry, sha512_of
from .offers import ACCESS, GOOD, NESTED, PLATFORM, good_config, index_of, is_clean, layer, put, refused, with_layers

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("impatient")]

DIGITS = b'{"schemaVersion":2,"layers":[],"config":{"mediaType":"c","digest":"sha256:' + b"0" * 64 + b'","size":%b}}'

MANIFESTS: dict[str, Any] = {
    "not JSON": b"{" * 100,
    "not text": b"\xff\xfe\xfd" * 100,
    "nested beyond all": NESTED,
    "a list": b"[]",
    "nothing": b"",
    "a number of a million digits": DIGITS % (b"9" * 1_000_000),
    "a number of 4,000 digits": DIGITS % (b"9" * 4_000),
    "not a number": DIGITS % b"NaN",
    "infinity": DIGITS % b"1e999",
    "5 MB": b" " * (5 << 20),
    "schema 1": {"schemaVersion": 1, "fsLayers": []},
    "ten thousand layers": with_layers(*[layer()] * 10_000),
    "layers of another type": with_layers(layers={"0": layer()}),
    "no layer": with_layers(None),
    "a layer without a digest": with_layers({"mediaType": "l", "size": 1}),
    "a digest that leaves": with_layers(layer(digest="sha256:../../../etc/passwd")),
    "a digest of another algorithm": with_layers(layer(digest="md5:" + "0" * 32)),
    "a digest of another length": with_layers(layer(digest="sha256:" + "0" * 63)),
    "a digest in capitals": with_layers(layer(digest=digest_of(GOOD).upper())),
    "a digest with a line's end": with_layers(layer(digest=digest_of(GOOD) + "\n")),
    "a digest that is a list": with_layers(layer(digest=[digest_of(GOOD)])),
    "a negative size": with_layers(layer(size=-1)),
    "a size of 8 EB": with_layers(layer(size=1 << 63)),
    "a size beyond all": with_layers(layer(size=1 << 70)),
    "a size that is true": with_layers(layer(size=True)),
    "a size with a point": with_layers(layer(size=1.0)),
    "a size too short": with_layers(layer(size=len(GOOD) - 1)),
    "a size too long": with_layers(layer(size=len(GOOD) + 1)),
    "a size of nothing": with_layers(layer(size=0)),
    "a size of 1 TB": with_layers(layer(size=1 << 40)),
    "a media type that is a list": with_layers(layer(mediaType=[])),
    "layers twice, diff_ids once": with_layers(layer(), layer()),
    "a layer that is not there": with_layers(layer(digest="sha256:" + "5" * 64)),
    "a layer that is elsewhere": with_layers(
        layer(digest="sha256:" + "5" * 64, urls=["https://[half/x", "file:///etc"])
    ),
    "a thousand places for a layer": with_layers(
        layer(digest="sha256:" + "5" * 64, urls=["https://127.0.0.1:1/x"] * 1000)
    ),
    "a manifest and an index": with_layers(layer(), manifests=[layer()]),
    "a manifest that says that it is an index": with_layers(layer(), mediaType=INDEX),
}
INDEXES: dict[str, Any] = {
    "no list": index_of(manifests={}),
    "entries of another type": index_of(None, 1, "x"),
    "an index and a manifest": index_of({**layer(), "platform": PLATFORM}, layers=[layer()]),
    "platforms of another type": index_of({**layer(), "platform": {"os": ["linux"], "architecture": {}, "variant": 1}}),
    "no platform": index_of(layer()),
    "twenty thousand platforms": index_of(*[{**layer(), "platform": {"os": "linux", "architecture": "vax"}}] * 20_000),
    "an entry that is not there": index_of({**layer(digest="sha256:" + "5" * 64), "platform": PLATFORM}),
    "orders for a terminal": index_of({**layer(), "platform": {"os": "linux", "architecture": "\x1b[2J\r\n"}}),
}
CONFIGS: dict[str, Any] = {
    "not JSON": b"{",
    "nested beyond all": NESTED,
    "a list": b"[]",
    "no rootfs": {"os": "linux"},
    "a rootfs of another type": good_config(rootfs=[]),
    "diff_ids of another type": good_config(rootfs={"diff_ids": {}}),
    "diff_ids too many": good_config(rootfs={"diff_ids": [digest_of(GOOD)] * 2}),
    "a diff_id that leaves": good_config(rootfs={"diff_ids": ["../../../../etc"]}),
    "a diff_id of another layer": good_config(rootfs={"diff_ids": [digest_of(b"other")]}),
    "a diff_id of another algorithm": good_config(rootfs={"diff_ids": [sha512_of(b"other")]}),
    "a diff_id that is a number": good_config(rootfs={"diff_ids": [1]}),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifests_that_lie(name: str, paths: Paths, faulty: FaultyRegistry) -> None:
    refused(paths, put(faulty, MANIFESTS[name]))


@pytest.mark.parametrize("name", INDEXES)
def test_indexes_that_lie(name: str, paths: Paths, faulty: FaultyRegistry) -> None:
    refused(paths, put(faulty, INDEXES[name], media_type=INDEX))


@pytest.mark.parametrize("name", CONFIGS)
def test_configurations_that_lie(name: str, paths: Paths, faulty: FaultyRegistry) -> None:
    refused(paths, put(faulty, with_layers(layer()), CONFIGS[name]))


def test_the_good_one_is_pulled(paths: Paths, faulty: FaultyRegistry) -> None:
    assert pull_image(paths, put(faulty, with_layers(layer()))).layers == (digest_of(GOOD),)


def test_an_index_leads_to_a_manifest_and_nowhere_else(paths: Paths, faulty: FaultyRegistry) -> None:
    """No cycle can be made of digests; but a chain can, and a tree."""
    entry = index_of()({})
    for _depth in range(9):
        content = json.dumps(entry).encode()
        digest = faulty.put("app", "manifests", content, media_type=INDEX)
        entry = index_of({"mediaType": INDEX, "digest": digest, "size": len(content), "platform": PLATFORM})({})
    assert "indexes within indexes" in refused(paths, put(faulty, entry, media_type=INDEX))
    assert len([request for request in faulty.asked if "manifests" in request.path]) == 3
    faulty.asked.clear()
    leaves = []
    for number in range(500):
        content = json.dumps(index_of(annotations={"number": str(number)})({})).encode()
        digest = faulty.put("app", "manifests", content, media_type=INDEX)
        leaves.append({"mediaType": INDEX, "digest": digest, "size": len(content)})
    assert "indexes" in refused(paths, put(faulty, index_of(*leaves), media_type=INDEX))
    assert len([request for request in faulty.asked if "manifests" in request.path]) < 20


def test_one_layer_again_and_again_is_fetched_once(paths: Paths, faulty: FaultyRegistry) -> None:
    config = good_config(rootfs={"diff_ids": [digest_of(GOOD)] * 200})
    found = pull_image(paths, put(faulty, with_layers(*[layer()] * 200), config))
    assert found.layers == (digest_of(GOOD),) * 200
    assert len([request for request in faulty.asked if digest_of(GOOD) in request.path]) == 1
    assert len(os.listdir(paths.layers)) == 1


def test_one_blob_cannot_be_two_layers(paths: Paths, faulty: FaultyRegistry) -> None:
    config = good_config(rootfs={"diff_ids": [digest_of(GOOD), digest_of(b"other")]})
    refused(paths, put(faulty, with_layers(layer(), layer()), config))


def test_fields_of_another_type_are_left_out_of_an_image(paths: Paths, faulty: FaultyRegistry) -> None:
    odd = {"Env": [1], "Cmd": "sh", "Labels": {"a": [1]}, "ExposedPorts": ["80"], "User": 5, "WorkingDir": {}}
    found = pull_image(paths, put(faulty, with_layers(layer(), annotations=[1]), good_config(created=5, config=odd)))
    assert (found.config.env, found.config.command, found.config.user, found.created) == ((), None, None, "")


# What an image may come to ----------------------------------------------------------------------------


def test_the_layers_of_an_image_share_one_budget(paths: Paths, faulty: FaultyRegistry) -> None:
    """Each is within it, and all together are not."""
    layers = [layer_of(member(f"f{number}"), content=bytes(60_000)) for number in range(4)]
    faulty.put_image("1", *layers)
    wanted = Image(name=f"{faulty.host}/app:1", access=ACCESS)
    for limits in (Limits(size=200_000), Limits(size=239_999)):
        with pytest.raises(EngineError, match=r"the image's layers hold more than|bytes as they come"):
            pull_image(paths, replace(wanted, limits=limits))
        is_clean(paths)
    assert len(pull_image(paths, replace(wanted, limits=Limits(size=600_000))).layers) == 4


def test_entries_of_an_image_are_counted_together(paths: Paths, faulty: FaultyRegistry) -> None:
    layers = [layer_of(*(member(f"{number}/{name}") for name in range(1000)), content=b"") for number in range(3)]
    faulty.put_image("1", *layers)
    wanted = Image(name=f"{faulty.host}/app:1", access=ACCESS, limits=Limits(entries=2500))
    with pytest.raises(EngineError, match="or 2500 entries"):
        pull_image(paths, wanted)
    is_clean(paths)


def test_more_than_may_be_unpacked_is_not_fetched(paths: Paths, faulty: FaultyRegistry) -> None:
    wanted = put(faulty, with_layers(layer(size=1 << 40)))
    assert "bytes as they come" in refused(paths, wanted)
    assert not any(digest_of(GOOD) in request.path for request in faulty.asked)


FORBIDDEN: dict[str, tuple[tarfile.TarInfo, Limits]] = {
    "the device 'sda'": (member("sda", tarfile.BLKTYPE, devmajor=8), Limits(devices=False)),
    "'bin/su', which is set-user-ID": (member("bin/su", mode=0o4755), Limits(setuid=False)),
}


@pytest.mark.parametrize("said", FORBIDDEN)
def test_devices_and_rights_are_refused_on_request(said: str, paths: Paths, faulty: FaultyRegistry) -> None:
    """Also where the host has the layer: an image of the same layers that was pulled before, without the option."""
    info, limits = FORBIDDEN[said]
    bad = layer_of(info)
    for name in ("1", "2"):
        faulty.put_image(name, GOOD, bad, config={"created": name})
    for name in ("1", "2"):
        wanted = Image(name=f"{faulty.host}/app:{name}", access=ACCESS)
        before = {*observe_images(paths)}
        with pytest.raises(EngineError, match=f"layer {digest_of(bad)}: .*{said}.*not allowed"):
            pull_image(paths, replace(wanted, limits=limits))
        assert {*observe_images(paths)} == before
        if name == "1":
            is_clean(paths, GOOD)
            pull_image(paths, wanted)
