# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates, and where redirects may lead: registries over TLS, with an authority of the tests' own."""

from __future__ import annotations

import shutil
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import RegistryError
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.pull import pull_image, resolve_remote
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.registry.client import Registry as Client
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.image import Image
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.reference import parse_reference
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.registry import Access
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths

from .authority import Authority, server_context
from .conftest import Registry, run
from .faulty import FaultyRegistry, redirect, status
from .test_push import BASE, TOP, push, store_image

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("home")]

QUICK = (0.01, 0.01)


@pytest.fixture(scope="module")
def strict(
    authority: Authority, server: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Registry]:
    """One that wants a client certificate of the same authority."""
    found = Registry(tmp_path_factory.mktemp("strict"), tls=server, client_authority=authority.file)
    yield found
    found.close()


def find(host: str, access: Access, name: str = "app:1") -> str | None:
    return Client(parse_reference("name", f"{host}/{name}"), access=access, delays=QUICK).find_digest("1")


# Certificates -------------------------------------------------------------------------------------------


def test_an_authority_that_is_given_is_trusted_and_no_other(
    paths: Paths, tmp_path: Path, secure: Registry, authority: Authority
) -> None:
    name = f"{secure.host}/tls/app:1"
    access = Access(ca_cert=str(authority.file))
    digest = store_image(paths, name, BASE, TOP)
    assert push(paths, name, access=access) == digest
    other = Paths(str(tmp_path / "other"), str(tmp_path / "other-run"))
    assert pull_image(other, Image(name, access=access)).digest == digest
    certificates = tmp_path / "certs"
    certificates.mkdir()
    shutil.copy(authority.file, certificates / "ca.crt")
    assert digest in run("skopeo", "inspect", f"--cert-dir={certificates}", f"docker://{name}")
    stranger = Authority(tmp_path, "stranger")
    for wrong in (Access(), Access(ca_cert=str(stranger.file))):
        with pytest.raises(
            RegistryError,
            match=f"registry {secure.host}: .*its certificate is not trusted.*give its authority as ca_cert",
        ):
            resolve_remote(paths, Image(name, access=wrong))
    assert resolve_remote(paths, Image(name, access=Access(insecure=True))) == digest


def test_a_certificate_of_another_name_is_refused(authority: Authority) -> None:
    access = Access(ca_cert=str(authority.file))
    with FaultyRegistry(context=server_context(authority.issue("other", host="localhost"))) as registry:
        assert find(f"localhost:{registry.host.partition(':')[2]}", access) is None
        with pytest.raises(RegistryError, match=r"its certificate is not trusted \(.*not valid for '127.0.0.1'.*\)$"):
            find(registry.host, access)


def test_a_client_certificate_is_shown_where_it_is_wanted(
    paths: Paths, tmp_path: Path, strict: Registry, authority: Authority
) -> None:
    certificate, key = authority.issue("client")
    name = f"{strict.host}/strict/app:1"
    access = Access(ca_cert=str(authority.file), client_cert=str(certificate), client_key=str(key))
    digest = store_image(paths, name, BASE)
    assert push(paths, name, access=access) == digest
    both = tmp_path / "both.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    assert find(strict.host, Access(ca_cert=str(authority.file), client_cert=str(both)), "strict/app:1") == digest
    for access in (Access(ca_cert=str(authority.file)), Access(insecure=True)):
        with pytest.raises(RegistryError, match=f"registry {strict.host}: .*it may want a client_cert and client_key"):
            find(strict.host, access)


def test_directories_of_docker_and_podman_are_read(
    paths: Paths, home: Path, strict: Registry, authority: Authority
) -> None:
    certificate, key = authority.issue("found")
    directory = home / ".config/containers/certs.d" / strict.host
    directory.mkdir(parents=True)
    shutil.copy(authority.file, directory / "ca.crt")
    shutil.copy(certificate, directory / "client.cert")
    with pytest.raises(RegistryError, match=r"client.cert: its key, .*client.key, is not there"):
        find(strict.host, Access())
    shutil.copy(key, directory / "client.key")
    name = f"{strict.host}/found/app:1"
    digest = store_image(paths, name, BASE)
    assert push(paths, name, access=Access()) == digest


def test_files_that_are_no_certificates_are_named(tmp_path: Path, secure: Registry, authority: Authority) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("s3cret")
    certificate, key = authority.issue("locked", password="s3cret")
    _other, other_key = authority.issue("another")
    for access, match in (
        (Access(ca_cert=str(empty)), r"empty.pem: no certificates of authorities in it"),
        (Access(ca_cert=str(tmp_path / "lost.pem")), r"lost.pem: no certificates.*no such file"),
        (Access(client_cert=str(empty)), r"empty.pem: not a certificate and its key"),
        (Access(client_cert=str(certificate), client_key=str(other_key)), r"locked.cert with .*another.key.*mismatch"),
        (Access(client_cert=str(certificate), client_key=str(key)), r"locked.key: .*the key has a password"),
    ):
        with pytest.raises(RegistryError, match=match) as error:
            find(secure.host, access)
        assert "s3cret" not in str(error.value)


