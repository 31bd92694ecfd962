# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logins: basic and by tokens, at Debian's docker-registry and at one whose tokens end; out of options and files."""

from __future__ import annotations

import base64
import http.server
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import RegistryError
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.pull import pull_image, resolve_remote
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.push import push_image, resolve_push
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.registry.client import Registry as Client
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.image import Image
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.reference import parse_reference
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.registry import Access, RemoteImage
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths

from .authority import Tokens
from .conftest import PASSWORD, Registry, digest_of, layer_of, member, run
from .faulty import FaultyRegistry, redirect, status
from .test_push import BASE, TOP, push, store_image

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("home")]

QUICK = (0.01, 0.01)
USER = Access(username="user", password="pass-word", insecure=True, timeout=5)


@pytest.fixture
def tokens() -> Iterator[FaultyRegistry]:
    with FaultyRegistry(username="user", token_life=60) as found:
        yield found


def client(registry: FaultyRegistry, access: Access = USER, repository: str = "app") -> Client:
    return Client(parse_reference("name", f"{registry.host}/{repository}:1"), access=access, delays=QUICK)


def scopes(registry: FaultyRegistry) -> list[list[str]]:
    """The scopes that tokens were asked for with, in order."""
    asked = [request.path for request in registry.asked if request.path.startswith("/token")]
    return [sorted(parse_qs(path.partition("?")[2]).get("scope", ())) for path in asked]


