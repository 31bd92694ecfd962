# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client against the items of OCI distribution-spec 1.1: pull, push, content discovery, content management.

Each item is tried at Debian's docker-registry, and at a registry of the tests' own, which has referrers too.
What one of them cannot do is told in the item, and seen to be refused there.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import RegistryError
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.manifest import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
    encode,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.registry.client import Registry as Client
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.registry.upload import Blob
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.reference import parse_reference
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.registry import Access

from .conftest import Registry, digest_of, run
from .faulty import FaultyRegistry, sha512_of

pytestmark = pytest.mark.root

QUICK = (0.01, 0.01)
SIGNATURE, SBOM = "application/vnd.example.signature", "application/vnd.example.sbom"


class Place(NamedTuple):
    """A registry, and what kind it is."""

    host: str
    kind: str

    def client(self, repository: str = "items/app") -> Client:
        reference = parse_reference("name", f"{self.host}/{repository}:1")
        return Client(reference, access=Access(insecure=True), delays=QUICK)


@pytest.fixture(scope="module", params=["docker-registry", "own"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    if request.param == "own":
        with FaultyRegistry() as own:
            yield Place(own.host, "own")
        return
    found = Registry(tmp_path_factory.mktemp("distribution"))
    yield Place(found.host, "docker-registry")
    found.close()


def put(client: Client, content: bytes, chunk_size: int = 0, media_type: str = OCI_LAYER) -> Descriptor:
    digest = digest_of(content)
    client.put_blob(Blob(digest, len(content), lambda: io.BytesIO(content)), chunk_size)
    return Descriptor(media_type, digest, len(content))


def manifest(client: Client, *, subject: Descriptor | None = None, artifact: str = "", **more: object) -> bytes:
    """A manifest whose blobs the registry has."""
    config = put(client, b"{}", media_type=OCI_CONFIG)
    layer = put(client, os.urandom(100))
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config.to_json(), "layers": [layer.to_json()]}
    document.update({"subject": subject.to_json()} if subject else {})
    document.update({"artifactType": artifact} if artifact else {})
    return encode({**document, **more})


def read(client: Client, digest: str, size: int, offset: int = 0) -> bytes:
    return b"".join(client.get_blob(digest, size, offset))


# Pull ------------------------------------------------------------------------------------------------


def test_pull_a_blob_and_a_part_of_it(place: Place) -> None:
    client, content = place.client(), os.urandom(100_000)
    blob = put(client, content)
    assert read(client, blob.digest, blob.size) == content
    assert read(client, blob.digest, blob.size, 99_000) == content[99_000:]


def test_pull_a_blob_that_is_not_there(place: Place) -> None:
    with pytest.raises(RegistryError, match=r"status 404 \(BLOB_UNKNOWN: ") as error:
        read(place.client(), "sha256:" + "0" * 64, 5)
    assert error.value.status == 404
    assert not place.client().has_blob("sha256:" + "0" * 64)


def test_pull_a_manifest_by_tag_and_by_digest(place: Place) -> None:
    client = place.client()
    content = manifest(client)
    client.put_manifest("pulled", OCI_MANIFEST, content)
    for version in ("pulled", digest_of(content)):
        assert client.get_manifest(version) == (OCI_MANIFEST, digest_of(content), content)
        assert client.head_manifest(version) == (OCI_MANIFEST, digest_of(content), b"")


@pytest.mark.parametrize("version", ["nothing", "sha256:" + "0" * 64])
def test_pull_a_manifest_that_is_not_there(place: Place, version: str) -> None:
    client = place.client()
    for ask in (client.get_manifest, client.head_manifest):
        with pytest.raises(RegistryError, match=f"registry {place.host}: image .*status 404") as error:
            ask(version)
        assert error.value.status == 404
    assert client.find_digest(version) is None


def test_pull_from_a_repository_that_is_not_there(place: Place) -> None:
    with pytest.raises(RegistryError, match=r"status 404"):
        place.client("no/such/repository").get_manifest("1")


# Push ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 2, 65_536, 1_000_000])
@pytest.mark.parametrize("chunk", [0, 1, 65_536])
def test_push_a_blob_whole_and_in_chunks(place: Place, size: int, chunk: int) -> None:
    if chunk == 1 and size > 2:
        chunk = size - 1
    client, content = place.client(f"items/blobs-{size}-{chunk}"), os.urandom(size)
    blob = put(client, content, chunk)
    assert client.has_blob(blob.digest)
    assert read(client, blob.digest, blob.size) == content


def test_push_a_blob_under_a_digest_that_is_not_its_own(place: Place) -> None:
    wrong = "sha256:" + "1" * 64
    for chunk in (0, 2):
        with pytest.raises(RegistryError, match=r"status 400 \(DIGEST_INVALID"):
            place.client().put_blob(Blob(wrong, 7, lambda: io.BytesIO(b"content")), chunk)
    assert not place.client().has_blob(wrong)


def test_push_a_blob_that_became_shorter_here(place: Place) -> None:
    content = b"shorter"
    with pytest.raises(RegistryError, match=f"{digest_of(content)} is shorter on this host than its 9 bytes"):
        place.client().put_blob(Blob(digest_of(content), 9, lambda: io.BytesIO(content)))


def test_mount_a_blob_of_another_repository(place: Place) -> None:
    source, target = place.client("items/source"), place.client("items/target")
    blob = put(source, os.urandom(100))
    assert not target.has_blob(blob.digest)
    assert target.mount_blob(blob.digest, "items/source")
    assert target.has_blob(blob.digest)
    assert not target.mount_blob("sha256:" + "2" * 64, "items/source")
    put(target, b"goes on with the session that was opened")
    target.close()


def test_push_a_manifest_by_tag_and_by_digest(place: Place) -> None:
    client = place.client()
    content = manifest(client)
    client.put_manifest(digest_of(content), OCI_MANIFEST, content)
    assert client.find_digest(digest_of(content)) == digest_of(content)
    client.put_manifest("by-tag", OCI_MANIFEST, content)
    assert client.find_digest("by-tag") == digest_of(content)
    other = manifest(client)
    client.put_manifest("by-tag", OCI_MANIFEST, other)
    assert client.find_digest("by-tag") == digest_of(other), "a tag moves"


@pytest.mark.parametrize(
    ("kind", "index"), [(OCI_MANIFEST, OCI_INDEX), (DOCKER_MANIFEST, DOCKER_INDEX)], ids=["OCI", "docker"]
)
def test_push_an_index(place: Place, kind: str, index: str) -> None:
    client = place.client()
    content = manifest(client).replace(OCI_MANIFEST.encode(), kind.encode())
    content = content.replace(OCI_CONFIG.encode(), b"application/vnd.docker.container.image.v1+json")
    client.put_manifest(digest_of(content), kind, content)
    platform = {"os": "linux", "architecture": "amd64"}
    entry = {**Descriptor(kind, digest_of(content), len(content)).to_json(), "platform": platform}
    document = encode({"schemaVersion": 2, "mediaType": index, "manifests": [entry]})
    client.put_manifest("index", index, document)
    assert client.get_manifest("index") == (index, digest_of(document), document)
    raw = run("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{place.host}/items/app:index")
    assert raw.encode() == document


def test_push_a_manifest_whose_blobs_are_not_there(place: Place) -> None:
    content = encode(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": Descriptor(OCI_CONFIG, "sha256:" + "3" * 64, 3).to_json(),
            "layers": [],
        }
    )
    with pytest.raises(RegistryError, match=r"status (400|404) \(MANIFEST_(BLOB_)?UNKNOWN|blob unknown"):
        place.client().put_manifest("bad", OCI_MANIFEST, content)


