# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client against registries that fail: patience, resuming, redirects, time-outs, and what is said in the end."""

from __future__ import annotations

import os
import time

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import DigestMismatch, RegistryError
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.pull import pull_image
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.registry.client import Registry
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.store import Store
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.image import Image
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.reference import parse_reference
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.registry import Access
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths

from .conftest import digest_of, layer_of, member
from .faulty import FaultyRegistry, broken, chunked, hang_up, redirect, status

pytestmark = pytest.mark.root

INSECURE = Access(insecure=True, timeout=2)
QUICK = (0.01, 0.01, 0.01)
CONTENT = os.urandom(300_000)


def client(registry: FaultyRegistry, access: Access = INSECURE, delays: tuple[float, ...] = QUICK) -> Registry:
    return Registry(parse_reference("name", f"{registry.host}/app:1"), access=access, delays=delays)


def fetch(registry: FaultyRegistry, content: bytes = CONTENT, offset: int = 0, size: int | None = None) -> bytes:
    digest = registry.put("app", "blobs", content)
    return b"".join(client(registry).get_blob(digest, len(content) if size is None else size, offset))


def ranges(registry: FaultyRegistry) -> list[str | None]:
    return [asked.headers.get("Range") for asked in registry.asked if "/blobs/" in asked.path]


# Connections ---------------------------------------------------------------------------------------


def test_one_connection_serves_all_requests_and_one_that_was_closed_meanwhile_is_made_again(
    faulty: FaultyRegistry,
) -> None:
    faulty.put_image("1", b"x")
    digest = faulty.put("app", "blobs", CONTENT)
    registry = client(faulty)
    for _time in range(3):
        registry.get_manifest("1")
        assert b"".join(registry.get_blob(digest, len(CONTENT))) == CONTENT
    assert len({asked.peer for asked in faulty.asked}) == 1
    faulty.fault("GET", "manifests/1", hang_up)
    assert registry.get_manifest("1").content
    assert len({asked.peer for asked in faulty.asked}) == 2


def test_a_forked_child_has_connections_of_its_own(faulty: FaultyRegistry) -> None:
    faulty.put_image("1", b"x")
    registry = client(faulty)
    registry.get_manifest("1")
    pid = os.fork()
    if pid == 0:
        os._exit(0 if registry.get_manifest("1").content else 1)
    assert os.waitpid(pid, 0)[1] == 0
    registry.get_manifest("1")
    first, second, third = (asked.peer for asked in faulty.asked if "manifests" in asked.path)
    assert first == third != second


# Patience --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_what_passes_is_tried_again(faulty: FaultyRegistry, code: int) -> None:
    faulty.put_image("1", b"x")
    faulty.fault("GET", "manifests", status(code), times=3)
    assert client(faulty).get_manifest("1").content
    assert len([asked for asked in faulty.asked if "manifests" in asked.path]) == 4


def test_what_does_not_pass_is_given_up_after_a_bounded_number_of_times(faulty: FaultyRegistry) -> None:
    faulty.fault("GET", "manifests", status(503), times=99)
    with pytest.raises(RegistryError, match=r"GET manifests/1 gave status 503 \(Service Unavailable\)"):
        client(faulty).get_manifest("1")
    assert len([asked for asked in faulty.asked if "manifests" in asked.path]) == len(QUICK) + 1


@pytest.mark.parametrize("code", [400, 403, 404, 405, 501])
def test_what_is_refused_for_good_is_not_tried_again(faulty: FaultyRegistry, code: int) -> None:
    faulty.fault("GET", "manifests", status(code), times=99)
    with pytest.raises(RegistryError, match=f"registry {faulty.host}: image {faulty.host}/app:1: .*status {code}"):
        client(faulty).get_manifest("1")
    assert len([asked for asked in faulty.asked if "manifests" in asked.path]) == 1


def test_retry_after_is_waited_for_where_it_is_short(faulty: FaultyRegistry) -> None:
    faulty.put_image("1", b"x")
    faulty.fault("GET", "manifests", status(429, Retry_After="1"))
    started = time.monotonic()
    assert client(faulty).get_manifest("1").content
    assert 1 <= time.monotonic() - started < 5
    faulty.fault("GET", "manifests", status(429, Retry_After="7200"))
    started = time.monotonic()
    with pytest.raises(RegistryError, match=r"status 429.*asks to come back in 7200 s"):
        client(faulty).get_manifest("1")
    assert time.monotonic() - started < 1