def write_logins(path: Path, **content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


# docker-registry ------------------------------------------------------------------------------------------


def test_basic_login_of_the_options_pulls_and_pushes(paths: Paths, locked_registry: Registry) -> None:
    name = f"{locked_registry.host}/options/app:1"
    access = Access(username="user", password=PASSWORD, insecure=True)
    digest = store_image(paths, name, BASE)
    assert push(paths, name, access=access) == digest
    assert resolve_remote(paths, Image(name, access=access)) == digest
    theirs = run("skopeo", "inspect", "--tls-verify=false", f"--creds=user:{PASSWORD}", f"docker://{name}")
    assert json.loads(theirs)["Digest"] == digest


@pytest.mark.parametrize("access", [Access(username="user", password="wr0ng-word", insecure=True)])
def test_a_wrong_password_is_told_with_its_registry_and_tried_once(
    paths: Paths, locked_registry: Registry, access: Access
) -> None:
    image = Image(f"{locked_registry.host}/wrong:1", access=access)
    with pytest.raises(
        RegistryError, match=f"registry {locked_registry.host}: .*status 401.*check user and password of this registry"
    ) as error:
        resolve_remote(paths, image)
    assert "wr0ng-word" not in str(error.value) and "wr0ng-word" not in repr(image)


def test_a_wrong_password_is_sent_once() -> None:
    with FaultyRegistry(username="user") as locked:
        with pytest.raises(RegistryError, match=r"status 401"):
            client(locked, Access("user", "wr0ng-word", insecure=True)).get_manifest("1")
        sent = [bool(asked.headers.get("Authorization")) for asked in locked.asked]
        assert sent == [False, True], "registries lock users out"


class TokenServer:
    """Gives tokens that docker-registry trusts to ``user``, of the scope that was asked for."""

    def __init__(self, signer: Tokens) -> None:
        self.asked: list[list[str]] = []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                login = base64.b64encode(f"user:{PASSWORD}".encode()).decode()
                found = parse_qs(self.path.partition("?")[2])
                server.asked.append(found.get("scope", []))
                known = self.headers.get("Authorization") == f"Basic {login}" and found["service"] == [signer.service]
                body = json.dumps({"token": signer.sign(found.get("scope", []))} if known else {}).encode()
                self.send_response(200 if known else 401)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/token"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()


def test_docker_registry_with_tokens(paths: Paths, tmp_path: Path) -> None:
    signer = Tokens(tmp_path)
    server = TokenServer(signer)
    settings = {"realm": server.url, "service": signer.service, "issuer": signer.issuer}
    own = Registry(tmp_path, auth={"token": {**settings, "rootcertbundle": str(signer.file)}})
    try:
        access = Access(username="user", password=PASSWORD, insecure=True)
        first, second = f"{own.host}/first:1", f"{own.host}/second:1"
        digest = store_image(paths, first, BASE)
        push(paths, first, access=access)
        store_image(paths, second, BASE, TOP)
        server.asked.clear()
        push(paths, second, access=access)
        assert ["repository:first:pull", "repository:second:pull,push"] in server.asked, "mounts need both"
        other = Paths(str(tmp_path / "other"), str(tmp_path / "other-run"))
        server.asked.clear()
        assert pull_image(other, Image(first, access=access)).digest == digest
        assert {tuple(asked) for asked in server.asked} == {("repository:first:pull",)}
        theirs = run("skopeo", "inspect", "--tls-verify=false", f"--creds=user:{PASSWORD}", f"docker://{second}")
        assert len(json.loads(theirs)["Layers"]) == 2
        registry = Client(parse_reference("name", first), access=access)
        registry.delete_manifest(digest)
        assert registry.find_digest("1") is None
        with pytest.raises(RegistryError, match=r"logging in at 127.0.0.1:\d+ gave status 401.*check user and pass"):
            resolve_remote(paths, Image(first, access=Access("user", "wr0ng-word", insecure=True)))
    finally:
        own.close()
        server.server.shutdown()
        server.server.server_close()


# Tokens ----------------------------------------------------------------------------------------------------


def test_one_token_serves_all_requests_of_a_scope(tokens: FaultyRegistry, paths: Paths) -> None:
    layers = [layer_of(member(f"file{number}")) for number in range(4)]
    tokens.put_image("1", *layers)
    pull_image(paths, Image(f"{tokens.host}/app:1", access=USER))
    # Layers are fetched by processes that may start before there is a token.
    assert set(map(tuple, scopes(tokens))) == {("repository:app:pull",)}
    assert len(scopes(tokens)) <= 1 + len(layers)


def test_a_token_that_ends_in_the_middle_of_a_pull_is_renewed(tokens: FaultyRegistry) -> None:
    tokens.token_life = 0.3
    blobs = [os.urandom(100) for _number in range(4)]
    digests = [tokens.put("app", "blobs", blob) for blob in blobs]
    registry = client(tokens)
    for digest, blob in zip(digests, blobs):
        assert b"".join(registry.get_blob(digest, len(blob))) == blob
        time.sleep(0.2)
    assert len(scopes(tokens)) == 4
    assert [asked.method for asked in tokens.asked].count("GET") == 4 + 4 + 1, "only the first request is refused"


def test_a_token_that_the_registry_forgot_is_renewed(tokens: FaultyRegistry) -> None:
    digest = tokens.put("app", "blobs", b"content")
    registry = client(tokens)
    for _time in range(3):
        assert b"".join(registry.get_blob(digest, 7)) == b"content"
        tokens.tokens.clear()
    assert len(scopes(tokens)) == 3


def test_a_body_that_breaks_off_after_its_token_ended_goes_on(tokens: FaultyRegistry) -> None:
    content = os.urandom(100_000)
    digest = tokens.put("app", "blobs", content)
    registry = client(tokens)

    def cut(handler: object) -> None:
        tokens.tokens.clear()
        handler.send(200, {"Content-Length": "100000"}, content[:40_000])
        handler.close_connection = True

    assert registry.has_blob(digest)
    tokens.fault("GET", "/blobs/", cut)
    assert b"".join(registry.get_blob(digest, len(content))) == content


def test_scopes_are_what_each_request_needs(tokens: FaultyRegistry, paths: Paths) -> None:
    base, app = f"{tokens.host}/base:1", f"{tokens.host}/app:1"
    store_image(paths, base, BASE)
    store_image(paths, app, BASE)
    push(paths, base, access=USER)
    push(paths, app, access=USER)
    assert scopes(tokens)[0] == ["repository:base:pull"]
    assert ["repository:app:pull,push", "repository:base:pull"] in scopes(tokens)
    tokens.asked.clear()
    registry = client(tokens)
    registry.delete_manifest("1")
    assert scopes(tokens) == [["repository:app:delete"]]


def test_an_identity_token_gets_tokens(tokens: FaultyRegistry, home: Path) -> None:
    tokens.put_image("1", b"x")
    write_logins(home / ".docker/config.json", auths={tokens.host: {"identitytoken": "refresh-me"}})
    assert client(tokens, Access(insecure=True)).get_manifest("1").content
    (asked,) = [request for request in tokens.asked if request.path.startswith("/token")]
    assert asked.method == "POST" and "refresh-me" not in asked.path


def test_an_identity_token_is_not_sent_on_to_another_host(tokens: FaultyRegistry, home: Path) -> None:
    """307 and 308 keep the body of a request (RFC 9110, section 15.4.8), and the token stands there."""
    tokens.put_image("1", b"x")
    write_logins(home / ".docker/config.json", auths={tokens.host: {"identitytoken": "refresh-me"}})
    with FaultyRegistry(username="user", token_life=60) as thief:
        for code in (307, 308):
            tokens.fault("POST", "/token", redirect(lambda path: f"http://{thief.host}{path}", code))
            with pytest.raises(RegistryError, match=r"logging in at 127.*leads on to another host.*not sent there"):
                client(tokens, Access(insecure=True)).get_manifest("1")
        assert thief.asked == []
        tokens.fault("POST", "/token", redirect(lambda path: path + "?here"))
        assert client(tokens, Access(insecure=True)).get_manifest("1").content


def test_a_login_that_may_not_push_is_told(tokens: FaultyRegistry, paths: Paths) -> None:
    name = f"{tokens.host}/app:1"
    store_image(paths, name, BASE)
    tokens.fault("POST", "uploads", status(401, WWW_Authenticate=f'Bearer realm="http://{tokens.host}/token"'), 9)
    wanted = resolve_push(paths, RemoteImage(name, images=(name,), access=USER))
    with pytest.raises(RegistryError, match=r"POST blobs/uploads/ gave status 401.*log in, or check user and password"):
        push_image(paths, wanted)


@pytest.mark.parametrize(
    ("challenge", "match"),
    [
        ('Digest realm="x"', r"a login of an unknown kind, 'digest'"),
        ('Bearer realm="ftp://127.0.0.1/token"', r"sends logins to a place that is not HTTPS"),
        ('Bearer service="x"', r"sends logins to a place that is not HTTPS"),
    ],
)
def test_strange_challenges(tokens: FaultyRegistry, challenge: str, match: str) -> None:
    tokens.fault("GET", "manifests", status(401, WWW_Authenticate=challenge), 9)
    with pytest.raises(RegistryError, match=match):
        client(tokens).get_manifest("1")


@pytest.mark.parametrize("answer", [b"", b"[]", b"{}", b'{"token": 5}', b'{"token": "a\\nb"}'])
def test_a_place_of_tokens_that_gives_none(tokens: FaultyRegistry, answer: bytes) -> None:
    tokens.fault("GET", "/token", lambda handler: handler.send(200, {}, answer), 9)
    with pytest.raises(RegistryError, match=r"its login gave no token"):
        client(tokens).get_manifest("1")


# Files, and the programs that they name ---------------------------------------------------------------------


def helper(home: Path, name: str, script: str) -> None:
    path = home / "bin" / f"docker-credential-{name}"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.parametrize("form", ["auth_file", "credHelpers", "credsStore"])
def test_a_login_out_of_a_file_or_a_helper(tokens: FaultyRegistry, home: Path, form: str) -> None:
    tokens.put_image("1", b"x")
    access = Access(insecure=True)
    if form == "auth_file":
        path = write_logins(home / "own.json", auths={tokens.host: {"auth": tokens.login}})
        access = Access(insecure=True, auth_file=str(path))
    else:
        answer = json.dumps({"ServerURL": tokens.host, "Username": "user", "Secret": "pass-word"})
        helper(home, "test", f'[ "$1 $(cat)" = "get {tokens.host}" ] || exit 9\necho \'{answer}\'')
        write_logins(home / ".docker/config.json", **{form: {tokens.host: "test"} if form == "credHelpers" else "test"})
    assert client(tokens, access).get_manifest("1").content


def test_a_helper_that_has_no_login_leaves_it_to_the_file(tokens: FaultyRegistry, home: Path) -> None:
    tokens.put_image("1", b"x")
    helper(home, "none", "echo credentials not found in native keychain; exit 1")
    write_logins(home / ".docker/config.json", credsStore="none", auths={tokens.host: {"auth": tokens.login}})
    assert client(tokens, Access(insecure=True)).get_manifest("1").content


@pytest.mark.parametrize(
    ("script", "match"),
    [
        (None, r"'docker-credential-lost', which .*config.json names for the login at 127.*install it"),
        ("echo s3cret; echo locked >&2; exit 3", r"docker-credential-lost failed with status 3: locked"),
        ("echo s3cret", r"docker-credential-lost gave no user and secret for 127"),
        ('echo \'{"Username": "s3cret"}\'', r"gave no user and secret"),
    ],
)
def test_a_helper_that_fails_is_told_without_what_it_said(
    tokens: FaultyRegistry, home: Path, script: str | None, match: str
) -> None:
    if script is not None:
        helper(home, "lost", script)
    write_logins(home / ".docker/config.json", credHelpers={tokens.host: "lost"})
    with pytest.raises(RegistryError, match=match) as error:
        client(tokens, Access(insecure=True)).get_manifest("1")
    assert "s3cret" not in str(error.value)


def test_an_auth_file_that_is_not_there_is_told(tokens: FaultyRegistry, home: Path) -> None:
    with pytest.raises(RegistryError, match=r"nothing.json: there is no such file of logins"):
        client(tokens, Access(insecure=True, auth_file=str(home / "nothing.json"))).get_manifest("1")


def test_nobody_is_asked_for_a_login_that_the_registry_does_not_want(home: Path) -> None:
    helper(home, "spy", f"touch {home}/asked; exit 1")
    with FaultyRegistry() as open_registry:
        open_registry.put_image("1", b"x")
        write_logins(home / ".docker/config.json", credsStore="spy")
        client(open_registry, Access(insecure=True)).get_manifest("1")
        client(open_registry).get_manifest("1")
        assert not (home / "asked").exists()
        assert not any(asked.headers.get("Authorization") for asked in open_registry.asked)


def test_digests_are_verified_whoever_is_logged_in(tokens: FaultyRegistry) -> None:
    digest = tokens.put_image("1", b"x")
    document = client(tokens).get_manifest("1")
    assert digest_of(document.content) == document.digest == digest
