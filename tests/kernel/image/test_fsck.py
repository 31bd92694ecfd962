# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tampering with a store is found, whatever was tampered with, and goes away by way of the image's source."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.host import Host
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.build.cache import Record, StepCache
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.build.recipe import assemble_image
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.fsck import find_damage
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.layer.directories import observe_layers
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.observe import observe_images
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.pull import pull_image
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.store import Store, write_store
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.image import (
    Entry,
    Image,
    LayerSource,
    Recipe,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.registry import Access
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.image import plan_image

from .conftest import Registry, digest_of, layer_of, member, run, tree_of

pytestmark = pytest.mark.root

DIR, LINK, HARD, CHR, FIFO = b"5", b"2", b"1", b"3", b"6"
CAPABILITY = b"\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
BASE = layer_of(
    member("etc", DIR, mtime=1_600_000_000.25),
    member("etc/passwd", mode=0o600, uid=1, mtime=1_500_000_000.123456789),
    member("bin/tool", mode=0o4755, pax_headers={"SCHILY.xattr.security.capability": CAPABILITY.decode("latin-1")}),
    member("bin/same", HARD, linkname="bin/tool"),
    member("lib", LINK, linkname="usr/lib"),
    member("usr/lib/deep/er", mode=0o644),
    member("lib/through"),
    member("dev/full", CHR, devmajor=1, devminor=7),
    member("run/fifo", FIFO),
    member("twice", mode=0o600),
    member("twice", DIR, mode=0o750, gid=7),
    member("twice/in"),
)
TOP = layer_of(
    member("etc/.wh.passwd"),
    member("opt/.wh..wh..opq", DIR),
    member("bin/.wh.tool"),
    member("bin/tool/here"),
    member("usr/.wh.lib"),
    member("usr/lib", DIR),
    member("big", mode=0o444),
    content=b"content" * 100_000,
)


@pytest.fixture
def image(paths: Paths, registry: Registry, tmp_path: Path) -> Image:
    layout = str(tmp_path / "layout")
    run("umoci", "init", "--layout", layout)
    run("umoci", "new", "--image", f"{layout}:x")
    for number, layer in enumerate((BASE, TOP)):
        (tmp_path / f"{number}.tar").write_bytes(layer)
        run("umoci", "raw", "add-layer", "--image", f"{layout}:x", str(tmp_path / f"{number}.tar"))
    run("skopeo", "copy", "--dest-tls-verify=false", f"oci:{layout}:x", f"docker://{registry.host}/fsck/app:1")
    return pull_image(paths, Image(name=f"{registry.host}/fsck/app:1", access=Access(insecure=True)))


def test_what_was_just_pulled_is_whole(paths: Paths, image: Image) -> None:
    shown: list[str] = []
    assert find_damage(paths, show=shown.append) == []
    assert len([line for line in shown if line.startswith("layer ")]) == 2
    assert len([line for line in shown if line.startswith("blob ")]) == 4
    assert set(image.layers) == {digest_of(BASE), digest_of(TOP)} == observe_layers(paths)


def same_size_and_time(path: Path) -> None:
    """The content alone differs: size and times are as they were."""
    found = path.stat()
    path.write_bytes(b"C" + path.read_bytes()[1:])
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def swap_for_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


def break_link(path: Path) -> None:
    """The same file, but not the same inode."""
    copy = path.with_name("copy")
    shutil.copy2(path, copy)
    os.chown(copy, path.stat().st_uid, path.stat().st_gid)
    path.unlink()
    copy.rename(path)


def retime(path: Path) -> None:
    os.utime(path, ns=(0, 5))


TAMPERINGS: dict[str, tuple[int, str, Callable[[Path], object], str]] = {
    "a byte": (1, "big", same_size_and_time, "'big' has another content"),
    "a byte of a small file": (0, "etc/passwd", same_size_and_time, "'etc/passwd' has another content"),
    "a byte through a link": (0, "usr/lib/through", same_size_and_time, "'usr/lib/through' has another content"),
    "emptied": (1, "big", lambda path: os.truncate(path, 0), "'big' has another content"),
    "longer": (1, "big", lambda path: os.truncate(path, 10**6), "'big' has another content"),
    "removed": (0, "etc/passwd", Path.unlink, "'etc/passwd' is missing"),
    "added": (0, "etc/new", Path.touch, "'etc/new' is not of the layer"),
    "a directory added": (0, "etc/new", Path.mkdir, "'etc/new' is not of the layer"),
    "a link instead": (0, "etc/passwd", swap_for_link, "'etc/passwd' is of another kind"),
    "set-user-ID": (0, "etc/passwd", lambda path: path.chmod(0o4600), "'etc/passwd' has another mode or owner"),
    "another owner": (0, "etc/passwd", lambda path: os.chown(path, 0, 0), "'etc/passwd' has another mode or owner"),
    "a directory's mode": (0, "twice", lambda path: path.chmod(0o777), "'twice' has another mode or owner"),
    "an unnamed directory's mode": (0, "usr", lambda path: path.chmod(0o777), "'usr' has another mode or owner"),
    "another time": (0, "etc", retime, "'etc' has another time"),
    "a capability gone": (
        0,
        "bin/tool",
        lambda path: os.removexattr(path, "security.capability"),
        "'bin/tool' has other extended attributes",
    ),
    "a capability more": (
        0,
        "etc/passwd",
        lambda path: os.setxattr(path, "security.capability", CAPABILITY),
        "'etc/passwd' has other extended attributes",
    ),
    "a hard link broken": (0, "bin/same", break_link, "a file of its own"),
    "a whiteout gone": (1, "etc/passwd", Path.unlink, "'etc/passwd' is missing"),
    "opaque no more": (
        1,
        "opt",
        lambda path: os.removexattr(path, "trusted.overlay.opaque"),
        "'opt' is not opaque",
    ),
    "opaque by hand": (
        0,
        "etc",
        lambda path: os.setxattr(path, "trusted.overlay.opaque", b"y"),
        "'etc' is opaque",
    ),
    "a link that leads elsewhere": (
        0,
        "lib",
        lambda path: (path.unlink(), path.symlink_to("usr/evil"), os.utime(path, (0, 0), follow_symlinks=False)),
        "'lib' leads elsewhere",
    ),
    "another device": (
        0,
        "dev/full",
        lambda path: (path.unlink(), os.mknod(path, stat.S_IFCHR | 0o644, os.makedev(1, 1))),
        "'dev/full' is another device",
    ),
    "a FIFO for a file": (0, "etc/passwd", lambda path: (path.unlink(), os.mkfifo(path)), "is of another kind"),
    "a link for a directory": (
        0,
        "usr/lib/deep",
        lambda path: (path.rename(path.with_name("moved")), path.symlink_to("moved")),
        "'usr/lib/deep' is of another kind",
    ),
}


@pytest.mark.parametrize("what", TAMPERINGS)
def test_a_tampered_layer_is_found_and_fetched_again(paths: Paths, image: Image, what: str) -> None:
    number, name, tamper, told = TAMPERINGS[what]
    before = tree_of(paths.layer(image.layers[number]))
    tamper(Path(paths.layer(image.layers[number])) / name)
    [damage] = find_damage(paths)
    assert (damage.kind, damage.digest, damage.images) == ("layer", image.layers[number], (image.name,))
    assert told in damage.why
    # As the module does it, with verify: true.
    host = Host(paths)
    current = host.verify_image(image.name)
    assert current is not None and current.damaged == (image.layers[number],)
    wanted = replace(image, digest="")
    changes = list(plan_image(wanted, current))
    assert changes[0].before["damaged_layers"] == [image.layers[number]]
    host.apply(changes)
    assert find_damage(paths) == []
    assert tree_of(paths.layer(image.layers[number])) == before


def test_a_tampered_blob_is_found_and_fetched_again(paths: Paths, image: Image) -> None:
    store = Store(paths.images)
    manifest, _config = store.read_image(store.names()[image.name], image.name)
    blob = Path(store.blob_path(manifest.layers[1].digest))
    same_size_and_time(blob)
    [damage] = find_damage(paths)
    assert (damage.kind, damage.digest, damage.images) == ("blob", manifest.layers[1].digest, (image.name,))
    host = Host(paths)
    current = host.verify_image(image.name)
    assert current is not None and current.damaged == (image.layers[1],)
    host.apply(plan_image(replace(image, digest=""), current))
    assert find_damage(paths) == []


@pytest.mark.parametrize("which", ["manifest", "config"])
def test_a_tampered_document_is_found_and_fetched_again(paths: Paths, image: Image, which: str) -> None:
    store = Store(paths.images)
    manifest, _config = store.read_image(store.names()[image.name], image.name)
    same_size_and_time(Path(store.blob_path(image.digest if which == "manifest" else manifest.config.digest)))
    [damage] = find_damage(paths)
    assert (damage.kind, damage.why) == ("blob", "its content is not what its digest says")
    assert image.name not in observe_images(paths)
    host = Host(paths)
    with host.locked():
        assert host.repair([damage], access=image.access) == []
    assert find_damage(paths) == [] and observe_images(paths)[image.name].digest == image.digest
    assert list(store.names()) == [image.name]


@pytest.mark.parametrize("which", ["manifest", "config"])
def test_a_document_that_is_gone_is_found_and_fetched_again(paths: Paths, image: Image, which: str) -> None:
    store = Store(paths.images)
    manifest, _config = store.read_image(store.names()[image.name], image.name)
    digest = image.digest if which == "manifest" else manifest.config.digest
    os.unlink(store.blob_path(digest))
    [damage] = find_damage(paths)
    assert (damage.kind, damage.digest, damage.images) == ("blob", digest, (image.name,))
    host = Host(paths)
    with host.locked():
        assert host.repair([damage], access=image.access) == []
    assert find_damage(paths) == [] and observe_images(paths)[image.name].digest == image.digest


def test_a_repair_takes_away_what_is_damaged_and_nobodys(paths: Paths, image: Image) -> None:
    Path(paths.layer(image.layers[0]), "etc/new").touch()
    with write_store(paths) as store:
        garbage, whole = (store.put_blob("text/plain", content).digest for content in (b"garbage", b"whole"))
    same_size_and_time(Path(store.blob_path(garbage)))
    blobs = set(store.blobs())
    host = Host(paths)
    damage = find_damage(paths)
    assert sorted(item.kind for item in damage) == ["blob", "layer"]
    whole_ones = [damage[0]._replace(kind="blob", digest=digest) for digest in (image.digest, whole)]
    with host.locked():
        assert host.repair([*damage, *whole_ones]) == []
    assert set(store.blobs()) == blobs - {garbage} and observe_layers(paths) == set(image.layers)
    assert find_damage(paths) == [] and observe_images(paths)[image.name].missing == ()


def test_looking_writes_nothing(paths: Paths, image: Image) -> None:
    Path(paths.layer(image.layers[0]), "etc/passwd").unlink()
    before = tree_of(paths.root), tree_of(paths.run_root)
    assert find_damage(paths)
    assert (tree_of(paths.root), tree_of(paths.run_root)) == before


# What no name of an image leads to -----------------------------------------------------------------------


def one_layer(paths: Paths, name: str = "docker.io/library/site:1") -> Image:
    """An image that is made here: its layer is not compressed, so the blob has the layer's own digest."""
    recipe = Recipe(layers=(LayerSource(entries=(Entry("/a", b"x"), Entry("/b", b"y" * 5000))),))
    return assemble_image(paths, Image(name, recipe=recipe))


def test_the_blob_of_a_layer_that_is_not_compressed_is_read_too(paths: Paths) -> None:
    """One byte is changed alike in the blob and in what is unpacked of it."""
    made = one_layer(paths)
    blob = Path(Store(paths.images).blob_path(made.layers[0]))
    same = Path(paths.layer(made.layers[0]), "b")
    found = same.stat()
    blob.write_bytes(blob.read_bytes().replace(b"y" * 5000, b"z" + b"y" * 4999))
    same.write_bytes(b"z" + b"y" * 4999)
    os.utime(same, ns=(found.st_atime_ns, found.st_mtime_ns))
    for damage in (find_damage(paths), find_damage(paths, (made.name,))):
        assert [(item.kind, item.digest, item.images) for item in damage] == [("blob", made.layers[0], (made.name,))]
    current = Host(paths).verify_image(made.name)
    assert current is not None and current.damaged == made.layers


@pytest.mark.parametrize("who", ["the build cache", "a container", "an entry without a name"])
def test_the_layers_of_what_has_no_name_are_compared(paths: Paths, who: str) -> None:
    made = one_layer(paths)
    store = Store(paths.images)
    descriptor = store.names()[made.name]
    manifest, _config = store.read_image(descriptor, made.name)
    index = Path(paths.images, "index.json")
    entries = json.loads(index.read_text())
    if who == "the build cache":
        with write_store(paths):
            StepCache(paths).keep("step", Record((manifest.layers[0], made.layers[0]), ()), "RUN x")
    elif who == "a container":
        Path(paths.container("c")).mkdir(parents=True)
        definition = {"container": {"image_digest": made.digest}, "layers": [paths.layer(made.layers[0])]}
        Path(paths.container("c"), "container.json").write_text(json.dumps(definition))
    entries["manifests"] = [descriptor.to_json()] if who.startswith("an entry") else []
    index.write_text(json.dumps(entries))
    before = tree_of(paths.layer(made.layers[0]))
    same_size_and_time(Path(paths.layer(made.layers[0]), "b"))
    [damage] = find_damage(paths)
    assert (damage.kind, damage.digest, damage.images) == ("layer", made.layers[0], ())
    host = Host(paths)
    with host.locked():
        assert host.repair([damage]) == []
    assert find_damage(paths) == [] and tree_of(paths.layer(made.layers[0])) == before
