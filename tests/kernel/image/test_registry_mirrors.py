# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mirrors that lie: what they give wrong comes from the next place; where nobody has it right, each is named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.cli.main import main
from ansible_collections.stowage.engine.plugins.module_utils._engine.depot import Depot, Source
from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import EngineError, InvalidImage, NotFound
from ansible_collections.stowage.engine.plugins.module_utils._engine.host import Host
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.observe import observe_images
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.pull import pull_image
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.registry.client import Registry
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.image import Image
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.reference import parse_reference
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.image import plan_image

from .conftest import digest_of, layer_of, member, tree_of
from .faulty import MANIFEST, FaultyRegistry, broken
from .offers import ACCESS
from .plays import Play
from .test_registry_lies import answer

pytestmark = pytest.mark.root

NOWHERE = "sha256:" + "e" * 64
LAYER = layer_of(member("fine"), content=bytes(range(256)) * 1000)


@pytest.fixture
def mirrored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[FaultyRegistry, FaultyRegistry]]:
    """A mirror, and what it is a mirror of; both have the image."""
    with FaultyRegistry() as mirror, FaultyRegistry() as primary:
        for place in (mirror, primary):
            place.put_image("1", LAYER)
        (tmp_path / "registries.conf").write_text(
            f'[[registry]]\nlocation = "{primary.host}"\ninsecure = true\n'
            f'[[registry.mirror]]\nlocation = "{mirror.host}"\ninsecure = true\n'
        )
        monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(tmp_path / "registries.conf"))
        yield mirror, primary


def spoil(place: FaultyRegistry, kind: str, at: int = 0, only: str = "") -> None:
    """Have other content under the same digests."""
    for key, (media_type, content) in list(place.content.items()):
        if key[1] == kind and only in key[2]:
            place.content[key] = media_type, content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def is_there(paths: Paths, primary: FaultyRegistry) -> None:
    """All of the image, as the registry has it."""
    found = pull_image(paths, Image(f"{primary.host}/app:1", access=ACCESS))
    assert found.digest == digest_of(primary.content["app", "manifests", "1"][1])
    assert observe_images(paths)[found.name].missing == ()
    assert digest_of((Path(paths.layer(digest_of(LAYER))) / "fine").read_bytes()) == digest_of(bytes(range(256)) * 1000)
    assert list(tree_of(paths.layer(digest_of(LAYER)))) == ["fine"]


@pytest.mark.parametrize("at", [0, 600, len(LAYER) - 1], ids=["header", "content", "end"])
@pytest.mark.parametrize("cut", [False, True], ids=["whole", "cut"])
def test_a_layer_that_a_mirror_has_wrong_comes_from_the_registry(
    paths: Paths, mirrored: tuple[FaultyRegistry, FaultyRegistry], at: int, cut: bool
) -> None:
    """Whether that shows while it is unpacked or by its digest alone, and if the mirror has given but a part of it."""
    mirror, primary = mirrored
    spoil(mirror, "blobs", at, digest_of(LAYER))
    if cut:
        mirror.fault("GET", digest_of(LAYER), broken(most=100_000))
        mirror.fault("GET", digest_of(LAYER), answer(404), times=99)
    is_there(paths, primary)
    asked = [request.headers.get("Range") for request in primary.asked if digest_of(LAYER) in request.path]
    assert (None in asked) == (not cut or at < 100_000)


@pytest.mark.parametrize("kind", ["blobs", "manifests"])
def test_documents_that_a_mirror_has_wrong_come_from_the_registry(
    paths: Paths, mirrored: tuple[FaultyRegistry, FaultyRegistry], kind: str
) -> None:
    mirror, primary = mirrored
    spoil(mirror, kind)
    is_there(paths, primary)


@pytest.mark.parametrize("body", [b"<html>Log in to the hotel's network</html>", b"{}", b'["x"]', b""])
def test_a_mirror_that_has_a_page_for_everything_is_passed_over(
    paths: Paths, mirrored: tuple[FaultyRegistry, FaultyRegistry], body: bytes
) -> None:
    mirror, primary = mirrored
    for method in ("GET", "HEAD"):
        mirror.fault(method, "/v2/", answer(200, body, Content_Type="text/html"), times=99)
    is_there(paths, primary)


def claims(mirror: FaultyRegistry, digest: str) -> None:
    """Whatever it is asked by a HEAD request, it says that this is it."""
    kind = {"Content-Type": MANIFEST, "Docker-Content-Digest": digest}
    mirror.fault("HEAD", "/manifests/", lambda handler: handler.send(200, kind), times=99)


@pytest.mark.parametrize("content", [True, False], ids=["has the image", "has nothing"])
def test_a_mirror_that_claims_what_is_nowhere_is_passed_over_and_told_of(
    paths: Paths, mirrored: tuple[FaultyRegistry, FaultyRegistry], content: bool
) -> None:
    mirror, primary = mirrored
    claims(mirror, NOWHERE)
    if not content:
        mirror.content.clear()
    host = Host(paths)
    wanted = Image(f"{primary.host}/app:1", access=ACCESS)
    digest = digest_of(primary.content["app", "manifests", "1"][1])
    desired = host.resolve_image(wanted)
    assert desired.digest == digest
    [note] = host.notes
    assert note.startswith(f"registry {mirror.host}: ") and NOWHERE in note and "what others have is taken" in note
    host.apply(plan_image(desired, None))
    assert host.observe_images()[wanted.name].digest == digest
    assert Host(paths).resolve_image(wanted, refresh=True).digest == digest