def test_plain_http_is_spoken_only_where_insecure_says_so(registry: Registry) -> None:
    with pytest.raises(RegistryError, match=r"does not speak TLS .*where it is to be plain HTTP, say insecure"):
        find(registry.host, Access())
    assert find(registry.host, Access(insecure=True)) is None


# Redirects ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("insecure", [False, True])
def test_what_began_with_https_does_not_go_on_without(
    authority: Authority, server: tuple[Path, Path], *, insecure: bool
) -> None:
    access = Access(insecure=True) if insecure else Access(ca_cert=str(authority.file))
    with FaultyRegistry() as plain, FaultyRegistry(context=server_context(server)) as secure:
        digest = plain.put("app", "blobs", b"content")
        secure.fault("GET", "blobs", redirect(lambda path: f"http://{plain.host}{path}"), times=9)
        registry = Client(parse_reference("name", f"{secure.host}/app:1"), access=access, delays=QUICK)
        with pytest.raises(RegistryError, match="leads on to a place that is not HTTPS"):
            b"".join(registry.get_blob(digest, 7))
        assert plain.asked == []
        secure.faults.clear()
        secure.fault("GET", "blobs", redirect(lambda path: f"https://localhost:{secure.host.partition(':')[2]}{path}"))
        secure.put("app", "blobs", b"content")
        if insecure:
            with pytest.raises(RegistryError, match="another host, which insecure does not hold for: give its auth"):
                b"".join(registry.get_blob(digest, 7))
            secure.fault("GET", "blobs", redirect(lambda path: path + "?again"))
        assert b"".join(registry.get_blob(digest, 7)) == b"content"


def test_a_client_certificate_is_shown_to_its_registry_and_to_nobody_that_it_redirects_to(
    authority: Authority, server: tuple[Path, Path]
) -> None:
    certificate, key = authority.issue("own")
    access = Access(ca_cert=str(authority.file), client_cert=str(certificate), client_key=str(key))
    contexts = [server_context(server), server_context(server)]
    for context in contexts:
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(authority.file)
    shown: list[bool] = []
    with FaultyRegistry(context=contexts[0]) as registry, FaultyRegistry(context=contexts[1]) as elsewhere:

        def look(handler: object) -> None:
            shown.append(bool(handler.connection.getpeercert()))
            if handler.own is registry:
                redirect(lambda path: f"https://{elsewhere.host}{path}")(handler)
            else:
                handler.serve()

        digest = elsewhere.put("app", "blobs", b"content")
        for place in (registry, elsewhere):
            place.fault("GET", "blobs", look)
        client = Client(parse_reference("name", f"{registry.host}/app:1"), access=access, delays=QUICK)
        assert b"".join(client.get_blob(digest, 7)) == b"content"
    assert shown == [True, False]


def test_tokens_are_not_fetched_over_plain_http_for_a_registry_with_tls(
    authority: Authority, server: tuple[Path, Path]
) -> None:
    access = Access("user", "pass-word", ca_cert=str(authority.file))
    with FaultyRegistry(username="user") as plain, FaultyRegistry(context=server_context(server)) as secure:
        challenge = status(401, WWW_Authenticate=f'Bearer realm="http://{plain.host}/token"')
        secure.fault("HEAD", "manifests", challenge, times=9)
        with pytest.raises(RegistryError, match="it sends logins to a place that is not HTTPS"):
            find(secure.host, access)
        assert plain.asked == []


def test_insecure_does_not_hold_for_the_place_of_the_tokens(authority: Authority, server: tuple[Path, Path]) -> None:
    with (
        FaultyRegistry(context=server_context(server)) as registry,
        FaultyRegistry(context=server_context(server), username="user", token_life=60) as elsewhere,
    ):
        registry.put_image("1", BASE)
        challenge = status(401, WWW_Authenticate=f'Bearer realm="https://{elsewhere.host}/token"')
        login = Access("user", "pass-word", insecure=True)
        registry.fault("HEAD", "manifests", challenge)
        with pytest.raises(RegistryError, match=r"certificate is not trusted.*another host, which insecure does not"):
            find(registry.host, login)
        assert elsewhere.asked == []
        registry.fault("HEAD", "manifests", challenge)
        assert find(registry.host, replace(login, ca_cert=str(authority.file)))
        assert [asked.path.partition("?")[0] for asked in elsewhere.asked] == ["/token"]


def test_a_foreign_layer_comes_from_its_urls(authority: Authority, server: tuple[Path, Path]) -> None:
    with (
        FaultyRegistry(context=server_context(server)) as registry,
        FaultyRegistry(context=server_context(server), username="user") as locked,
    ):
        digest = registry.put("elsewhere", "blobs", b"content")
        url = f"https://{registry.host}/v2/elsewhere/blobs/{digest}"
        access = Access("user", "pass-word", ca_cert=str(authority.file))
        client = Client(parse_reference("name", f"{locked.host}/app:1"), access=access, delays=QUICK)
        assert b"".join(client.get_blob(digest, 7, urls=(url,))) == b"content"
        assert not any(asked.headers.get("Authorization") for asked in registry.asked)
        with pytest.raises(RegistryError, match=r"status 404"):
            b"".join(client.get_blob(digest, 7, urls=(f"http://{registry.host}/v2/elsewhere/blobs/{digest}",)))
