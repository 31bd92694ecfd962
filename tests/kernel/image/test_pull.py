# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pull from a real registry what skopeo and umoci made; from a faulty one, nothing."""

from __future__ import annotations

import base64
import gzip
import http.server
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import (
    DigestMismatch,
    EngineError,
    InvalidImage,
    RegistryError,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.manifest import (
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.observe import observe_images
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.platform import host_architecture
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.pull import pull_image, resolve_remote
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.store import Store
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.image import Image
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.registry import Access
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths

from .conftest import PASSWORD, Registry, digest_of, layer_of, member, overlay_tree, run, tree_of

pytestmark = pytest.mark.root

NOWHERE = Paths("/nonexistent", "/nonexistent")  # has no policy
INSECURE = Access(insecure=True)

LAYERS = (
    layer_of(
        member("a/one", mode=0o4755), member("a/two", uid=5), member("b/three"), member("link", b"2", linkname="a/one")
    ),
    layer_of(
        member("a/.wh.two"), member("b", b"5"), member("b/.wh..wh..opq"), member("b/four"), member("c/x", mode=0o600)
    ),
)


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image made by umoci."""
    directory = tmp_path_factory.mktemp("umoci")
    layout = str(directory / "layout")
    run("umoci", "init", "--layout", layout)
    run("umoci", "new", "--image", f"{layout}:x")
    for number, layer in enumerate(LAYERS):
        (directory / f"{number}.tar").write_bytes(layer)
        run("umoci", "raw", "add-layer", "--image", f"{layout}:x", str(directory / f"{number}.tar"))
    run("umoci", "config", "--image", f"{layout}:x", "--config.cmd", "sh", "--config.env", "A=b")
    return layout


def push(layout: str, registry: Registry, name: str, *options: str) -> Image:
    run("skopeo", "copy", "--dest-tls-verify=false", *options, f"oci:{layout}:x", f"docker://{registry.host}/{name}")
    return Image(name=f"{registry.host}/{name}", access=INSECURE)


@pytest.mark.parametrize(("form", "media_type"), [("oci", OCI_MANIFEST), ("v2s2", DOCKER_MANIFEST)])
def test_what_others_pushed_is_pulled_whole(
    paths: Paths, tmp_path: Path, layout: str, registry: Registry, form: str, media_type: str
) -> None:
    wanted = push(layout, registry, f"{form}/app:1", "--format", form)
    remote = resolve_remote(NOWHERE, wanted)
    assert not os.path.exists(paths.root) and not os.path.exists(paths.run_root)
    pulled = pull_image(paths, wanted)
    theirs = run("skopeo", "inspect", "--tls-verify=false", "--format", "{{.Digest}}", f"docker://{wanted.name}")
    assert pulled.digest == remote == theirs.strip()
    found = observe_images(paths)[wanted.name]
    assert (found.digest, found.layers, found.missing) == (remote, tuple(map(digest_of, LAYERS)), ())
    assert (found.config.command, dict(found.config.env)["A"]) == (("sh",), "b")
    assert Store(paths.images).names()[wanted.name].media_type == media_type
    run("umoci", "unpack", "--image", f"{layout}:x", str(tmp_path / "bundle"))
    assert overlay_tree(paths, found.layers, tmp_path) == tree_of(tmp_path / "bundle/rootfs")
    if form == "oci":  # skopeo looks for OCI manifests alone in a layout; docker's is kept as it is, for its digest
        assert json.loads(run("skopeo", "inspect", f"oci:{paths.images}:{wanted.name}"))["Digest"] == remote


def test_a_second_pull_fetches_no_blob_and_damage_is_fetched_again(
    paths: Paths, layout: str, registry: Registry
) -> None:
    wanted = push(layout, registry, "again:1")
    pulled = pull_image(paths, wanted)
    store = Store(paths.images)
    before = {digest: os.stat(store.blob_path(digest)).st_ino for digest in store.blobs()}
    assert pull_image(paths, wanted) == pulled
    after = {digest: os.stat(store.blob_path(digest)).st_ino for digest in store.blobs()}
    assert after == before
    blob = Path(store.blob_path(json.loads(Path(store.blob_path(pulled.digest)).read_bytes())["layers"][1]["digest"]))
    blob.write_bytes(bytes(blob.stat().st_size))
    run("rm", "-r", paths.layer(pulled.layers[1]))
    pull_image(paths, wanted)
    assert digest_of(blob.read_bytes()) == f"sha256:{blob.name}"


def test_a_digest_is_pulled_by_itself(paths: Paths, layout: str, registry: Registry) -> None:
    digest = resolve_remote(NOWHERE, push(layout, registry, "pinned:1"))
    name = f"{registry.host}/pinned@{digest}"
    assert pull_image(paths, Image(name=name, access=INSECURE)).digest == digest
    assert name in observe_images(paths)


def test_an_index_gives_this_hosts_image(paths: Paths, layout: str, registry: Registry) -> None:
    digest = resolve_remote(NOWHERE, push(layout, registry, "multi:mine"))
    entry = {"mediaType": OCI_MANIFEST, "digest": digest, "size": registry.blob(digest).stat().st_size}
    for tag, architecture in (("all", host_architecture()), ("other", "vax")):
        variant = {"variant": "v8"} if architecture == "arm64" else {}
        manifests = [{**entry, "platform": {"os": "linux", "architecture": architecture, **variant}}]
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}
        registry.put_manifest("multi", tag, OCI_INDEX, json.dumps(index).encode())
    wanted = Image(name=f"{registry.host}/multi:all", access=INSECURE)
    assert resolve_remote(NOWHERE, wanted) == pull_image(paths, wanted).digest == digest
    with pytest.raises(InvalidImage, match=f"multi:other is not made for linux/{host_architecture()}.*linux/vax"):
        pull_image(paths, Image(name=f"{registry.host}/multi:other", access=INSECURE))


def test_a_tampered_blob_is_refused_and_not_stored(paths: Paths, layout: str, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    own = Registry(tmp_path / "own")
    try:
        wanted = push(layout, own, "evil:1")
        digest = json.loads(own.blob(resolve_remote(NOWHERE, wanted)).read_bytes())["layers"][0]["digest"]
        blob = own.blob(digest)
        blob.write_bytes(blob.read_bytes()[:-1] + b"!")
        with pytest.raises(DigestMismatch, match=f"a layer of .*evil:1.*expected {digest}"):
            pull_image(paths, wanted)
        assert digest not in Store(paths.images).blobs()
        assert observe_images(paths) == {} and os.listdir(paths.layers) == []
    finally:
        own.close()


def test_a_missing_tag_or_registry_is_told(paths: Paths, registry: Registry) -> None:
    name = f"{registry.host}/nothing:1"
    for act in (lambda image: resolve_remote(NOWHERE, image), lambda image: pull_image(paths, image)):
        with pytest.raises(
            RegistryError, match=f"registry {registry.host}: image {name}: .*status 404.*check the name"
        ):
            act(Image(name=name, access=INSECURE))
    with pytest.raises(RegistryError, match=r"registry 127.0.0.1:1: image 127.0.0.1:1/x:latest: .*refused"):
        resolve_remote(NOWHERE, Image(name="127.0.0.1:1/x", access=INSECURE))
    with pytest.raises(RegistryError, match=r"does not speak TLS.*say insecure"):
        resolve_remote(NOWHERE, Image(name=name))


def test_a_login_is_used_and_a_wrong_one_is_told_without_it(
    paths: Paths, layout: str, locked_registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = push(layout, locked_registry, "locked:1", "--dest-creds", f"user:{PASSWORD}")
    auth = tmp_path / "auth.json"
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(auth))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(RegistryError, match=r"wants a login"):
        pull_image(paths, wanted)
    for password in ("wr0ng-word", PASSWORD):
        secret = base64.b64encode(f"user:{password}".encode()).decode()
        auth.write_text(json.dumps({"auths": {locked_registry.host: {"auth": secret}}}))
        if password != PASSWORD:
            with pytest.raises(
                RegistryError, match=f"{locked_registry.host}.*status 401.*check user and password"
            ) as error:
                pull_image(paths, wanted)
            assert password not in str(error.value) and secret not in str(error.value)
    assert pull_image(paths, wanted).layers == tuple(map(digest_of, LAYERS))


class Faulty:
    """A registry that answers as it is told: path to (status, headers, body); what it was asked is in ``asked``."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.asked: list[tuple[str, str, str]] = []
        faulty = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                authorization = self.headers.get("Authorization") or ""
                faulty.asked.append((self.command, self.path, authorization))
                key = self.path.partition("?")[0]
                status, headers, body = (
                    faulty.answers.get(f"{authorization} {key}") or faulty.answers.get(key) or (404, {}, b"")
                )
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_HEAD = do_GET

            def log_message(self, *_arguments: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def serve(self, layers: list[bytes], *, diff_ids: list[str] | None = None, size: int | None = None) -> Image:
        """An image ``app:1`` with these blobs as layers."""
        config = json.dumps(
            {"rootfs": {"type": "layers", "diff_ids": diff_ids or [digest_of(layer) for layer in layers]}}
        ).encode()
        blobs = [config, *layers]
        for blob in blobs:
            self.answers[f"/v2/app/blobs/{digest_of(blob)}"] = (200, {}, blob)
        found = [{"mediaType": "x", "digest": digest_of(blob), "size": len(blob)} for blob in blobs]
        if size is not None:
            found[-1]["size"] = size
        manifest = json.dumps({"schemaVersion": 2, "config": found[0], "layers": found[1:]}).encode()
        self.manifest = digest_of(manifest)
        headers = {"Content-Type": OCI_MANIFEST, "Docker-Content-Digest": self.manifest}
        for version in ("1", self.manifest):
            self.answers[f"/v2/app/manifests/{version}"] = (200, headers, manifest)
        return Image(name=f"{self.host}/app:1", access=INSECURE)


@pytest.fixture
def faulty() -> Iterator[Faulty]:
    found = Faulty()
    yield found
    found.server.shutdown()
    found.server.server_close()


GOOD = layer_of(member("fine"))


def test_the_faulty_registry_can_be_good(paths: Paths, faulty: Faulty) -> None:
    assert pull_image(paths, faulty.serve([GOOD])).layers == (digest_of(GOOD),)
    faulty.asked.clear()
    assert resolve_remote(NOWHERE, Image(name=f"{faulty.host}/app:1", access=INSECURE)) == faulty.manifest
    assert [method for method, path, _login in faulty.asked if "manifests" in path] == ["HEAD"]


@pytest.mark.parametrize(
    ("layer", "options", "match"),
    [
        (GOOD, {"diff_ids": [digest_of(b"other")]}, "expected " + digest_of(b"other")),
        (GOOD, {"diff_ids": [digest_of(GOOD)] * 2}, "lists 2 diff_ids, its manifest 1"),
        (GOOD, {"diff_ids": ["../../x"]}, "diff_ids.*not valid"),
        (GOOD, {"size": 10}, "longer than the 10 bytes"),
        (GOOD, {"size": 1 << 30}, "(shorter|broke off)"),
        (GOOD, {"size": 1 << 40}, "unpacked they may have"),
        (gzip.compress(GOOD, mtime=0)[:-20], {"diff_ids": [digest_of(GOOD)]}, "ends too early"),
        (layer_of(member("../out")), {}, "points out of it"),
        (b"not a tar archive" * 100, {}, "the tar archive has"),
    ],
)
def test_bad_images_leave_nothing(
    paths: Paths, faulty: Faulty, layer: bytes, options: dict[str, object], match: str
) -> None:
    wanted = faulty.serve([layer], **options)
    with pytest.raises(EngineError, match=match):
        pull_image(paths, wanted)
    assert observe_images(paths) == {}
    assert os.listdir(paths.layers) == [] and os.listdir(os.path.join(paths.images, ".partial")) == []


def test_a_manifest_that_is_not_its_digest_is_refused(paths: Paths, faulty: Faulty) -> None:
    faulty.serve([GOOD])
    pinned = "sha256:" + "5" * 64
    faulty.answers[f"/v2/app/manifests/{pinned}"] = faulty.answers["/v2/app/manifests/1"]
    with pytest.raises(DigestMismatch, match=pinned):
        pull_image(paths, Image(name=f"{faulty.host}/app@{pinned}", access=INSECURE))


def test_a_tag_keeps_its_meaning_when_a_pull_fails(paths: Paths, faulty: Faulty) -> None:
    first = pull_image(paths, faulty.serve([GOOD]))
    with pytest.raises(InvalidImage):
        pull_image(paths, faulty.serve([layer_of(member("../x"))]))
    assert observe_images(paths)[first.name].digest == first.digest


def test_a_token_is_fetched_and_never_follows_a_redirect(
    paths: Paths, faulty: Faulty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = Faulty()
    try:
        wanted = faulty.serve([GOOD])
        secret = base64.b64encode(b"user:pass-word").decode()
        (tmp_path / "auth.json").write_text(json.dumps({"auths": {faulty.host: {"auth": secret}}}))
        monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
        challenge = {
            "WWW-Authenticate": f'Bearer realm="http://{faulty.host}/token",service="s",scope="repository:app:pull"'
        }
        elsewhere.answers = {path: answer for path, answer in faulty.answers.items() if "/blobs/" in path}
        for path, answer in list(faulty.answers.items()):
            redirect = (307, {"Location": f"http://{elsewhere.host}{path}"}, b"")
            faulty.answers[f"Bearer tok {path}"] = redirect if "/blobs/" in path else answer
            faulty.answers[path] = (401, challenge, b"")
        faulty.answers[f"Basic {secret} /token"] = (200, {}, b'{"token":"tok"}')
        assert pull_image(paths, wanted).layers == (digest_of(GOOD),)
        (token,) = [path for _method, path, _login in faulty.asked if path.startswith("/token?")]
        assert parse_qs(token.partition("?")[2]) == {"service": ["s"], "scope": ["repository:app:pull"]}
        assert len(elsewhere.asked) == 2 and not any(login for _method, _path, login in elsewhere.asked)
    finally:
        elsewhere.server.shutdown()
        elsewhere.server.server_close()


def test_a_registrys_own_words_are_told(faulty: Faulty) -> None:
    body = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}'
    faulty.answers["/v2/app/manifests/1"] = (429, {}, body)
    with pytest.raises(RegistryError, match=r"status 429"):
        resolve_remote(NOWHERE, Image(name=f"{faulty.host}/app:1", access=INSECURE))


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/x", "file:///etc/passwd", "http://127.0.0.1:1/x"])
def test_redirects_to_strange_places_are_errors(faulty: Faulty, location: str) -> None:
    faulty.answers["/v2/app/manifests/1"] = (307, {"Location": location}, b"")
    with pytest.raises(RegistryError, match=r"app:1"):
        resolve_remote(NOWHERE, Image(name=f"{faulty.host}/app:1", access=INSECURE))