def test_nobody_locks_what_a_mirror_claims(tmp_path: Path, mirrored: tuple[FaultyRegistry, FaultyRegistry]) -> None:
    mirror, primary = mirrored
    claims(mirror, NOWHERE)
    notes: list[str] = []
    source = Source(f"{primary.host}/app:1", ACCESS)
    found = Depot(str(tmp_path / "depot")).digest(source, notes.append)
    assert found == digest_of(primary.content["app", "manifests", "1"][1])
    assert len(notes) == 1 and mirror.host in notes[0]


def test_users_are_warned_of_such_a_mirror(
    paths: Paths,
    mirrored: tuple[FaultyRegistry, FaultyRegistry],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mirror, primary = mirrored
    claims(mirror, NOWHERE)
    options = {"name": f"{primary.host}/app:1", "insecure": True}
    lock = {**options, "path": str(tmp_path / "lock.json"), "cache": str(tmp_path / "cache")}
    for module, given in (("image", options), ("image_lock", lock)):
        for arguments in (("--check",), ()):
            code, said = Play(tmp_path, paths)([{f"stowage.engine.{module}": given}], *arguments)
            assert code == 0, said
            assert f"[WARNING]: registry {mirror.host}: " in said and NOWHERE in said
    for name, value in paths.environment().items():
        monkeypatch.setenv(name, value)
    assert main(["stowage", "rmi", str(options["name"])]) == 0
    assert main(["stowage", "pull", "--insecure", str(options["name"])]) == 0
    assert f"warning: registry {mirror.host}: " in capsys.readouterr().err


def test_a_mirror_may_know_better_than_to_have_it_itself(
    paths: Paths, mirrored: tuple[FaultyRegistry, FaultyRegistry]
) -> None:
    """It names what it has yet to fetch: what counts is that somebody has it."""
    mirror, primary = mirrored
    digest = digest_of(primary.content["app", "manifests", "1"][1])
    claims(mirror, digest)
    mirror.content.clear()
    host = Host(paths)
    assert host.resolve_image(Image(f"{primary.host}/app:1", access=ACCESS)).digest == digest
    assert host.notes == []


def test_where_nobody_has_what_a_mirror_claims_both_are_named(
    paths: Paths, mirrored: tuple[FaultyRegistry, FaultyRegistry]
) -> None:
    mirror, primary = mirrored
    claims(mirror, NOWHERE)
    primary.content.clear()
    with pytest.raises(NotFound, match=f"{primary.host}.*404.*before that, registry {mirror.host}: .*{NOWHERE}"):
        Host(paths).resolve_image(Image(f"{primary.host}/app:1", access=ACCESS))


def test_what_a_mirror_says_of_an_image_that_is_here_costs_one_request(
    paths: Paths, mirrored: tuple[FaultyRegistry, FaultyRegistry]
) -> None:
    mirror, primary = mirrored
    is_there(paths, primary)
    mirror.asked.clear(), primary.asked.clear()
    Host(paths).resolve_image(Image(f"{primary.host}/app:1", access=ACCESS), refresh=True)
    assert [asked.method for asked in mirror.asked] == ["HEAD"] and primary.asked == []


@pytest.mark.parametrize("kind", ["blobs", "manifests"])
def test_where_all_are_wrong_each_is_named(
    paths: Paths, mirrored: tuple[FaultyRegistry, FaultyRegistry], kind: str
) -> None:
    mirror, primary = mirrored
    for place in mirrored:
        spoil(place, kind)
    match = f"registry {primary.host}: .*; before that, registry {mirror.host}: "
    with pytest.raises(EngineError, match=match) as raised:
        pull_image(paths, Image(f"{primary.host}/app:1", access=ACCESS))
    assert str(raised.value).count("registry ") == 2
    assert observe_images(paths) == {}


def test_an_image_that_is_wrong_itself_is_not_fetched_from_every_place(
    paths: Paths, mirrored: tuple[FaultyRegistry, FaultyRegistry]
) -> None:
    primary = mirrored[1]
    bad = layer_of(member("../out"), content=bytes(3_000_000))
    for place in mirrored:
        place.put_image("1", bad)
    with pytest.raises(InvalidImage, match=r"\.\./out"):
        pull_image(paths, Image(f"{primary.host}/app:1", access=ACCESS))
    assert not any(digest_of(bad) in request.path for request in primary.asked)


def test_a_small_blob_is_read_from_whoever_has_it_right(mirrored: tuple[FaultyRegistry, FaultyRegistry]) -> None:
    mirror, primary = mirrored
    for place in mirrored:
        digest = place.put("app", "blobs", b"content")
    spoil(mirror, "blobs")
    registry = Registry(parse_reference("name", f"{primary.host}/app:1"), delays=())
    assert registry.read_blob(digest, 7, "it") == b"content"
    primary.content.clear()
    with pytest.raises(EngineError, match=rf"404.*before that, registry {mirror.host}: it: content has digest"):
        registry.read_blob(digest, 7, "it")
