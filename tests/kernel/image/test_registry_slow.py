# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Registries that drip: a byte now and then, so that no time-out of a socket ever comes. Each pull and push ends.

And what is slow without standing still is waited for.
"""

from __future__ import annotations

import io
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import RegistryError
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.registry.client import Registry
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.registry.upload import Blob
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.reference import parse_reference
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.registry import Access

from .authority import server_context
from .conftest import digest_of
from .faulty import FaultyRegistry, Handler

pytestmark = pytest.mark.root

BLOB = bytes(range(256)) * 40_000  # more than sockets keep for a reader that does not read
ACCESS = Access(insecure=True, timeout=0.5)  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=["http", "https"])
def context(request: pytest.FixtureRequest, server: tuple[Path, Path]) -> ssl.SSLContext | None:
    if request.param == "http":
        return None
    return server_context(server)


@pytest.fixture
def faulty(context: ssl.SSLContext | None) -> Iterator[FaultyRegistry]:
    with FaultyRegistry(context=context) as registry:
        yield registry


def drip(start: bytes, again: bytes, *, pace: float = 0.1) -> Callable[[Handler], None]:
    """``start``, and then ``again`` every ``pace`` seconds, for far longer than anything here takes."""

    def act(handler: Handler) -> None:
        handler.wfile.write(start)
        stop = time.monotonic() + 20
        while time.monotonic() < stop:
            handler.wfile.write(again)
            handler.wfile.flush()
            time.sleep(pace)
        handler.close_connection = True

    return act


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
DRIPS = {
    "a status": drip(b"HTTP/1.1 200 O", b"K"),
    "a header": drip(OK + b"X: ", b"y"),
    "headers": drip(OK, b"X: y\r\n"),
    "promises without end": drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n", pace=0.0005),
    "a body": drip(OK + b"Content-Length: 1000000\r\n\r\n", b"y"),
    "a body without a length": drip(OK + b"\r\n", b"y"),
    "chunks": drip(CHUNKED, b"1\r\ny\r\n"),
    "the size of a chunk": drip(CHUNKED, b"0"),
    "what is behind chunks": drip(CHUNKED + b"5\r\nhello\r\n0\r\n", b"X: y\r\n"),
    "much behind chunks": drip(CHUNKED + b"5\r\nhello\r\n0\r\n", b"X: y\r\n" * 100, pace=0.0005),
    "a redirect": drip(b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /v2/", b"y"),
    "a refusal": drip(b"HTTP/1.1 404 Not Found\r\nContent-Length: 100000\r\n\r\n", b"y"),
}


def ends(doing: Callable[[], object]) -> None:
    """In an error: within the time-out to begin and the time-out to go on, and some for a machine that is busy."""
    started = time.monotonic()
    with pytest.raises(RegistryError):
        doing()
    assert time.monotonic() - started < 6


def client(faulty: FaultyRegistry, access: Access = ACCESS) -> Registry:
    return Registry(parse_reference("name", f"{faulty.host}/app:1"), access=access, delays=())


@pytest.mark.parametrize("name", DRIPS)
def test_a_manifest_that_drips_is_given_up(name: str, faulty: FaultyRegistry) -> None:
    faulty.fault("GET", "/manifests/1", DRIPS[name], times=99)
    ends(lambda: client(faulty).get_manifest("1"))


@pytest.mark.parametrize("name", ["a header", "a body", "chunks", "the size of a chunk"])
def test_a_blob_that_drips_is_given_up(name: str, faulty: FaultyRegistry) -> None:
    digest = faulty.put("app", "blobs", BLOB)
    faulty.fault("GET", "/blobs/", DRIPS[name], times=99)
    ends(lambda: list(client(faulty).get_blob(digest, len(BLOB))))


def blob() -> Blob:
    return Blob(digest_of(BLOB), len(BLOB), lambda: io.BytesIO(BLOB))


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
@pytest.mark.parametrize("name", ["a status", "headers", "promises without end"])
def test_a_push_whose_answer_drips_is_given_up(name: str, method: str, faulty: FaultyRegistry) -> None:
    def act(handler: Handler) -> None:
        handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        DRIPS[name](handler)

    faulty.fault(method, "/blobs/uploads/", act, times=99)
    faulty.fault("GET", "/blobs/uploads/", act, times=99)
    ends(lambda: client(faulty).put_blob(blob(), 1 << 20 if method == "PATCH" else 0))


@pytest.mark.parametrize("chunk_size", [0, 4 << 20])
def test_a_registry_that_takes_a_push_drop_by_drop_is_given_up(chunk_size: int, faulty: FaultyRegistry) -> None:
    def sip(handler: Handler) -> None:
        stop = time.monotonic() + 20
        while time.monotonic() < stop:
            handler.rfile.read(100)
            time.sleep(0.2)

    faulty.fault("PATCH" if chunk_size else "PUT", "/blobs/uploads/", sip, times=99)
    faulty.fault("GET", "/blobs/uploads/", sip, times=99)
    ends(lambda: client(faulty).put_blob(blob(), chunk_size))


def test_what_is_slow_is_waited_for(faulty: FaultyRegistry) -> None:
    """Several times the time-out, at a few kilobytes a second; and an answer that takes nearly as long to begin."""
    content = BLOB[:12_000]
    digest = faulty.put("app", "blobs", content)
    parts = iter(content[at : at + 1500] for at in range(0, len(content), 1500))

    def slow(handler: Handler) -> None:
        time.sleep(0.4)
        handler.wfile.write(OK + b"Content-Length: %d\r\n\r\n" % len(content))
        for part in parts:
            time.sleep(0.2)
            handler.wfile.write(part)

    faulty.fault("GET", "/blobs/", slow)
    assert b"".join(client(faulty).get_blob(digest, len(content))) == content


def test_a_push_that_is_taken_slowly_goes_on(faulty: FaultyRegistry) -> None:
    """It takes longer than the time-out; what sockets hold of it at its end, a few MB, does not."""

    def slow(handler: Handler) -> None:
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        whole, left = b"", int(handler.headers["Content-Length"])
        while left:
            piece = handler.rfile.read(min(1 << 20, left))
            whole, left = whole + piece, left - len(piece)
            time.sleep(0.3)
        handler.rfile = io.BytesIO(whole)  # type: ignore[assignment]
        handler.serve()
        handler.close_connection = True

    faulty.fault("PUT", "/blobs/uploads/", slow)
    client(faulty, Access(insecure=True, timeout=2)).put_blob(blob())
    assert client(faulty).has_blob(digest_of(BLOB))
