# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images that builds begin with: out of a registry, for several platforms, beside what the host's own names mean."""

from __future__ import annotations

import json
import os

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import InvalidContainerfile
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.build.kept_bases import kept_bases
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.gc import (
    observe_garbage,
    remove_image,
    sweep,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.observe import observe_images
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.pull import pull_image
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.store import Store
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.image import Image
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.registry import Access
from tests.kernel.build.conftest import NAME
from tests.kernel.image.conftest import digest_of, layer_of, member
from tests.kernel.image.faulty import INDEX, MANIFEST, FaultyRegistry

ACCESS = Access(insecure=True, timeout=3)


def put_both(registry, *, release=1):
    """An image for amd64 and 386; its name."""
    entries = []
    for architecture in ("amd64", "386"):
        layer = layer_of(member(f"arch-{architecture}"), member(f"release-{release}"))
        fields = {"os": "linux", "architecture": architecture}
        config = json.dumps({**fields, "rootfs": {"type": "layers", "diff_ids": [digest_of(layer)]}}).encode()
        registry.put("app", "blobs", layer)
        registry.put("app", "blobs", config)
        described = [{"mediaType": "x", "digest": digest_of(blob), "size": len(blob)} for blob in (config, layer)]
        manifest = json.dumps(
            {"schemaVersion": 2, "mediaType": MANIFEST, "config": described[0], "layers": described[1:]}
        ).encode()
        digest = registry.put("app", "manifests", manifest, "", MANIFEST)
        entries.append({"mediaType": MANIFEST, "digest": digest, "size": len(manifest), "platform": fields})
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
    registry.put("app", "manifests", json.dumps(index).encode(), "1", INDEX)
    return f"{registry.host}/app:1"


@pytest.fixture
def registry():
    with FaultyRegistry() as running:
        yield running


@pytest.mark.parametrize("pulled", [True, False])
def test_one_image_for_two_platforms(workshop, registry, pulled):
    name = put_both(registry)
    if pulled:
        pull_image(workshop.paths, Image(name, access=ACCESS))
    text = f"FROM --platform=linux/386 {name} AS other\nFROM {name}\nCOPY --from=other /arch-386 /from-other\n"
    digest = workshop.build(text, access=ACCESS)
    assert set(workshop.tree()) == {"arch-amd64", "release-1", "from-other"}
    assert workshop.document()["architecture"] == "amd64"
    assert observe_images(workshop.paths)[name].platform == "linux/amd64"
    asked = len(registry.asked)
    assert workshop.forecast(text, access=ACCESS).digest == digest
    assert workshop.build(text, access=ACCESS) == digest
    assert len(registry.asked) == asked, "what was pulled for a build is there for the next"


def test_a_build_for_another_platform_leaves_the_host_s_names_alone(workshop, registry):
    name = put_both(registry)
    workshop.build(f"FROM {name}\nCOPY busybox /b\n", access=ACCESS, platform="linux/386")
    assert workshop.document()["architecture"] == "386"
    assert set(observe_images(workshop.paths)) == {NAME}
    pull_image(workshop.paths, Image(name, access=ACCESS))
    workshop.build(f"FROM --platform=linux/386 {name}\nCOPY busybox /b\n", access=ACCESS, cache=False)
    assert observe_images(workshop.paths)[name].platform == "linux/amd64"
    workshop.build(f"FROM {name}\nLABEL own=1\n", access=ACCESS)
    assert workshop.document()["architecture"] == "amd64"


def test_a_newer_image_of_another_platform_is_asked_for(workshop, registry):
    name = put_both(registry)
    text = f"FROM --platform=linux/386 {name}\nCOPY busybox /b\n"
    workshop.build(text, access=ACCESS)
    put_both(registry, release=2)
    workshop.build(text, access=ACCESS)
    assert workshop.has("/release-1")
    assert workshop.forecast(text, access=ACCESS, pull="always").pulls == (name,)
    workshop.build(text, access=ACCESS, pull="always")
    assert workshop.has("/release-2") and not workshop.has("/release-1")
    assert workshop.forecast(text, access=ACCESS, pull="always").pulls == ()


def test_what_a_build_was_pulled_for_stays_for_the_next(workshop, registry):
    name = put_both(registry)
    text = f"FROM --platform=linux/386 {name}\nCOPY busybox /b\n"
    digest = workshop.build(text, access=ACCESS)
    remove_image(workshop.paths, NAME)
    sweep(workshop.paths)
    assert observe_garbage(workshop.paths).blobs == ()
    asked = len(registry.asked)
    assert workshop.build(text, access=ACCESS) == digest
    assert len(registry.asked) == asked


def test_how_far_the_pull_of_a_base_is_is_said(workshop, registry):
    name = put_both(registry)
    workshop.build(f"FROM {name}\nLABEL a=b\n", access=ACCESS)
    assert [line for line in workshop.log if line.startswith(f"pulling {name}: ")]
    assert os.path.isdir(workshop.layers()[0])


@pytest.mark.parametrize("spelled", ["386", "linux/i386", "LINUX/386", "x86_64", "linux/amd64"])
def test_a_platform_may_be_spelled_in_several_ways(workshop, registry, spelled):
    name = put_both(registry)
    text = f"FROM --platform={spelled} {name}\nCOPY busybox /b\n"
    digest = workshop.build(text, access=ACCESS)
    wanted = "386" if "86_" not in spelled and "amd" not in spelled else "amd64"
    assert workshop.has(f"/arch-{wanted}")
    asked = len(registry.asked)
    assert workshop.build(text, access=ACCESS) == digest
    assert len(registry.asked) == asked


@pytest.mark.parametrize("platform", ["", "linux/386"])
@pytest.mark.parametrize("gone", ["layer", "manifest", "configuration"])
def test_what_a_base_lacks_comes_by_its_digest_wherever_its_tag_has_gone(workshop, registry, gone, platform):
    name = put_both(registry)
    text = f"FROM {name}\nCOPY busybox /b\n"
    digest = workshop.build(text, access=ACCESS, platform=platform)
    store = Store(workshop.paths.images)
    base = store.names()[name] if not platform else next(iter(kept_bases(workshop.paths)))
    manifest = store.read_image(base, name)[0]
    lost = {"layer": manifest.layers[0].digest, "manifest": base.digest, "configuration": manifest.config.digest}[gone]
    os.unlink(store.blob_path(lost))
    put_both(registry, release=2)
    assert workshop.forecast(text, access=ACCESS, platform=platform).pulls == (name,)
    assert workshop.build(text, access=ACCESS, platform=platform, cache=False) == digest
    assert workshop.has("/release-1") and not workshop.has("/release-2")
    workshop.build(text, access=ACCESS, platform=platform, pull="always")
    assert workshop.has("/release-2")


@pytest.mark.parametrize("gone", ["layer", "manifest", "configuration"])
def test_a_base_that_was_made_here_is_not_taken_from_whoever_has_its_name(workshop, registry, gone):
    name = put_both(registry)
    workshop.build("FROM scratch\nCOPY busybox /b\n", name=name)
    store = Store(workshop.paths.images)
    base = store.names()[name]
    manifest = store.read_image(base, name)[0]
    lost = {"layer": manifest.layers[0].digest, "manifest": base.digest, "configuration": manifest.config.digest}[gone]
    os.unlink(store.blob_path(lost))
    text = f"FROM {name}\nLABEL a=b\n"
    for make in (workshop.forecast, workshop.build):
        with pytest.raises(InvalidContainerfile, match=r"Containerfile:1: FROM: .*did not come from a registry"):
            make(text, access=ACCESS)
    assert registry.asked == []
    workshop.build(text, access=ACCESS, pull="always")
    assert workshop.has("/release-1")


def test_a_mirror_that_is_passed_over_is_told_of_in_the_log(workshop, registry, tmp_path, monkeypatch):
    name, nowhere = put_both(registry), "sha256:" + "e" * 64
    with FaultyRegistry() as mirror:
        (tmp_path / "registries.conf").write_text(
            f'[[registry]]\nlocation = "{registry.host}"\ninsecure = true\n'
            f'[[registry.mirror]]\nlocation = "{mirror.host}"\ninsecure = true\n'
        )
        monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(tmp_path / "registries.conf"))
        kind = {"Content-Type": MANIFEST, "Docker-Content-Digest": nowhere}
        mirror.fault("HEAD", "/manifests/1", lambda handler: handler.send(200, kind), times=9)
        workshop.build(f"FROM {name}\nLABEL a=b\n", access=ACCESS, pull="always")
        assert [line for line in workshop.log if mirror.host in line and nowhere in line]
    assert workshop.has("/release-1")
