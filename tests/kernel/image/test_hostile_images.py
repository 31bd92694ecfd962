# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images and registries that lie: whatever a manifest, a configuration or an answer says, it is told as an error.

Each is pulled for real from the tests' own registry. Nothing of it stays in the store, and the name means what it did.
"""

from __future__ import annotations

import json
import os
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import EngineError, RegistryError
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.gc import sweep
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.locks import ContentLock, Pin, pinned
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.observe import observe_images
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.platform import host_platform
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.pull import pull_image
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.registry.client import Registry
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.store import Store, write_store
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.image import Image, Limits
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.reference import parse_reference
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.registry import Access
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths

from .conftest import digest_of, layer_of, member
from .faulty import INDEX, MANIFEST, FaultyRegistry, Handler, sha512_of

pytestmark = pytest.mark.root

GOOD = layer_of(member("fine"))
ACCESS = Access(insecure=True, timeout=3)
PLATFORM = {"os": "linux", "architecture": host_platform().architecture, "variant": host_platform().variant}
Document = dict[str, Any]


@pytest.fixture
def faulty() -> Iterator[FaultyRegistry]:
    with FaultyRegistry() as found:
        yield found


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is tried again at once."""
    monkeypatch.setattr(
        "ansible_collections.stowage.engine.plugins.module_utils._engine.image.pull.Registry",
        lambda reference, *, access: Registry(reference, access=access, delays=(0.01, 0.01)),
    )


def put(faulty: FaultyRegistry, manifest: Any, config: Any = None, *, media_type: str = MANIFEST) -> Image:
    """An image whose manifest is ``manifest``, of the documents or as it is; it has the good layer."""
    faulty.put("app", "blobs", GOOD)
    content = config if isinstance(config, bytes) else json.dumps(config or good_config()).encode()
    digest = faulty.put("app", "blobs", content)
    document = manifest({"mediaType": "c", "digest": digest, "size": len(content)}) if callable(manifest) else manifest
    faulty.put(
        "app", "manifests", document if isinstance(document, bytes) else json.dumps(document).encode(), "1", media_type
    )
    return Image(name=f"{faulty.host}/app:1", access=ACCESS)


def good_config(**changes: Any) -> Document:
    return {**PLATFORM, "rootfs": {"type": "layers", "diff_ids": [digest_of(GOOD)]}, **changes}


def layer(**changes: Any) -> Document:
    return {"mediaType": "l", "digest": digest_of(GOOD), "size": len(GOOD), **changes}


def with_layers(*layers: Any, **changes: Any) -> Callable[[Document], Document]:
    return lambda config: {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config,
        "layers": list(layers),
        **changes,
    }


def index_of(*entries: Any, **changes: Any) -> Callable[[Document], Document]:
    return lambda _config: {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(entries), **changes}


def is_clean(paths: Paths, *coming: bytes) -> None:
    """No image, partial file, lock or pin is there, and nothing at all after a sweep.

    The next pull goes on with layers that were ``coming``, whose processes ended with the one that met a bad layer.
    """
    assert observe_images(paths) == {}
    partial = os.path.join(paths.images, ".partial")
    for place in (partial, paths.content_locks, paths.pins):
        allowed = {digest_of(layer).replace(":", "-") for layer in coming if place == partial}
        assert not os.path.exists(place) or set(os.listdir(place)) <= allowed
    assert not os.path.exists(paths.layers) or not any("partial" in name for name in os.listdir(paths.layers))
    if os.path.exists(paths.images):
        sweep(paths)
        assert os.listdir(paths.layers) == []
    assert Store(paths.images).blobs() == []


NESTED = b'{"a":' + b"[" * 200_000
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


def refused(paths: Paths, wanted: Image) -> str:
    started = time.monotonic()
    with pytest.raises(EngineError) as raised:
        pull_image(paths, wanted)
    assert time.monotonic() - started < 20
    is_clean(paths)
    told = str(raised.value)
    assert len(told) < 4000 and told.isprintable(), told[:200]
    return told


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


# What a registry answers ------------------------------------------------------------------------------


def answer(code: int, body: bytes = b"", **headers: str) -> Callable[[Handler], None]:
    def act(handler: Handler) -> None:
        handler.send(code, {name.replace("_", "-"): value for name, value in headers.items()}, body)

    return act


