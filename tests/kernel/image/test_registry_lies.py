# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Registries that lie: whatever is in an answer, a token, a range or a link, it is told as an error, and soon."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import RegistryError
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.pull import pull_image
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.registry.client import Registry
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.reference import parse_reference
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths

from .conftest import digest_of
from .faulty import FaultyRegistry, Handler
from .offers import ACCESS, GOOD, NESTED, layer, put, refused, with_layers

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("impatient")]


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
