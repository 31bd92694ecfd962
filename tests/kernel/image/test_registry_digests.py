# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a registry says of its manifests beside giving them: a digest in a header, a kind; only content is believed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.depot import Depot, Source
from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import EngineError, InvalidImage, Untrusted
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.archive.load import load_images
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.fsck import find_damage
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.gc import sweep
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.observe import observe_images
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.pull import pull_image, resolve_remote
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.trust.policy import apply_policy
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.trust.signatures import signature_tag
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.image import Image
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.trust import (
    REJECT,
    Policy,
    Requirement,
    Rule,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths

from .conftest import digest_of, layer_of, member
from .faulty import INDEX, FaultyRegistry, Handler, sha512_of
from .offers import ACCESS, GOOD, PLATFORM
from .test_trust import KEY, nothing_stored, signed_by, signer

pytestmark = pytest.mark.root


def says(digest: str) -> Callable[[Handler], None]:
    """A good answer, with ``digest`` as its Docker-Content-Digest."""

    def act(handler: Handler) -> None:
        repository, _manifests, version = handler.path.removeprefix("/v2/").partition("/manifests/")
        media_type, content = handler.own.content[repository, "manifests", version]
        told = {"Content-Type": media_type, "Content-Length": str(len(content)), "Docker-Content-Digest": digest}
        handler.send(200, told, content)

    return act


def put_index(faulty: FaultyRegistry, *entries: dict[str, Any], version: str = "", media_type: str = INDEX) -> str:
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(entries)}
    return faulty.put("app", "manifests", json.dumps(index).encode(), version, media_type)


def entry_of(faulty: FaultyRegistry, digest: str, **more: Any) -> dict[str, Any]:
    media_type, content = faulty.content["app", "manifests", digest]
    return {"mediaType": media_type, "digest": digest, "size": len(content), **more}


# Digests in headers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "told", ["garbage", "sha256:" + "5" * 64, "../../x", "sha512:" + "5" * 128], ids=["none", "other", "path", "sha512"]
)
def test_what_is_named_by_digest_has_that_digest_whatever_a_header_says(
    paths: Paths, faulty: FaultyRegistry, told: str
) -> None:
    digest = faulty.put_image("1", GOOD)
    wanted = Image(f"{faulty.host}/app@{digest}", access=ACCESS)
    for method in ("GET", "HEAD"):
        faulty.fault(method, f"/manifests/{digest}", says(told), times=9)
    assert resolve_remote(paths, wanted) == digest
    assert pull_image(paths, wanted).digest == digest
    assert {name: image.missing for name, image in observe_images(paths).items()} == {wanted.name: ()}


def unsigned(faulty: FaultyRegistry, version: str) -> tuple[str, str]:
    """An index and its one manifest, which nobody has signed."""
    digest = faulty.put_image("", layer_of(member("evil")), config=PLATFORM)
    return put_index(faulty, entry_of(faulty, digest, platform=PLATFORM), version=version), digest


@pytest.mark.parametrize("lie", ["of the index", "of its image"])
@pytest.mark.parametrize("name", [":2", "@"], ids=["by tag", "by digest"])
def test_a_digest_in_a_header_does_not_stand_in_for_a_signature(
    paths: Paths, faulty: FaultyRegistry, lie: str, name: str
) -> None:
    faulty.put_image("1", GOOD)
    signing = signer(f"{faulty.host}/app:1")
    signing.sign({})
    index, manifest = unsigned(faulty, "2")
    apply_policy(paths, Policy((Requirement(REJECT),), (Rule(faulty.host, (signed_by(KEY),)),)))
    wanted = Image(f"{faulty.host}/app{name}{index if name == '@' else ''}", access=ACCESS)
    with pytest.raises(Untrusted, match="it is not signed"):
        pull_image(paths, wanted)
    where = manifest if lie == "of its image" else name[1:] or index
    for method in ("GET", "HEAD"):
        faulty.fault(method, f"/manifests/{where}", says(signing.wanted.digest), times=9)
    for verified in ("", signing.wanted.digest):  # what a controller has verified is a digest, too
        for act in (pull_image, resolve_remote):
            with pytest.raises(EngineError):
                act(paths, replace(wanted, verified=verified))
    nothing_stored(paths)
    assert observe_images(paths) == {}


@pytest.mark.parametrize("through", ["its name", "an index"])
def test_a_manifest_may_be_named_by_sha512(paths: Paths, faulty: FaultyRegistry, through: str) -> None:
    content = faulty.content["app", "manifests", faulty.put_image("1", GOOD)]
    digest = sha512_of(content[1])
    faulty.content["app", "manifests", digest] = content
    put_index(faulty, entry_of(faulty, digest, platform=PLATFORM), version="2")
    wanted = Image(f"{faulty.host}/app@{digest}" if through == "its name" else f"{faulty.host}/app:2", access=ACCESS)
    assert pull_image(paths, wanted).digest == digest
    found = observe_images(paths)[wanted.name]
    assert (found.digest, found.missing) == (digest, ())
    assert find_damage(paths) == []
    sweep(paths)
    assert observe_images(paths)[wanted.name].missing == ()


