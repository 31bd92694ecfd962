# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Layers over one another are what umoci makes of them, which unpacks one after the other into one directory.

Some come more than once, as steps that change nothing or the same make them (WORKDIR, COPY): overlayfs takes no
directory twice. STOWAGE_FUZZ gives how many images of random layers to try.
"""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from random import Random

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.image.archive.load import load_images
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths

from .conftest import digest_of, layer_of, member, overlay_tree, run, tree_of

pytestmark = pytest.mark.root

DIR = tarfile.DIRTYPE
# All directories are named: one that is not has the attributes of nobody in a layer that is unpacked by itself.
LAYERS = {
    "_": layer_of(),
    "a": layer_of(
        member("d", DIR, mode=0o700), member("d/a"), member("p"), member(".wh.q"), member("o", DIR),
        member("o/.wh..wh..opq"), member("o/a"), member("s", DIR), member("s/deep", DIR), member("s/deep/a"),
        content=b"of a",
    ),
    "b": layer_of(
        member("d"), member("p", DIR), member("p/b"), member("q"), member("o", DIR), member("o/b"),
        member("s", DIR, mode=0o711), member("s/.wh.deep"), content=b"of b",
    ),
    "c": layer_of(
        member("d", DIR), member("d/c"), member("d/.wh.a"), member(".wh.p"), member("o", DIR, mode=0o750),
        member("o/c"), member("s", DIR), member("s/deep", DIR, mode=0o500), member("s/deep/c"), content=b"of c",
    ),
}  # fmt: skip


def demand_as_umoci_has_it(paths: Paths, directory: Path, layers: list[bytes]) -> None:
    layout, image = str(directory / "layout"), f"{directory / 'layout'}:x"
    run("umoci", "init", "--layout", layout)
    run("umoci", "new", "--image", image)
    for number, layer in enumerate(layers):
        (directory / f"{number}.tar").write_bytes(layer)
        run("umoci", "raw", "add-layer", "--image", image, str(directory / f"{number}.tar"))
    [loaded] = load_images(paths, layout, ["x:1"])
    assert loaded.layers == tuple(map(digest_of, layers))
    assert len(os.listdir(paths.layers)) == len(set(layers)), "each is unpacked once"
    run("umoci", "unpack", "--image", image, str(directory / "bundle"))
    assert overlay_tree(paths, loaded.layers, directory) == tree_of(directory / "bundle/rootfs")


@pytest.mark.parametrize("order", ["aa", "_a_", "a__b_", "aba", "bab", "abab", "cabac", "abcacb", "cbabcab"])
def test_layers_that_come_again(paths: Paths, tmp_path: Path, order: str) -> None:
    demand_as_umoci_has_it(paths, tmp_path, [LAYERS[name] for name in order])


KINDS = ("nothing", "nothing", "directory", "directory", "opaque", "anew", "file", "link", "pipe", "whiteout")


def random_layer(random: Random) -> bytes:
    """A layer in which each of three names, three levels deep, may be anything."""
    members: list[tarfile.TarInfo] = []

    def add(prefix: str, depth: int) -> None:
        for name in "abc":
            path, kind = prefix + name, random.choice(KINDS)
            if kind == "whiteout":
                members.append(member(f"{prefix}.wh.{name}"))
            elif kind == "file":
                members.append(member(path, mode=random.choice((0o600, 0o4755)), uid=random.randrange(3)))
            elif kind == "link":
                members.append(member(path, tarfile.SYMTYPE, linkname=random.choice(("a", "../b", "/c"))))
            elif kind == "pipe":
                members.append(member(path, tarfile.FIFOTYPE))
            elif kind != "nothing":
                members.extend([member(f"{prefix}.wh.{name}")] * (kind == "anew"))
                members.append(member(path, DIR, mode=random.choice((0o700, 0o1777))))
                members.extend([member(f"{path}/.wh..wh..opq")] * (kind == "opaque"))
                if depth < 2:
                    add(f"{path}/", depth + 1)

    add("", 0)
    return layer_of(*members, content=random.randbytes(1))


@pytest.mark.parametrize("seed", range(int(os.environ.get("STOWAGE_FUZZ", "25"))))
def test_layers_of_anything(paths: Paths, tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    pool = [random_layer(random) for _number in range(random.randint(2, 3))]
    demand_as_umoci_has_it(paths, tmp_path, random.choices(pool, k=random.randint(2, 5)))