def raw(content: bytes) -> Callable[[Handler], None]:
    def act(handler: Handler) -> None:
        handler.wfile.write(content)
        handler.close_connection = True

    return act


ANSWERS: dict[str, Callable[[Handler], None]] = {
    "a redirect to half an address": answer(307, Location="http://[half/x"),
    "a redirect to a host without a name": answer(307, Location="http://a..b/x"),
    "a redirect to a host of 300": answer(307, Location=f"http://{'a' * 300}.invalid/x"),
    "a redirect to a port of words": answer(307, Location="http://127.0.0.1:many/x"),
    "a redirect to a port of 99999": answer(307, Location="http://127.0.0.1:99999/x"),
    "a redirect beyond ASCII": answer(307, Location="/v2/\xfc/\x80\xff"),
    "a redirect with a space": answer(307, Location="/v2/a b"),
    "a redirect to a file": answer(307, Location="file:///etc/passwd"),
    "a redirect to itself": answer(307, Location="/v2/app/manifests/1"),
    "an error nested beyond all": answer(400, NESTED),
    "an error of another shape": answer(400, b'{"errors":[{"code":[[[]]],"message":{}}]}'),
    "an error with orders for a terminal": answer(
        400, b'{"errors":[{"code":"\\u001b[2J","message":"\\u202e\\u0007"}]}'
    ),
    "an error that is no text": answer(400, b"\xff" * 1000),
    "a challenge of nothing": answer(401, WWW_Authenticate=""),
    "a challenge of an unknown kind": answer(401, WWW_Authenticate="Negotiate \x1b[2J"),
    "a challenge to half an address": answer(401, WWW_Authenticate='Bearer realm="http://[half/x"'),
    "a challenge to a file": answer(401, WWW_Authenticate='Bearer realm="file:///etc/passwd"'),
    "a challenge to nowhere": answer(401, WWW_Authenticate="Bearer"),
    "a challenge of 60,000": answer(401, WWW_Authenticate='Bearer realm="' + '\\"a=' * 15_000),
    "a challenge of names alone": answer(401, WWW_Authenticate="a" * 60_000),
    "a digest that is none": answer(200, b"{}", Docker_Content_Digest="sha256:../../x"),
    "a digest of another algorithm": answer(200, b"{}", Docker_Content_Digest="crc32:00000000"),
    "come back in an age": answer(429, Retry_After="9" * 5000),
    "come back before time": answer(429, Retry_After="Mon, 01 Jan 0001 00:00:00 -2359"),
    "come back at no time": answer(503, Retry_After="Mon, 99 Foo 99999999999 99:99:99 +99999999"),
    "a length that is none": raw(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}"),
    "a length beyond all": raw(b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n{}"),
    "a chunk of a negative length": raw(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n"
    ),
    "a chunk beyond all": raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 60_000),
    "a thousand headers": raw(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n"),
    "a header of 100,000": raw(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n"),
    "a status of words": raw(b"HTTP/1.1 many OK\r\n\r\n"),
    "no HTTP": raw(b"220 mail.example.com ESMTP\r\n"),
    "nothing": raw(b""),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_that_lie(name: str, paths: Paths, faulty: FaultyRegistry) -> None:
    wanted = put(faulty, with_layers(layer()))
    faulty.fault("GET", "/manifests/1", ANSWERS[name], times=100)
    assert faulty.host in refused(paths, wanted) or "digest" in name


TOKENS: dict[str, bytes] = {
    "not JSON": b"{",
    "nested beyond all": NESTED,
    "a list": b"[]",
    "a token that is a number": b'{"token":5}',
    "a token of two lines": b'{"token":"a\\r\\nX-Evil: 1"}',
    "a token beyond ASCII": b'{"token":"\\u00fc"}',
}


@pytest.mark.parametrize("name", TOKENS)
def test_tokens_that_lie(name: str, paths: Paths, faulty: FaultyRegistry) -> None:
    wanted = put(faulty, with_layers(layer()))
    challenge = f'Bearer realm="http://{faulty.host}/token"'
    faulty.fault("GET", "/manifests/1", answer(401, WWW_Authenticate=challenge), times=100)
    faulty.fault("GET", "/token", answer(200, TOKENS[name]), times=100)
    assert "gave no token" in refused(paths, wanted)
    assert not any("X-Evil" in request.headers for request in faulty.asked)


@pytest.mark.parametrize("life", ["1" + "0" * 400, "-1", "1e999", '"x"', "null", "NaN", "true"])
def test_a_tokens_life_may_be_anything(life: str, paths: Paths, faulty: FaultyRegistry) -> None:
    wanted = put(faulty, with_layers(layer()))
    faulty.fault("GET", "/manifests/1", answer(401, WWW_Authenticate=f'Bearer realm="http://{faulty.host}/token"'))
    faulty.fault("GET", "/token", answer(200, b'{"token":"t","expires_in":%b}' % life.encode()), times=100)
    assert pull_image(paths, wanted).layers == (digest_of(GOOD),)


@pytest.mark.parametrize("told", ["bytes " + "9" * 5000 + "-9/9", "bytes 0-0/-1", "lines 0-9/9", "bytes 99-99/99", ""])
def test_ranges_that_lie(told: str, faulty: FaultyRegistry) -> None:
    digest = faulty.put("app", "blobs", GOOD)
    faulty.fault("GET", "/blobs/", answer(206, b"x", Content_Range=told), times=100)
    registry = Registry(parse_reference("name", f"{faulty.host}/app:1"), access=ACCESS, delays=(0.01,))
    with pytest.raises(RegistryError, match=r"gave another part"):
        list(registry.get_blob(digest, len(GOOD), 10))


LINKS = {
    "to itself": '</v2/app/tags/list>; rel="next"',
    "to half an address": '<http://[half>; rel="next"',
    "to a file": '<file:///etc/passwd>; rel="next"',
    "of brackets": "<" * 60_000,
    "of links": "<a>; " * 12_000,
}


@pytest.mark.parametrize("name", LINKS)
def test_links_to_further_pages_that_lie(name: str, faulty: FaultyRegistry) -> None:
    faulty.fault("GET", "/tags/list", answer(200, b'{"tags":["a"]}', Link=LINKS[name]), times=2000)
    registry = Registry(parse_reference("name", f"{faulty.host}/app:1"), access=ACCESS, delays=(0.01,))
    started = time.process_time()
    try:
        assert registry.list_tags() == ["a"]
    except RegistryError as error:
        assert name.startswith("to ") and faulty.host in str(error)
    assert len(faulty.asked) < 5
    assert time.process_time() - started < 10


def test_a_list_without_end_ends(faulty: FaultyRegistry) -> None:
    page = json.dumps({"tags": ["x" * 100] * 30_000}).encode()

    def more(handler: Handler) -> None:
        answer(200, page, Link=f'</v2/app/tags/list?page={len(faulty.asked)}>; rel="next"')(handler)

    faulty.fault("GET", "/tags/list", more, times=2000)
    registry = Registry(parse_reference("name", f"{faulty.host}/app:1"), access=ACCESS, delays=(0.01,))
    with pytest.raises(RegistryError, match=r"more than \d+ bytes"):
        registry.list_tags()


# Locks and pins ---------------------------------------------------------------------------------------


def test_locks_of_the_killed_go_with_the_next_sweep_and_those_in_use_stay(paths: Paths) -> None:
    used, killed = ContentLock(paths, "sha256:" + "1" * 64), "sha256-" + "2" * 64
    assert used.acquire(wait=False)
    with open(os.path.join(paths.content_locks, killed), "wb"):
        pass
    sweep(paths)
    assert os.listdir(paths.content_locks) == [os.path.basename(used.path)]
    used.release()


def test_pins_may_go_while_they_are_looked_at(paths: Paths) -> None:
    """A pull that ends takes its pin away without asking anybody."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            end = time.monotonic() + 3
            while time.monotonic() < end:
                with Pin(paths) as pin:
                    pin.add(["sha256:" + "3" * 64])
        finally:
            os._exit(0)
    try:
        with write_store(paths, alone=True):
            end = time.monotonic() + 2
            while time.monotonic() < end:
                assert pinned(paths) <= {"sha256:" + "3" * 64}
    finally:
        os.close(reader)
        os.close(writer)
        os.waitpid(pid, 0)


def test_a_leftover_beside_a_layer_does_not_stop_the_sweep(paths: Paths) -> None:
    for suffix in ("", ".partial"):
        os.makedirs(f"{paths.layer(digest_of(GOOD))}{suffix}/d")
    sweep(paths)
    assert os.listdir(paths.layers) == []


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