# Kinds ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("media_type", ["application/json", "application/octet-stream; charset=utf-8", " "])
@pytest.mark.parametrize("says_itself", [True, False])
def test_an_index_is_known_by_what_it_says_of_itself(
    paths: Paths, faulty: FaultyRegistry, media_type: str, says_itself: bool
) -> None:
    """Servers of files, and some proxies, have no idea of media types."""
    digest = faulty.put_image("", GOOD, config=PLATFORM)
    index = {"schemaVersion": 2, "manifests": [entry_of(faulty, digest, platform=PLATFORM)]}
    faulty.put("app", "manifests", json.dumps({**index, **({"mediaType": INDEX} if says_itself else {})}).encode(), "1")
    for key, (_media_type, there) in list(faulty.content.items()):
        faulty.content[key] = media_type, there
    wanted = Image(f"{faulty.host}/app:1", access=ACCESS)
    assert resolve_remote(paths, wanted) == pull_image(paths, wanted).digest == digest


# Indexes within indexes ------------------------------------------------------------------------------


def nest(faulty: FaultyRegistry, version: str, **more: Any) -> tuple[str, list[str]]:
    """An image that is found in the second of two indexes which a third has; its digest, and those on the way to it."""
    other = faulty.put_image("", layer_of(member("other")), config={"os": "plan9", "architecture": "mips"})
    foreign = put_index(faulty, entry_of(faulty, other, platform={"os": "plan9", "architecture": "mips"}))
    digest = faulty.put_image("", GOOD, config=PLATFORM)
    inner = put_index(faulty, entry_of(faulty, digest, platform=PLATFORM))
    outer = put_index(faulty, entry_of(faulty, foreign), entry_of(faulty, inner, **more), version=version)
    return digest, [inner, outer]


@pytest.mark.parametrize("more", [{}, {"platform": PLATFORM}], ids=["without a platform", "with one"])
def test_an_index_may_stand_in_an_index(paths: Paths, faulty: FaultyRegistry, more: dict[str, Any]) -> None:
    """image-spec, image-index.md: a manifest of an index may be an index."""
    digest, _indexes = nest(faulty, "1", **more)
    wanted = Image(f"{faulty.host}/app:1", access=ACCESS)
    assert resolve_remote(paths, wanted) == pull_image(paths, wanted).digest == digest
    with pytest.raises(InvalidImage, match=r"is not made for linux/s390x; it is there for .*plan9/mips"):
        pull_image(paths, replace(wanted, platform="linux/s390x"))


def test_each_index_on_the_way_may_be_what_is_signed(paths: Paths, faulty: FaultyRegistry) -> None:
    digest, indexes = nest(faulty, "1")
    apply_policy(paths, Policy((Requirement(REJECT),), (Rule(faulty.host, (signed_by(KEY),)),)))
    for name in ("1", "2"):
        wanted = Image(f"{faulty.host}/app:{name}", access=ACCESS)
        faulty.content["app", "manifests", "2"] = faulty.content["app", "manifests", indexes[1]]
        with pytest.raises(Untrusted, match="it is not signed"):
            pull_image(paths, wanted)
        signing = signer(f"{faulty.host}/app@{indexes[int(name) - 1]}", identity=wanted.name)
        signing.sign({})
        assert pull_image(paths, wanted).digest == digest
        del faulty.content["app", "manifests", signature_tag(indexes[int(name) - 1])]


def test_an_archive_may_have_an_index_in_an_index(paths: Paths, faulty: FaultyRegistry, tmp_path: Path) -> None:
    digest, _indexes = nest(faulty, "1")
    layout = tmp_path / "layout"
    for (_repository, _kind, version), (_media_type, content) in faulty.content.items():
        if version.startswith("sha256:"):
            path = layout / "blobs" / version.replace(":", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    named = {"annotations": {"org.opencontainers.image.ref.name": "site:1"}}
    entry = entry_of(faulty, digest_of(faulty.content["app", "manifests", "1"][1]), **named)
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    assert [image.digest for image in load_images(paths, str(layout))] == [digest]


def test_a_depot_offers_what_is_in_an_index_in_an_index(faulty: FaultyRegistry, tmp_path: Path) -> None:
    digest, indexes = nest(faulty, "1")
    source = Source(f"{faulty.host}/app:1", access=ACCESS)
    offer = Depot(str(tmp_path / "depot")).offer(source, lambda: os.uname().machine)
    assert (offer.digest, offer.index) == (digest, indexes[1])
