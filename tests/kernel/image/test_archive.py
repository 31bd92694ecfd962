# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives that we write are read by skopeo, podman and umoci, and theirs by us, with the same image coming out."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import (
    Conflict,
    DigestMismatch,
    EngineError,
    InvalidOption,
    NotFound,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.archive.load import load_images, resolve_load
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.archive.save import (
    observe_archive,
    resolve_archive,
    save_images,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.observe import observe_images
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.store import Store
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.archive import (
    DOCKER_ARCHIVE,
    FORMATS,
    OCI_ARCHIVE,
    OCI_DIRECTORY,
    Archive,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths

from .conftest import SHOP_LAYERS, SHOP_NAMES, digest_of, overlay_tree, run, tree_of

pytestmark = pytest.mark.root

SKOPEO = {OCI_ARCHIVE: "oci-archive", OCI_DIRECTORY: "oci", DOCKER_ARCHIVE: "docker-archive"}


def files_of(root: str) -> set[str]:
    return {os.path.join(directory, name) for directory, _names, files in os.walk(root) for name in files}


def spoil(path: str) -> None:
    """Change a byte in the middle of a file, or of the largest one in a tar archive."""
    start, size = 0, os.path.getsize(path)
    if path.endswith("/out"):
        with tarfile.open(path, "r:") as archive:
            start, size = max(((member.offset_data, member.size) for member in archive), key=lambda found: found[1])
    with open(path, "r+b") as file:
        file.seek(start + size // 2)
        byte = file.read(1)[0]
        file.seek(start + size // 2)
        file.write(bytes([byte ^ 1]))


def archive_of(path: Path, form: str, *names: str, compression: str = "none") -> Archive:
    return Archive(str(path), form, compression, tuple((name, "") for name in names or SHOP_NAMES))


def test_a_layout_of_umoci_is_loaded_as_umoci_unpacks_it(paths: Paths, shop: str, tmp_path: Path) -> None:
    run("skopeo", "copy", f"oci:{shop}:web", f"oci:{tmp_path / 'single'}:web")
    [image] = load_images(paths, str(tmp_path / "single"), ["web:2"])
    assert observe_images(paths)["docker.io/library/web:2"].layers == image.layers == tuple(map(digest_of, SHOP_LAYERS))
    run("umoci", "unpack", "--image", f"{shop}:web", str(tmp_path / "bundle"))
    assert overlay_tree(paths, image.layers, tmp_path) == tree_of(tmp_path / "bundle/rootfs")


@pytest.mark.parametrize(
    ("form", "compression"), [*((form, "none") for form in FORMATS), (OCI_ARCHIVE, "gzip"), (DOCKER_ARCHIVE, "gzip")]
)
def test_what_we_write_comes_back(filled: Paths, tmp_path: Path, form: str, compression: str) -> None:
    wanted = archive_of(tmp_path / "out", form, compression=compression)
    resolved = resolve_archive(filled, wanted)
    assert not os.path.exists(wanted.path)
    assert save_images(filled, wanted) == resolved == observe_archive(wanted.path)
    first = files_of(wanted.path) if form == OCI_DIRECTORY else Path(wanted.path).read_bytes()
    save_images(filled, wanted)
    assert (files_of(wanted.path) if form == OCI_DIRECTORY else Path(wanted.path).read_bytes()) == first

    other = Paths(str(tmp_path / "other"), str(tmp_path / "run2"))
    expected = resolve_load(other, wanted.path)
    assert not os.path.exists(other.root)
    loaded = {image.name: image for image in load_images(other, wanted.path)}
    there, here = observe_images(other), observe_images(filled)
    assert set(there) == set(here) == set(SHOP_NAMES) == set(expected)
    for name in SHOP_NAMES:
        assert there[name].digest == expected[name].digest == loaded[name].digest
        assert (there[name].layers, there[name].config, there[name].missing) == (
            here[name].layers,
            here[name].config,
            (),
        )
        assert form == DOCKER_ARCHIVE or there[name].digest == here[name].digest
    before = {path: os.stat(path).st_ino for path in files_of(other.root)}
    assert resolve_load(other, wanted.path) == expected
    load_images(other, wanted.path)
    assert set(before) == files_of(other.root)


@pytest.mark.parametrize("form", FORMATS)
def test_skopeo_reads_what_we_write(filled: Paths, tmp_path: Path, shop: str, form: str) -> None:
    wanted = archive_of(tmp_path / "out", form)
    save_images(filled, wanted)
    for name in SHOP_NAMES:
        theirs = tmp_path / name.replace("/", "-").replace(":", "-")
        run("skopeo", "copy", f"{SKOPEO[form]}:{wanted.path}:{name}", f"oci:{theirs}:x")
        run("umoci", "unpack", "--image", f"{theirs}:x", f"{theirs}-bundle")
        layers = observe_images(filled)[name].layers
        assert overlay_tree(filled, layers, tmp_path) == tree_of(f"{theirs}-bundle/rootfs")
        config = json.loads(run("skopeo", "inspect", "--config", f"{SKOPEO[form]}:{wanted.path}:{name}"))
        assert config["rootfs"]["diff_ids"] == list(layers)


@pytest.mark.parametrize("form", [OCI_ARCHIVE, DOCKER_ARCHIVE])
def test_we_read_what_skopeo_writes(paths: Paths, tmp_path: Path, shop: str, form: str) -> None:
    path = tmp_path / "theirs.tar"
    run("skopeo", "copy", f"oci:{shop}:web", f"{SKOPEO[form]}:{path}:{SHOP_NAMES[1]}")
    assert [image.name for image in load_images(paths, str(path))] == [SHOP_NAMES[1]]
    assert observe_images(paths)[SHOP_NAMES[1]].layers == tuple(map(digest_of, SHOP_LAYERS))
    # Their archive of the same image is what is wanted: it is left alone.
    assert resolve_archive(paths, archive_of(path, form, SHOP_NAMES[1])) == observe_archive(str(path))


@pytest.fixture
def podman(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """podman with a storage of its own, on tmpfs, where vfs is quick."""
    root = Path(f"/dev/shm/stowage-podman-{os.getpid()}")
    options = ["--root", str(root / "root"), "--runroot", str(root / "run"), "--tmpdir", str(root / "tmp")]
    yield lambda *words: run("podman", *options, "--storage-driver", "vfs", "--events-backend", "none", *words)
    subprocess.run(["rm", "-rf", "--one-file-system", str(root)], check=True)


@pytest.mark.parametrize("form", [OCI_ARCHIVE, DOCKER_ARCHIVE])
def test_podman_loads_ours_and_saves_what_we_load(
    filled: Paths, tmp_path: Path, podman: Callable[..., str], form: str
) -> None:
    wanted = archive_of(tmp_path / "out.tar", form)
    save_images(filled, wanted)
    if form == OCI_ARCHIVE:  # podman load takes one image of an oci-archive
        for name in SHOP_NAMES:
            podman("pull", "--quiet", f"oci-archive:{wanted.path}:{name}")
    else:
        podman("load", "--quiet", "--input", wanted.path)
    for name in SHOP_NAMES:
        assert podman("image", "inspect", "--format", "{{json .RootFS.Layers}}", name).strip() == json.dumps(
            list(observe_images(filled)[name].layers), separators=(",", ":")
        )
    back, names = tmp_path / "back.tar", SHOP_NAMES if form == DOCKER_ARCHIVE else SHOP_NAMES[1:]
    multi = ["--multi-image-archive"] if form == DOCKER_ARCHIVE else []
    podman("save", "--quiet", "--format", form, *multi, "--output", str(back), *names)
    other = Paths(str(tmp_path / "other"), str(tmp_path / "run2"))
    assert sorted(image.name for image in load_images(other, str(back))) == sorted(names)
    for name in names:
        assert observe_images(other)[name].layers == observe_images(filled)[name].layers


@pytest.mark.parametrize("form", FORMATS)
def test_a_damaged_or_different_archive_is_seen(filled: Paths, tmp_path: Path, form: str) -> None:
    wanted = archive_of(tmp_path / "out", form)
    resolved = save_images(filled, wanted)
    assert observe_archive(wanted.path) == resolved
    save_images(filled, archive_of(tmp_path / "out", form, SHOP_NAMES[0]))
    assert observe_archive(wanted.path).images == resolved.images[:1]
    if form == OCI_DIRECTORY:
        assert len(files_of(wanted.path)) == 2 + 1 + 1 + 2  # nothing of the other image stays
    save_images(filled, wanted)
    largest = max(files_of(wanted.path), key=os.path.getsize) if form == OCI_DIRECTORY else wanted.path
    spoil(largest)
    assert observe_archive(wanted.path) != resolved
    other = Paths(str(tmp_path / "other"), str(tmp_path / "run2"))
    with pytest.raises(EngineError):
        load_images(other, wanted.path)
    assert Store(other.images).blobs() == []
    assert save_images(filled, wanted) == observe_archive(wanted.path) == resolved


def test_an_image_that_docker_wrote_is_the_one_that_was_pulled(filled: Paths, tmp_path: Path) -> None:
    wanted = archive_of(tmp_path / "out.tar", DOCKER_ARCHIVE)
    save_images(filled, wanted)
    before = observe_images(filled)
    assert {name: image.digest for name, image in resolve_load(filled, wanted.path).items()} == {
        name: image.digest for name, image in before.items()
    }
    load_images(filled, wanted.path)
    assert observe_images(filled) == before


def test_names_choose(filled: Paths, tmp_path: Path, shop: str) -> None:
    path = str(tmp_path / "out.tar")
    save_images(filled, archive_of(tmp_path / "out.tar", OCI_ARCHIVE))
    assert list(resolve_load(filled, path, [SHOP_NAMES[0]])) == [SHOP_NAMES[0]]
    with pytest.raises(InvalidOption, match=r"holds: example\.com/shop/api:1, example\.com/shop/web:2"):
        resolve_load(filled, path, ["other:1"])
    save_images(filled, archive_of(tmp_path / "one.tar", OCI_ARCHIVE, SHOP_NAMES[0]))
    with pytest.raises(InvalidOption, match="other:1"):  # it has another name: not what was meant
        resolve_load(filled, str(tmp_path / "one.tar"), ["other:1"])
    run("skopeo", "copy", f"oci:{shop}:web", f"oci-archive:{tmp_path / 'nameless.tar'}")
    with pytest.raises(InvalidOption, match="names"):
        resolve_load(filled, str(tmp_path / "nameless.tar"))
    assert list(resolve_load(filled, str(tmp_path / "nameless.tar"), ["w:1"])) == ["docker.io/library/w:1"]


def test_what_cannot_be_exported_is_refused(filled: Paths, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nowhere:1"):
        save_images(filled, archive_of(tmp_path / "x", OCI_ARCHIVE, "nowhere:1"))
    for path in (filled.images, f"{filled.root}/x.tar", "relative", str(tmp_path / "missing/x")):
        with pytest.raises(InvalidOption, match="path"):
            save_images(filled, archive_of(Path(path), OCI_DIRECTORY))
    (tmp_path / "home").mkdir()
    (tmp_path / "home/precious").touch()
    for form in (OCI_DIRECTORY, OCI_ARCHIVE):
        with pytest.raises(Conflict, match="home"):
            save_images(filled, archive_of(tmp_path / "home", form))
    assert os.listdir(tmp_path / "home") == ["precious"]


def test_a_tampered_blob_of_the_store_is_not_exported(filled: Paths, tmp_path: Path) -> None:
    store = Store(filled.images)
    manifest, _config = store.read_image(store.names()[SHOP_NAMES[0]], SHOP_NAMES[0])
    blob = Path(store.blob_path(manifest.layers[0].digest))
    blob.write_bytes(gzip.compress(b"other")[:-8].ljust(blob.stat().st_size, b"\0"))
    for form in FORMATS:
        with pytest.raises(EngineError):
            save_images(filled, archive_of(tmp_path / f"out-{form}", form))
        assert form == OCI_DIRECTORY or not os.path.exists(tmp_path / f"out-{form}")
        assert [name for name in os.listdir(tmp_path) if name.endswith(".tmp")] == []


def test_an_archive_keeps_its_mode_and_a_new_one_is_private(filled: Paths, tmp_path: Path) -> None:
    wanted = archive_of(tmp_path / "out.tar", OCI_ARCHIVE)
    save_images(filled, wanted)
    assert os.stat(wanted.path).st_mode & 0o777 == 0o600
    os.chmod(wanted.path, 0o644)
    save_images(filled, wanted)
    assert os.stat(wanted.path).st_mode & 0o777 == 0o644


@pytest.mark.parametrize("kind", ["file", "hard link", "link"])
@pytest.mark.parametrize("form", [OCI_ARCHIVE, DOCKER_ARCHIVE, OCI_DIRECTORY])
def test_nobody_reads_an_archive_through_a_file_that_was_laid_ready(
    filled: Paths, tmp_path: Path, form: str, kind: str
) -> None:
    """In a directory that others may write to, the names beside the archive's own may be theirs."""
    wanted = archive_of(tmp_path / "out", form)
    theirs = [tmp_path / ".out.tmp"]
    if form == OCI_DIRECTORY:
        save_images(filled, wanted)
        blobs = [path for path in (tmp_path / "out/blobs/sha256").iterdir() if path.is_file()]
        theirs = [path.with_name(f".{path.name}.tmp") for path in blobs]
        for path in blobs:
            path.unlink()
    victim = tmp_path / "victim"
    victim.write_text("precious")
    open_files = []
    for path in theirs:
        if kind == "file":
            path.write_bytes(b"")
            os.chown(path, 65534, 65534)
            open_files.append(path.open("rb"))
        elif kind == "link":
            path.symlink_to(victim)
        else:
            path.hardlink_to(victim)
    save_images(filled, wanted)
    assert victim.read_text() == "precious"
    for file in open_files:
        with file:
            assert file.read() == b""
    written = [path for path in [Path(wanted.path), *Path(wanted.path).rglob("*")] if path.is_file()]
    assert {path.stat().st_uid for path in written} == {0}
    assert not any(path.is_symlink() or path.stat().st_nlink > 1 for path in written)
    assert resolve_load(filled, wanted.path)


def test_one_layer_that_lies_about_its_content_stores_nothing(filled: Paths, paths: Paths, tmp_path: Path) -> None:
    """All digests are right, but a diff_id: that shows only when the layer is unpacked."""
    out, other = tmp_path / "out", Paths(str(tmp_path / "other"), str(tmp_path / "run2"))
    save_images(filled, archive_of(out, OCI_DIRECTORY, SHOP_NAMES[0]))
    index = json.loads((out / "index.json").read_bytes())
    manifest_file = out / "blobs" / index["manifests"][0]["digest"].replace(":", "/")
    manifest = json.loads(manifest_file.read_bytes())
    config_file = out / "blobs" / manifest["config"]["digest"].replace(":", "/")
    config = json.loads(config_file.read_bytes())
    config["rootfs"]["diff_ids"][1] = digest_of(b"other")

    def put(content: bytes) -> dict[str, object]:
        (out / "blobs" / digest_of(content).replace(":", "/")).write_bytes(content)
        return {"digest": digest_of(content), "size": len(content)}

    manifest["config"].update(put(json.dumps(config).encode()))
    index["manifests"][0].update(put(json.dumps(manifest).encode()))
    (out / "index.json").write_text(json.dumps(index))
    with pytest.raises(DigestMismatch, match="layer"):
        load_images(other, str(out))
    assert (Store(other.images).blobs(), Store(other.images).names(), os.listdir(other.layers)) == ([], {}, [])
