# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Layers on the real kernel: whiteouts as overlayfs has them, attributes kept, hostile archives kept inside."""

from __future__ import annotations

import io
import os
import shutil
import stat
import tarfile
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import (
    DigestMismatch,
    EngineError,
    InvalidImage,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.layer.budget import Budget
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.layer.directories import install_layers
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.layer.unpack import unpack_layer
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.store import write_store
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths

from .conftest import digest_of, layer_of, member, overlay_tree, tree_of

DIR, LINK, HARD, CHR, BLK, FIFO = (
    tarfile.DIRTYPE,
    tarfile.SYMTYPE,
    tarfile.LNKTYPE,
    tarfile.CHRTYPE,
    tarfile.BLKTYPE,
    tarfile.FIFOTYPE,
)
pytestmark = pytest.mark.root


def unpack(layer: bytes, target: Path, **options: Budget) -> Path:
    unpack_layer(io.BytesIO(layer), str(target), digest_of(layer), **options)
    return Path(f"{target}.partial")


def install(paths: Paths, *layers: bytes) -> list[str]:
    with write_store(paths) as store:
        install_layers(paths, store, [(store.put_blob("", layer), digest_of(layer)) for layer in layers])
    return [digest_of(layer) for layer in layers]


def test_every_attribute_is_kept(tmp_path: Path) -> None:
    capability = bytes.fromhex("0100000200040000000000000000000000000000")  # cap_net_bind_service=ep, revision 2
    layer = layer_of(
        member("d", DIR, mode=0o1777, mtime=1000000000),
        member("d/setuid", mode=0o4755, uid=12, gid=34),
        member("d/time", pax_headers={"mtime": "1700000000.123456789"}),
        member(
            "d/cap", pax_headers={"SCHILY.xattr.security.capability": capability.decode("utf-8", "surrogateescape")}
        ),
        member("d/user", pax_headers={"SCHILY.xattr.user.note": "x", "SCHILY.xattr.trusted.overlay.redirect": "/etc"}),
        member("link", LINK, linkname="/d/../../../target", uid=7, mtime=5),
        member("hard", HARD, linkname="d/setuid"),
        member("hardlink-to-link", HARD, linkname="link"),
        member("null", CHR, devmajor=1, devminor=3, mode=0o666),
        member("loop", BLK, devmajor=7, devminor=0),
        member("pipe", FIFO),
    )
    root = unpack(layer, tmp_path / "layer")
    assert stat.S_IMODE(os.lstat(root / "d").st_mode) == 0o1777
    assert os.lstat(root / "d").st_mtime == 1000000000
    setuid = os.lstat(root / "d/setuid")
    assert (stat.S_IMODE(setuid.st_mode), setuid.st_uid, setuid.st_gid, setuid.st_nlink) == (0o4755, 12, 34, 2)
    assert os.lstat(root / "d/time").st_mtime_ns == 1700000000123456789
    assert os.getxattr(root / "d/cap", "security.capability") == capability
    assert os.listxattr(root / "d/user") == ["user.note"]
    assert (os.readlink(root / "link"), os.lstat(root / "link").st_uid) == ("/d/../../../target", 7)
    assert stat.S_ISLNK(os.lstat(root / "hardlink-to-link").st_mode)
    assert os.lstat(root / "null").st_rdev == os.makedev(1, 3)
    assert stat.S_ISBLK(os.lstat(root / "loop").st_mode) and stat.S_ISFIFO(os.lstat(root / "pipe").st_mode)
    assert stat.S_IMODE(os.lstat(root).st_mode) == 0o755


def test_whiteouts_and_opaque_directories_hide_what_is_below(paths: Paths, tmp_path: Path) -> None:
    layers = install(
        paths,
        layer_of(
            *(member(name) for name in ("a/gone", "a/kept", "b/gone", "c/gone", "e/gone", "f/gone", "g/gone", "file"))
        ),
        layer_of(
            member("a/.wh.gone"),
            member("b", DIR),
            member("b/.wh..wh..opq"),
            member("b/new"),
            member(".wh.c"),
            member("d"),
            member(".wh.d"),
            # A whiteout and the name itself in one layer: the name stays, and hides what is below.
            member(".wh.e"),
            member("e/new"),
            member("f/new"),
            member(".wh.f"),
            member(".wh.g"),
            member("g", DIR),
            member("g/new"),
            member(".wh.file"),
            member("file", DIR),
        ),
    )
    assert set(overlay_tree(paths, layers, tmp_path)) == {
        *("a", "a/kept", "b", "b/new", "d", "e", "e/new", "f", "f/new", "g", "g/new", "file"),
    }


def test_an_opaque_root_hides_every_layer_below(paths: Paths, tmp_path: Path) -> None:
    layers = install(paths, layer_of(member("old")), layer_of(member(".wh..wh..opq"), member("new")))
    assert set(overlay_tree(paths, layers, tmp_path)) == {"new"}


def test_what_is_named_twice_is_the_last_of_them(tmp_path: Path) -> None:
    layer = layer_of(
        *(member("a", DIR), member("a/b"), member("a"), member("c"), member("c", DIR), member("c/d")),
        *(
            member("e", LINK, linkname="c"),
            member("e", DIR),
            member("e/f"),
            member("g"),
            member("g", HARD, linkname="a"),
        ),
        *(member("h", DIR, mode=0o700), member("h/i"), member("h", DIR, mode=0o711)),
    )
    found = tree_of(unpack(layer, tmp_path / "layer"))
    assert set(found) == {"a", "c", "c/d", "e", "e/f", "g", "h", "h/i"}
    assert found["h"][0] == oct(stat.S_IFDIR | 0o711)
    assert found["a"][0] == oct(stat.S_IFREG | 0o644)


def test_a_path_through_a_link_of_the_layer_stays_in_the_layer(tmp_path: Path) -> None:
    layer = layer_of(
        *(member("usr/bin", DIR), member("bin", LINK, linkname="usr/bin"), member("bin/sh")),
        *(member("abs", LINK, linkname="/usr/bin"), member("abs/ls"), member("up", LINK, linkname="../../..")),
        *(member("up/top"), member("far", LINK, linkname="/../../tmp/far"), member("far/file")),
    )
    root = unpack(layer, tmp_path / "layer")
    assert {"usr/bin/sh", "usr/bin/ls", "top", "tmp/far/file"} <= set(tree_of(root))
    assert not os.path.lexists("/tmp/far")


OUT = "stowage-hostile"
HOSTILE = {
    "dotdot": [member(f"../{OUT}")],
    "dotdot-inside": [member(f"a/../../{OUT}")],
    "dotdot-directory": [member("..", DIR, mode=0o777)],
    "absolute": [member(f"/{OUT}")],
    "absolute-many": [member(f"//../{OUT}")],
    "link-then-file": [member("x", LINK, linkname="/"), member(f"x/{OUT}")],
    "link-up-then-file": [member("x", LINK, linkname="../../../.."), member(f"x/{OUT}")],
    "link-chain": [member("x", LINK, linkname=".."), member("y", LINK, linkname="x/.."), member(f"y/{OUT}")],
    "link-to-file-then-write": [member("x", LINK, linkname="../secret"), member("x")],
    "link-to-directory-then-mode": [member("x", LINK, linkname=".."), member("x", DIR, mode=0o777)],
    "link-loop": [member("x", LINK, linkname="y"), member("y", LINK, linkname="x"), member(f"x/{OUT}")],
    "link-proc": [member("x", LINK, linkname="/proc/self/cwd"), member(f"x/{OUT}")],
    "hard-out": [member("x", HARD, linkname="../secret"), member("x")],
    "hard-absolute": [member("x", HARD, linkname="/etc/hostname")],
    "hard-through-link": [member("l", LINK, linkname="../.."), member("x", HARD, linkname="l/secret")],
    "hard-to-link-then-write": [
        *(member("l", LINK, linkname="../secret"), member("x", HARD, linkname="l"), member("x")),
    ],
    "hard-to-directory": [member("d", DIR), member("x", HARD, linkname="d")],
    "hard-to-self": [member("x"), member("x", HARD, linkname="x")],
    "whiteout-out": [member("../.wh.secret")],
    "whiteout-dotdot": [member("d/.wh..."), member(".wh..."), member(".wh..")],
    "whiteout-through-link": [member("x", LINK, linkname="../.."), member("x/.wh.secret")],
    "opaque-out": [member("x", LINK, linkname="../.."), member("x/.wh..wh..opq")],
    "opaque-on-link": [member("x", LINK, linkname="../.."), member(".wh.x")],
    "file-as-directory": [member("x"), member(f"x/{OUT}")],
    "device-as-directory": [member("x", CHR, devmajor=1, devminor=3), member(f"x/{OUT}")],
    "device-then-file": [member("x", BLK, devmajor=7, devminor=0), member("x")],
    "device-link": [member("x", LINK, linkname="/dev/null"), member("x", CHR, devmajor=1, devminor=3)],
    "root-as-file": [member("."), member("/"), member("./")],
    "root-as-link": [member(".", LINK, linkname="/"), member(f"./{OUT}")],
    "empty-name": [member("")],
    "pax-path": [member("fine", pax_headers={"path": f"../{OUT}"})],
    "pax-linkpath": [member("x", HARD, linkname="y", pax_headers={"linkpath": "../secret"}), member("x")],
    "xattr-on-link": [
        *(member("x", LINK, linkname="../secret", pax_headers={"SCHILY.xattr.user.evil": "1"}),),
    ],
    "deep": [member("d/" * 1500 + OUT)],
    "long-name": [member("n" * 300)],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_layers_touch_nothing_outside(name: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    layers = tmp_path / "layers"
    layers.mkdir()
    (layers / "secret").write_text("secret")
    before = tree_of(tmp_path), os.lstat(secret), os.lstat(tmp_path).st_mode, set(os.listdir("/")), set(os.listdir("."))
    layer = layer_of(*HOSTILE[name], content=b"evil")
    partial = layers / "layer.partial"
    try:
        unpack(layer, layers / "layer")
    except EngineError as error:
        assert "layer" in str(error)
        assert not os.path.lexists(partial)
    else:
        inside = {os.lstat(path).st_ino for path, *_rest in os.walk(partial)}
        assert os.lstat(secret).st_ino not in inside
        shutil.rmtree(partial)
    after = tree_of(tmp_path), os.lstat(secret), os.lstat(tmp_path).st_mode, set(os.listdir("/")), set(os.listdir("."))
    assert after[0] == before[0]
    assert (after[1].st_nlink, after[1].st_ctime_ns) == (before[1].st_nlink, before[1].st_ctime_ns)
    assert after[2:] == before[2:]


REFUSED = [
    *("dotdot", "dotdot-inside", "dotdot-directory", "absolute-many", "link-loop", "hard-out", "hard-absolute"),
    *("hard-through-link", "hard-to-directory", "whiteout-out", "whiteout-dotdot", "file-as-directory"),
    *("device-as-directory", "pax-path", "deep"),
]


@pytest.mark.parametrize("name", REFUSED)
def test_hostile_layers_that_cannot_be_meant_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidImage, match=r"layer sha256:"):
        unpack(layer_of(*HOSTILE[name]), tmp_path / "layer")


def test_a_layer_that_is_not_its_diff_id_is_refused(tmp_path: Path) -> None:
    layer = layer_of(member("x"))
    with pytest.raises(DigestMismatch, match=digest_of(b"")):
        unpack_layer(io.BytesIO(layer), str(tmp_path / "layer"), digest_of(b""))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("budget", [Budget(size=4096), Budget(entries=3)])
def test_a_layer_over_its_budget_is_refused(budget: Budget, tmp_path: Path) -> None:
    layer = layer_of(*(member(str(number)) for number in range(4)), content=b"x" * 2000)
    with pytest.raises(InvalidImage, match=r"more than"):
        unpack(layer, tmp_path / "layer", budget=budget)
    assert os.listdir(tmp_path) == []


def test_names_are_bytes(tmp_path: Path) -> None:
    layer = layer_of(member("caf\udce9"), member("日本/x"))
    root = unpack(layer, tmp_path / "layer")
    assert b"caf\xe9" in os.listdir(os.fsencode(root))
    assert (root / "日本" / "x").exists()