def test_a_registry_that_says_nothing_is_told_of_in_time(faulty: FaultyRegistry) -> None:
    faulty.put_image("1", b"x")
    faulty.fault("GET", "manifests", lambda _handler: time.sleep(3), times=9)
    started = time.monotonic()
    with pytest.raises(RegistryError, match=r"GET manifests/1 failed: no answer in 1 s"):
        client(faulty, Access(insecure=True, timeout=1), ()).get_manifest("1")
    assert time.monotonic() - started < 2.5


def test_an_answer_that_breaks_off_before_it_begins_is_asked_for_again(faulty: FaultyRegistry) -> None:
    faulty.put_image("1", b"x")
    faulty.fault("GET", "manifests", hang_up, times=2)
    faulty.fault("GET", "manifests", broken(most=10))
    assert digest_of(client(faulty).get_manifest("1").content) == client(faulty).head_manifest("1").digest


# Bodies that break off ------------------------------------------------------------------------------


def test_a_blob_that_breaks_off_goes_on_where_it_was(faulty: FaultyRegistry) -> None:
    faulty.fault("GET", "blobs", broken(most=100_000))
    faulty.fault("GET", "blobs", broken(most=50_000))
    assert fetch(faulty) == CONTENT
    assert ranges(faulty) == [None, "bytes=100000-", "bytes=150000-"]


def test_a_server_that_takes_no_ranges_is_read_from_the_start(faulty: FaultyRegistry) -> None:
    faulty.takes_ranges = False
    faulty.fault("GET", "blobs", broken(most=100_000))
    assert fetch(faulty) == CONTENT
    assert fetch(faulty, offset=123_456) == CONTENT[123_456:]


def test_a_blob_is_read_from_an_offset(faulty: FaultyRegistry) -> None:
    assert fetch(faulty, offset=299_999) == CONTENT[299_999:]
    assert fetch(faulty, offset=300_000) == b""
    assert ranges(faulty) == ["bytes=299999-"]


def test_a_blob_that_breaks_off_again_and_again_is_given_up(faulty: FaultyRegistry) -> None:
    faulty.fault("GET", "blobs", broken(most=10), times=99)
    with pytest.raises(RegistryError, match=r"blob sha256:\w+ broke off at byte 40 of 300000"):
        fetch(faulty)
    assert len(ranges(faulty)) == len(QUICK) + 1


def test_a_blob_that_drips_is_taken_up_anew(faulty: FaultyRegistry) -> None:
    faulty.fault("GET", "blobs", broken(pace=0.05))
    started = time.monotonic()
    assert fetch(faulty) == CONTENT
    assert time.monotonic() - started < 6
    assert ranges(faulty)[0] is None and len(ranges(faulty)) == 2


@pytest.mark.parametrize("end", [b"", b"0\r\n\r\n", b"zz\r\n"], ids=["cut", "whole", "bad"])
def test_chunked_bodies(faulty: FaultyRegistry, end: bytes) -> None:
    faulty.fault("GET", "blobs", chunked([CONTENT[:1000], CONTENT[1000:70_000]], end=end))
    if end.startswith(b"0"):
        with pytest.raises(RegistryError, match=r"shorter than the 300000 bytes"):
            fetch(faulty)
    else:
        assert fetch(faulty) == CONTENT
        assert ranges(faulty) == [None, "bytes=70000-"]


def test_a_chunked_body_that_is_whole_is_taken(faulty: FaultyRegistry) -> None:
    faulty.fault("GET", "blobs", chunked([CONTENT]))
    assert fetch(faulty) == CONTENT


@pytest.mark.parametrize(("size", "kind"), [(299_999, "longer"), (300_001, "shorter")])
def test_a_blob_of_another_size_is_refused(faulty: FaultyRegistry, size: int, kind: str) -> None:
    for act in (None, chunked([CONTENT])):
        if act:
            faulty.fault("GET", "blobs", act)
        with pytest.raises(RegistryError, match=f"is {kind} than the {size} bytes"):
            fetch(faulty, size=size)