def test_sha512_is_a_digest_too() -> None:
    """docker-registry stores blobs under sha256 alone: this is for the other."""
    with FaultyRegistry() as own:
        content = os.urandom(1000)
        own.content["items/app", "blobs", sha512_of(content)] = ("", content)
        client = Place(own.host, "own").client()
        assert client.has_blob(sha512_of(content))
        assert read(client, sha512_of(content), 1000, 10) == content[10:]


# Content discovery -----------------------------------------------------------------------------------


def test_list_tags_over_pages(place: Place) -> None:
    client = place.client("items/tags")
    content = manifest(client)
    wanted = [f"t{number}" for number in range(7)]
    for tag in wanted:
        client.put_manifest(tag, OCI_MANIFEST, content)
    assert sorted(client.list_tags()) == wanted
    theirs = json.loads(run("skopeo", "list-tags", "--tls-verify=false", f"docker://{place.host}/items/tags"))
    assert sorted(theirs["Tags"]) == wanted
    with pytest.raises(RegistryError, match=r"status 404") as error:
        place.client("items/no-tags-here").list_tags()
    assert error.value.status == 404


@pytest.fixture(params=["referrers API", "tag schema"])
def discovery(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A registry with the API; docker-registry 2.8 has none."""
    if request.param == "referrers API":
        with FaultyRegistry() as own:
            yield Place(own.host, "API")
        return
    found = Registry(tmp_path)
    yield Place(found.host, "tags")
    found.close()


def test_referrers(discovery: Place) -> None:
    client = discovery.client()
    content = manifest(client)
    client.put_manifest("1", OCI_MANIFEST, content)
    subject = Descriptor(OCI_MANIFEST, digest_of(content), len(content))
    assert client.referrers(subject.digest) == []
    pushed = {}
    for kind in (SIGNATURE, SBOM):
        referrer = manifest(client, subject=subject, artifact=kind, annotations={"of": kind})
        client.put_manifest(digest_of(referrer), OCI_MANIFEST, referrer)
        client.put_manifest(digest_of(referrer), OCI_MANIFEST, referrer)  # twice is once
        pushed[kind] = digest_of(referrer)
    found = client.referrers(subject.digest)
    assert {entry["artifactType"]: entry["digest"] for entry in found} == pushed and len(found) == 2
    assert [entry["digest"] for entry in client.referrers(subject.digest, SBOM)] == [pushed[SBOM]]
    assert client.referrers(subject.digest, "application/none") == []
    has_tag = subject.digest.replace(":", "-") in client.list_tags()
    assert has_tag == (discovery.kind == "tags")


# Content management -------------------------------------------------------------------------------------


def test_delete_a_manifest_by_digest(place: Place) -> None:
    client = place.client("items/deleted")
    content = manifest(client)
    client.put_manifest("gone", OCI_MANIFEST, content)
    client.delete_manifest(digest_of(content))
    assert client.find_digest(digest_of(content)) is None
    with pytest.raises(RegistryError, match=r"status 404") as error:
        client.delete_manifest(digest_of(content))
    assert error.value.status == 404


def test_delete_a_tag(place: Place) -> None:
    """docker-registry 2.8 deletes by digest alone, which the specification allows."""
    client = place.client("items/tag-deleted")
    content = manifest(client)
    for tag in ("one", "two"):
        client.put_manifest(tag, OCI_MANIFEST, content)
    if place.kind == "docker-registry":
        with pytest.raises(RegistryError, match=r"DELETE manifests/one gave status 40[05]"):
            client.delete_manifest("one")
    else:
        client.delete_manifest("one")
        assert client.find_digest("one") is None
    assert client.find_digest("two") == digest_of(content)


def test_delete_a_blob(place: Place) -> None:
    client = place.client("items/blob-deleted")
    blob = put(client, os.urandom(100))
    client.delete_blob(blob.digest)
    assert not client.has_blob(blob.digest)


def test_deletion_that_is_not_allowed_is_told(tmp_path: Path) -> None:
    found = Registry(tmp_path, deletion=False)
    try:
        client = Place(found.host, "strict").client()
        content = manifest(client)
        client.put_manifest("1", OCI_MANIFEST, content)
        with pytest.raises(RegistryError, match=r"status 405 \(UNSUPPORTED: .*this registry does not allow it"):
            client.delete_manifest(digest_of(content))
    finally:
        found.close()
