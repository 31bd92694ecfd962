# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a push sends, in whole blobs, mounts and chunks: no more than is lacking, and again where it was lost."""

from __future__ import annotations

import io
import os

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import RegistryError
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.manifest import (
    OCI_CONFIG,
    OCI_MANIFEST,
    encode,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.push import (
    observe_pushed,
    push_image,
    resolve_push,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.registry.client import Registry as Client
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.registry.upload import Blob
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.store import write_store
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.reference import parse_reference
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.registry import Access, RemoteImage
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.push import plan_push

from .conftest import digest_of, layer_of, member
from .faulty import FaultyRegistry, hang_up, status
from .test_push import BASE, INSECURE, TOP, push, store_image

pytestmark = pytest.mark.root


def sent(registry: FaultyRegistry, *methods: str) -> list[str]:
    return [asked.path.partition("?")[0] for asked in registry.asked if asked.method in methods]


def test_only_what_is_lacking_is_sent(paths: Paths, faulty: FaultyRegistry) -> None:
    name = f"{faulty.host}/app:1"
    store_image(paths, name, BASE)
    push(paths, name)
    assert len(sent(faulty, "POST")) == 2 and len(sent(faulty, "PUT")) == 3
    faulty.asked.clear()
    store_image(paths, name, BASE, TOP)
    push(paths, name)
    assert len(sent(faulty, "POST")) == 2 and len(sent(faulty, "PUT")) == 3  # the layer, the configuration
    faulty.asked.clear()
    wanted = resolve_push(paths, RemoteImage(name, images=(name,), access=INSECURE))
    assert list(plan_push(wanted, observe_pushed(wanted))) == []
    assert [(asked.method, asked.path) for asked in faulty.asked] == [("HEAD", "/v2/app/manifests/1")]


def test_a_mount_sends_nothing_and_an_offer_that_is_not_taken_is_used(paths: Paths, faulty: FaultyRegistry) -> None:
    base, app = f"{faulty.host}/base:1", f"{faulty.host}/app:1"
    store_image(paths, base, BASE)
    store_image(paths, app, BASE, TOP)
    push(paths, base)
    faulty.asked.clear()
    push(paths, app)
    mounts = [asked.path for asked in faulty.asked if "mount=" in asked.path]
    assert len(mounts) == 1 and "from=base" in mounts[0]
    assert len([path for path in sent(faulty, "PUT") if "/blobs/" in path]) == 2
    third = f"{faulty.host}/third:1"
    store_image(paths, third, BASE, TOP)
    faulty.content = {key: value for key, value in faulty.content.items() if key[1] != "blobs"}
    faulty.asked.clear()
    push(paths, third)
    assert not faulty.uploads, "no session is left open"


def test_a_registry_that_has_no_mounts_gets_the_blob(paths: Paths, faulty: FaultyRegistry) -> None:
    store_image(paths, f"{faulty.host}/base:1", BASE)
    store_image(paths, f"{faulty.host}/app:1", BASE)
    faulty.fault("POST", "mount=", status(405), times=9)
    push(paths, f"{faulty.host}/app:1")


@pytest.mark.parametrize("fault", [status(500), status(429, Retry_After="0"), hang_up])
@pytest.mark.parametrize(("method", "part"), [("POST", "uploads"), ("PUT", "uploads"), ("PUT", "manifests")])
def test_a_push_is_patient(paths: Paths, faulty: FaultyRegistry, method: str, part: str, fault: object) -> None:
    name = f"{faulty.host}/app:1"
    store_image(paths, name, BASE, TOP)
    faulty.fault(method, part, fault, times=2)
    push(paths, name)


@pytest.mark.parametrize("fault", [status(502), hang_up])
def test_a_chunk_that_fails_is_sent_again_from_where_the_registry_is(
    paths: Paths, faulty: FaultyRegistry, fault: object
) -> None:
    name = f"{faulty.host}/app:1"
    layer = layer_of(member("x"), content=os.urandom(500_000))
    store_image(paths, name, layer)
    faulty.fault("PATCH", "uploads", lambda handler: handler.serve())
    faulty.fault("PATCH", "uploads", fault, times=2)
    push(paths, name, chunk_size=100_000)
    starts = [asked.headers["Content-Range"].split("-")[0] for asked in faulty.asked if asked.method == "PATCH"]
    assert starts[:5] == ["0", "100000", "100000", "100000", "200000"]


def test_a_registry_that_lost_part_of_a_chunk_gets_it_again(paths: Paths, faulty: FaultyRegistry) -> None:
    name = f"{faulty.host}/app:1"
    store_image(paths, name, layer_of(member("x"), content=os.urandom(500_000)))

    def lose(handler: object) -> None:
        handler.serve()
        for session in faulty.uploads:
            faulty.uploads[session] = faulty.uploads[session][:50_000]

    faulty.fault("PATCH", "uploads", lose)
    push(paths, name, chunk_size=100_000)
    starts = [asked.headers["Content-Range"].split("-")[0] for asked in faulty.asked if asked.method == "PATCH"]
    assert starts[:3] == ["0", "100000", "50000"]


def test_a_registry_that_takes_no_chunk_is_given_up(paths: Paths, faulty: FaultyRegistry) -> None:
    name = f"{faulty.host}/app:1"
    store_image(paths, name, layer_of(member("x"), content=os.urandom(500_000)))

    def ignore(handler: object) -> None:
        handler.rfile.read(int(handler.headers["Content-Length"]))
        handler.send(202, {"Location": handler.path, "Range": "0-9"})

    faulty.fault("PATCH", "uploads", ignore, times=99)
    client = Client(parse_reference("name", name), access=INSECURE, delays=(0.01, 0.01))
    with pytest.raises(RegistryError, match=r"the upload of sha256:\w+ stays at 10 of 500 bytes"):
        client.put_blob(Blob(digest_of(bytes(500)), 500, lambda: io.BytesIO(bytes(500))), 100)
    assert len(sent(faulty, "PATCH")) == 4


def test_a_registry_that_wants_larger_chunks_gets_them(paths: Paths, faulty: FaultyRegistry) -> None:
    name = f"{faulty.host}/app:1"
    store_image(paths, name, layer_of(member("x"), content=os.urandom(500_000)))

    def ask(handler: object) -> None:
        session = f"session-{len(faulty.uploads)}"
        faulty.uploads[session] = b""
        handler.send(202, {"Location": f"/v2/app/blobs/uploads/{session}", "OCI-Chunk-Min-Length": "250000"})

    faulty.fault("POST", "uploads", ask, times=2)
    push(paths, name, chunk_size=70_000)
    starts = [asked.headers["Content-Range"].split("-")[0] for asked in faulty.asked if asked.method == "PATCH"]
    assert starts == ["0", "250000", "500000"]


def test_a_foreign_layer_is_neither_sent_nor_needed(paths: Paths, faulty: FaultyRegistry) -> None:
    name = f"{faulty.host}/app:1"
    with write_store(paths) as store:
        config = store.put_blob(OCI_CONFIG, encode({"rootfs": {"diff_ids": [digest_of(b"x")]}}))
        foreign = {
            "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "digest": digest_of(b"y"),
            "size": 1,
            "urls": ["https://example.com/layer"],
        }
        manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config.to_json(), "layers": [foreign]}
        descriptor = store.put_blob(OCI_MANIFEST, encode(manifest))
        store.tag(name, descriptor)
    wanted = resolve_push(paths, RemoteImage(name, images=(name,), access=INSECURE))
    faulty.fault("PUT", "manifests", status(201))  # itself it would want the layer
    push_image(paths, wanted)
    assert len([path for path in sent(faulty, "PUT") if "/blobs/" in path]) == 1


def test_an_upload_that_goes_on_elsewhere_takes_no_login_along(paths: Paths, faulty: FaultyRegistry) -> None:
    with FaultyRegistry(username="user") as locked:
        name = f"{locked.host}/app:1"
        store_image(paths, name, BASE)
        faulty.uploads["there"] = b""

        def elsewhere(handler: object) -> None:
            handler.send(202, {"Location": f"http://{faulty.host}/v2/app/blobs/uploads/there"})

        locked.fault("POST", "uploads", elsewhere)
        wanted = resolve_push(
            paths, RemoteImage(name, images=(name,), access=Access("user", "pass-word", insecure=True))
        )
        with pytest.raises(RegistryError, match="blob unknown"):
            push_image(paths, wanted)
        assert faulty.asked and not any(asked.headers.get("Authorization") for asked in faulty.asked)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Location": "http://[::1"},
        {"Location": "ftp://127.0.0.1/x"},
        {"Location": "\x7f\xff"},
        {"Location": "/v2/app/blobs/uploads/x", "OCI-Chunk-Min-Length": "9" * 5000, "Range": "0-" + "9" * 5000},
    ],
)
def test_an_upload_that_leads_nowhere_is_an_error_in_words(
    paths: Paths, faulty: FaultyRegistry, headers: dict[str, str]
) -> None:
    name = f"{faulty.host}/app:1"
    faulty.fault("POST", "uploads", lambda handler: handler.send(202, headers), times=99)
    faulty.fault("PATCH", "uploads", lambda handler: handler.send(202, headers), times=99)
    client = Client(parse_reference("name", name), access=INSECURE, delays=(0.01,))
    with pytest.raises(RegistryError, match=f"registry {faulty.host}: image {name}: "):
        client.put_blob(Blob(digest_of(b"content"), 7, lambda: io.BytesIO(b"content")), 3)