def test_a_bit_that_flips_is_seen_and_nothing_is_stored(faulty: FaultyRegistry, paths: Paths) -> None:
    layer = layer_of(member("fine"))
    faulty.put_image("1", layer)
    faulty.fault("GET", digest_of(layer), broken(flip=True))
    wanted = Image(f"{faulty.host}/app:1", access=INSECURE)
    with pytest.raises(DigestMismatch, match=digest_of(layer)):
        pull_image(paths, wanted)
    assert not Store(paths.images).names()
    pull_image(paths, wanted)


def test_a_part_that_was_not_asked_for_is_refused(faulty: FaultyRegistry) -> None:
    def other(handler: object) -> None:
        handler.send(206, {"Content-Range": "bytes 200-299999/300000"}, CONTENT[200:])

    faulty.fault("GET", "blobs", other)
    with pytest.raises(RegistryError, match=r"from byte 100 of 300000, it gave another part \('bytes 200"):
        fetch(faulty, offset=100)


# Redirects -----------------------------------------------------------------------------------------------


def test_no_credentials_follow_a_redirect_to_another_host(faulty: FaultyRegistry) -> None:
    with FaultyRegistry(username="user") as locked:
        access = Access(username="user", password="pass-word", insecure=True)
        digest = locked.put("app", "blobs", CONTENT)
        faulty.put("app", "blobs", CONTENT)
        locked.fault("GET", "blobs", status(401, WWW_Authenticate='Basic realm="tests"'))
        locked.fault("GET", "blobs", redirect(lambda path: f"http://{faulty.host}{path}"))
        registry = client(locked, access)
        assert b"".join(registry.get_blob(digest, len(CONTENT))) == CONTENT
        assert [asked.headers.get("Authorization") for asked in faulty.asked] == [None]
        locked.fault("GET", "blobs", redirect(lambda path: path + "?again"))
        assert b"".join(registry.get_blob(digest, len(CONTENT))) == CONTENT
        assert [bool(asked.headers.get("Authorization")) for asked in locked.asked if "again" in asked.path] == [True]


@pytest.mark.parametrize("life", [0, 60], ids=["basic", "tokens"])
def test_a_host_that_is_redirected_to_gets_no_login_when_it_asks_for_one(faulty: FaultyRegistry, life: float) -> None:
    """Neither for itself nor, by a challenge of its own, for a place of tokens that it names."""
    with FaultyRegistry(username="user", token_life=life) as thief:
        digest = faulty.put("app", "blobs", CONTENT)
        faulty.fault("GET", "blobs", redirect(lambda path: f"http://{thief.host}{path}"), times=9)
        registry = client(faulty, Access(username="user", password="pass-word", insecure=True))
        with pytest.raises(RegistryError, match=r"status 401"):
            b"".join(registry.get_blob(digest, len(CONTENT)))
        assert [asked.path for asked in thief.asked] == [f"/v2/app/blobs/{digest}"]
        assert not any(asked.headers.get("Authorization") for asked in thief.asked)


def test_a_challenge_after_a_redirect_at_the_registry_itself_is_answered() -> None:
    with FaultyRegistry(username="user", token_life=60) as locked:
        digest = locked.put("app", "blobs", CONTENT)
        locked.fault("GET", "blobs", redirect(lambda path: path + "?again"))
        registry = client(locked, Access(username="user", password="pass-word", insecure=True))
        assert b"".join(registry.get_blob(digest, len(CONTENT))) == CONTENT


def test_redirects_end(faulty: FaultyRegistry) -> None:
    faulty.fault("GET", "manifests", redirect(lambda path: path), times=99)
    with pytest.raises(RegistryError, match=r"redirects more than 10 times"):
        client(faulty).get_manifest("1")


def test_a_head_request_stays_one_when_it_is_redirected(faulty: FaultyRegistry) -> None:
    digest = faulty.put_image("1", b"x")
    faulty.fault("HEAD", "manifests", redirect(lambda path: path + "?x"))
    assert client(faulty).head_manifest("1").digest == digest
    assert {asked.method for asked in faulty.asked if "manifests" in asked.path} == {"HEAD"}
