# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Push to a real registry, and let skopeo and podman read it; and what cannot be pushed.

What is sent on the way is in test_registry_uploads.py.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import tempfile
import time
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import (
    Conflict,
    InvalidImage,
    NotFound,
    RegistryError,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.gc import remove_image, sweep
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.manifest import (
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_LAYER,
    OCI_MANIFEST,
    encode,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.observe import observe_images
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.pull import pull_image
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.push import (
    observe_pushed,
    push_image,
    resolve_push,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.store import Store, write_store
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.tagging import tag_image
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.image import Image
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.registry import Access, RemoteImage
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.push import plan_push

from .conftest import Registry, digest_of, layer_of, member, run
from .faulty import FaultyRegistry, status

pytestmark = pytest.mark.root

INSECURE = Access(insecure=True, timeout=5)
BASE = layer_of(member("base"), content=os.urandom(200_000))
TOP = layer_of(member("top"), content=os.urandom(300_000))


def store_image(paths: Paths, name: str, *layers: bytes, media_type: str = OCI_MANIFEST, **config: str) -> str:
    """An image of the store with gzip layers, as a build leaves it; returns its digest."""
    with write_store(paths) as store:
        blobs = [store.put_blob(f"{OCI_LAYER}+gzip", gzip.compress(layer, 1, mtime=0)) for layer in layers]
        document = {"os": "linux", "architecture": "amd64", **config}
        document["rootfs"] = {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]}
        settings = store.put_blob(OCI_CONFIG, encode({key: value for key, value in document.items() if value}))
        manifest = {
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": settings.to_json(),
            "layers": [blob.to_json() for blob in blobs],
        }
        descriptor = store.put_blob(media_type, encode(manifest))
        store.tag(name, descriptor)
        return descriptor.digest


def push(paths: Paths, name: str, *images: str, access: Access = INSECURE, chunk_size: int = 0) -> str:
    """The whole cycle of the module: what the registry has in the end is what was told before."""
    wanted = resolve_push(paths, RemoteImage(name, images=images or (name,), chunk_size=chunk_size, access=access))
    assert list(plan_push(wanted, observe_pushed(wanted)))
    push_image(paths, wanted)
    assert list(plan_push(wanted, observe_pushed(wanted))) == []
    return wanted.digest


# A real registry ------------------------------------------------------------------------------------------


def test_what_is_pushed_skopeo_and_podman_read(paths: Paths, registry: Registry, tmp_path: Path) -> None:
    name = f"{registry.host}/pushed/app:1"
    digest = store_image(paths, name, BASE, TOP)
    assert push(paths, name) == digest
    theirs = json.loads(run("skopeo", "inspect", "--tls-verify=false", f"docker://{name}"))
    assert (theirs["Digest"], theirs["Architecture"], len(theirs["Layers"])) == (digest, "amd64", 2)
    run("skopeo", "copy", "--src-tls-verify=false", f"docker://{name}", f"oci:{tmp_path / 'layout'}:x")
    run("umoci", "unpack", "--image", f"{tmp_path / 'layout'}:x", str(tmp_path / "bundle"))
    assert (tmp_path / "bundle/rootfs/top").stat().st_size == 300_000
    # podman takes no longer name than 50 characters for its run root.
    with tempfile.TemporaryDirectory(prefix="push-") as short:
        podman = ("podman", "--root", f"{short}/root", "--runroot", f"{short}/run", "--storage-driver", "vfs")
        assert run(*podman, "pull", "-q", "--tls-verify=false", name).strip()
        assert digest in run(*podman, "image", "inspect", "--format", "{{.Digest}}", name)


def test_what_was_pulled_is_pushed_on_with_its_digest(paths: Paths, registry: Registry, tmp_path: Path) -> None:
    name = f"{registry.host}/onward/docker:1"
    digest = store_image(paths, name, BASE, media_type=DOCKER_MANIFEST)
    push(paths, name)
    other = Paths(str(tmp_path / "other"), str(tmp_path / "other-run"))
    assert pull_image(other, Image(name, access=INSECURE)).digest == digest
    again = f"{registry.host}/onward/elsewhere:2"
    assert push(other, again, name) == digest
    assert json.loads(run("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{again}"))["mediaType"] == (
        DOCKER_MANIFEST
    )


def test_several_platforms_become_an_index(paths: Paths, registry: Registry, tmp_path: Path) -> None:
    mine, other, third = "docker.io/library/i:amd64", "docker.io/library/i:arm64", "docker.io/library/i:arm"
    digests = {
        "linux/amd64": store_image(paths, mine, BASE),
        "linux/arm64": store_image(paths, other, TOP, architecture="arm64"),
        "linux/arm/v6": store_image(paths, third, BASE, TOP, architecture="arm", variant="v6"),
    }
    name = f"{registry.host}/multi/index:1"
    digest = push(paths, name, mine, other, third)
    raw = run("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{name}")
    assert digest_of(raw.encode()) == digest
    for platform, expected in digests.items():
        words = platform.split("/")
        options = ["--override-os", words[0], "--override-arch", words[1]]
        options += ["--override-variant", words[2]] if words[2:] else []
        layout = tmp_path / words[1]
        run("skopeo", *options, "copy", "--src-tls-verify=false", f"docker://{name}", f"oci:{layout}:x")
        assert json.loads((layout / "index.json").read_bytes())["manifests"][0]["digest"] == expected
        fresh = Paths(str(tmp_path / f"l{words[1]}"), str(tmp_path / f"r{words[1]}"))
        pulled = pull_image(fresh, Image(name, platform=platform, access=INSECURE))
        assert (pulled.digest, pulled.platform) == (expected, platform)
        assert observe_images(fresh)[name].platform == platform
    with pytest.raises(
        InvalidImage, match=r"not made for linux/s390x; it is there for linux/amd64, linux/arm/v6, linux/arm64"
    ):
        pull_image(paths, Image(name, platform="linux/s390x", access=INSECURE))


def test_an_image_of_one_platform_is_not_taken_for_another(paths: Paths, registry: Registry) -> None:
    name = f"{registry.host}/single:1"
    store_image(paths, name, BASE)
    push(paths, name)
    with pytest.raises(InvalidImage, match="is not made for linux/arm64; it is there for linux/amd64"):
        pull_image(paths, Image(name, platform="linux/arm64", access=INSECURE))


@pytest.mark.parametrize("size", [64 * 1024, 200_000, 10_000_000])
def test_chunks_make_the_same_image(paths: Paths, registry: Registry, tmp_path: Path, size: int) -> None:
    name = f"{registry.host}/chunks/of-{size}:1"
    layer = layer_of(member("x"), content=os.urandom(700_000))
    push_digest = store_image(paths, name, layer)
    assert push(paths, name, chunk_size=size) == push_digest
    other = Paths(str(tmp_path / "other"), str(tmp_path / "other-run"))
    assert pull_image(other, Image(name, access=INSECURE)).layers == (digest_of(layer),)


def test_a_real_registry_mounts_what_another_repository_has(paths: Paths, registry: Registry) -> None:
    first, second = f"{registry.host}/mount/base:1", f"{registry.host}/mount/app:1"
    layer = layer_of(member("mounted"), content=os.urandom(100_000))
    store_image(paths, first, layer)
    push(paths, first)
    store_image(paths, second, layer, TOP)
    blob = Store(paths.images).read_image(Store(paths.images).names()[second], "x")[0].layers[0]
    modified = registry.blob(blob.digest).stat().st_mtime_ns
    push(paths, second)
    assert registry.blob(blob.digest).stat().st_mtime_ns == modified
    assert (registry.storage / "docker/registry/v2/repositories/mount/app/_layers/sha256" / blob.digest[7:]).is_dir()


def test_what_podman_pushes_is_pulled(paths: Paths, registry: Registry, tmp_path: Path) -> None:
    name = f"{registry.host}/podman/app:1"
    (tmp_path / "layer.tar").write_bytes(BASE)
    with tempfile.TemporaryDirectory(prefix="push-") as short:
        podman = ("podman", "--root", f"{short}/root", "--runroot", f"{short}/run", "--storage-driver", "vfs")
        run(*podman, "import", "-q", str(tmp_path / "layer.tar"), name)
        for form in ("oci", "v2s2"):
            run(*podman, "push", "-q", "--tls-verify=false", "--format", form, name)
            pulled = pull_image(paths, Image(name, access=INSECURE))
            theirs = json.loads(run("skopeo", "inspect", "--tls-verify=false", f"docker://{name}"))
            assert (pulled.digest, pulled.layers) == (theirs["Digest"], (digest_of(BASE),))


# What cannot be -------------------------------------------------------------------------------------------


def test_a_push_that_fails_leaves_the_name_as_it_was(paths: Paths, faulty: FaultyRegistry) -> None:
    name = f"{faulty.host}/app:1"
    first = store_image(paths, name, BASE)
    push(paths, name)
    store_image(paths, name, BASE, TOP)
    wanted = resolve_push(paths, RemoteImage(name, images=(name,), access=INSECURE))
    faulty.fault("PUT", "uploads", status(403), times=9)
    with pytest.raises(
        RegistryError, match=f"registry {faulty.host}: image {name}: PUT /v2/app/blobs/uploads/.* status 403"
    ):
        push_image(paths, wanted)
    found = observe_pushed(wanted)
    assert found is not None and found.digest == first


def test_images_that_are_not_there_or_do_not_fit_are_told_before_anything_is_asked(
    paths: Paths, faulty: FaultyRegistry
) -> None:
    name = f"{faulty.host}/app:1"
    store_image(paths, "docker.io/library/a:1", BASE)
    store_image(paths, "docker.io/library/b:1", TOP)
    store_image(paths, "docker.io/library/c:1", TOP, os="")
    for images, error, match in (
        ((name,), NotFound, "app:1"),
        (("docker.io/library/a:1", "docker.io/library/b:1"), Conflict, "are both for linux/amd64"),
        (("docker.io/library/a:1", "docker.io/library/c:1"), InvalidImage, "names no platform"),
    ):
        with pytest.raises(error, match=match):
            resolve_push(paths, RemoteImage(name, images=images, access=INSECURE))
    assert faulty.asked == []


def test_a_tag_is_one_more_name_of_the_same_manifest(paths: Paths) -> None:
    digest = store_image(paths, "docker.io/library/a:1", BASE)
    tag_image(paths, Image("docker.io/library/b:2", digest))
    assert {name: image.digest for name, image in observe_images(paths).items()} == {
        "docker.io/library/a:1": digest,
        "docker.io/library/b:2": digest,
    }
    with pytest.raises(NotFound):
        tag_image(paths, Image("docker.io/library/c:1", "sha256:" + "0" * 64))


def test_how_far_a_push_is_is_shown_and_its_blobs_outlive_their_name(paths: Paths, faulty: FaultyRegistry) -> None:
    name = f"{faulty.host}/app:1"
    store_image(paths, name, layer_of(member("x"), content=os.urandom(1_000_000)))
    wanted = resolve_push(paths, RemoteImage(name, images=(name,), chunk_size=100_000, access=INSECURE))
    seen: list[str] = []

    def slow(handler: object) -> None:
        if not seen:
            seen.append("removed")
            remove_image(paths, name)  # while the push is under way
        time.sleep(0.1)
        handler.serve()

    faulty.fault("PATCH", "uploads", slow, times=99)
    push_image(paths, wanted, seen.append)
    assert re.fullmatch(rf"pushing {name}: 1.0 MB in [0-9.]+ s, [0-9.]+ \w+/s", seen[-1])
    assert any(re.search(r"kB of 1.0 MB \([0-9]+%\), [0-9.]+ \w+/s, .* left", line) for line in seen[:-1]), seen
    found = observe_pushed(wanted)
    assert found is not None and found.digest == wanted.digest
    assert observe_images(paths) == {}
    sweep(paths)
    assert Store(paths.images).blobs() == []
