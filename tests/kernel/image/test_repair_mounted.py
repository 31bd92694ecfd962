# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Repairs hurt nobody who runs on a layer: it stays where it is mounted, and goes with the sweep after that."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.image.fsck import find_damage
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.gc import observe_garbage, sweep
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.layer.directories import observe_layers
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.mount import (
    MS_BIND,
    mount,
    mount_overlay,
    umount2,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.image import Image
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.prune import Garbage
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths

from .conftest import tree_of
from .faulty import FaultyRegistry
from .test_repair import DIFF_ID, pulled, tamper, verified

pytestmark = pytest.mark.root


@pytest.fixture
def image(paths: Paths, faulty: FaultyRegistry) -> Image:
    return pulled(paths, faulty)


@pytest.fixture
def mounted(paths: Paths, image: Image) -> Iterator[Callable[..., Path]]:
    """Mount an overlay of the layer, with its path or with a descriptor's number (mount_overlay())."""
    place = Path(f"/dev/shm/stowage-repair-{os.getpid()}")
    roots: list[Path] = []

    def make(*, names: str = "path") -> Path:
        root, upper, work, low = (place / f"{len(roots)}" / name for name in ("root", "upper", "work", "low"))
        for directory in (root, upper, work, low):
            directory.mkdir(parents=True)
        layer = paths.layer(DIFF_ID)
        before = os.getcwd()
        if names == "relative":
            os.chdir(paths.layers)
            layer = os.path.basename(layer)
        elif names == "number":
            os.chdir("/proc/self/fd")
            layer, low = (str(os.open(path, os.O_PATH | os.O_DIRECTORY)) for path in (layer, low))  # type: ignore[assignment]
        try:
            mount_overlay(str(root), lower=[layer, str(low)], upper=str(upper), work=str(work))
        finally:
            os.chdir(before)
            if names == "number":
                os.close(int(layer)), os.close(int(str(low)))
        roots.append(root)
        return root

    yield make
    for root in roots:
        with contextlib.suppress(OSError):  # the test has done it
            umount2(str(root), 2)
    shutil.rmtree(place, ignore_errors=True)


@pytest.mark.parametrize("names", ["path", "relative", "number"])
def test_what_has_the_layer_mounted_keeps_it(
    paths: Paths, image: Image, mounted: Callable[..., Path], names: str
) -> None:
    root = mounted(names=names)
    before = tree_of(root)
    Path(paths.layer(DIFF_ID), "etc/tampered").touch()
    verified(paths, image)
    assert find_damage(paths) == [] and observe_layers(paths) == {DIFF_ID}
    assert {"bin/sh", "etc/conf"} <= set(tree_of(root)) and (root / "bin/sh").read_bytes() == b"content"
    assert {key: value for key, value in tree_of(root).items() if key != "etc/tampered"} == before
    # A sweep, and another container of the layer, leave it; the next sweep takes it once it is mounted no more.
    later = mounted(names=names)
    assert observe_garbage(paths) == Garbage() == sweep(paths)
    assert (root / "bin/sh").read_bytes() == b"content" and len(os.listdir(paths.layers)) == 2
    umount2(str(root), 0)
    assert observe_garbage(paths) == Garbage(layers=(DIFF_ID,)) == sweep(paths)  # image_prune tells, and does it
    assert os.listdir(paths.layers) == [os.path.basename(paths.layer(DIFF_ID))]
    assert not (later / "etc/tampered").exists() and (later / "bin/sh").read_bytes() == b"content"


def test_what_another_mount_namespace_has_mounted_is_kept(
    paths: Paths, image: Image, mounted: Callable[..., Path]
) -> None:
    root = mounted()
    told = "mount --make-rprivate / && echo ready && read line"
    child = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", told], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout and child.stdin and child.stdout.readline() == "ready\n"
        umount2(str(root), 0)
        tamper(paths)
        verified(paths, image)
        found = Path(f"/proc/{child.pid}/root{root}", "bin/sh")
        assert found.read_bytes() == b"content"
        child.stdin.close()
        child.wait(10)
        sweep(paths)
        assert os.listdir(paths.layers) == [os.path.basename(paths.layer(DIFF_ID))]
    finally:
        child.kill()
        child.wait()


def test_what_a_bind_mount_has_is_kept(paths: Paths, image: Image, mounted: Callable[..., Path]) -> None:
    """As containers with their own user ids have a layer: idmapped, and in an overlay that names only its place."""
    root = mounted()
    umount2(str(root), 0)
    mount(paths.layer(DIFF_ID), str(root), flags=MS_BIND)
    tamper(paths)
    verified(paths, image)
    sweep(paths)
    assert (root / "bin/sh").read_bytes() == b"content" and (root / "etc/conf").read_bytes() == b"evil"
    umount2(str(root), 0)
    sweep(paths)
    assert os.listdir(paths.layers) == [os.path.basename(paths.layer(DIFF_ID))]


def test_what_a_killed_repair_leaves_is_kept_too(paths: Paths, image: Image, mounted: Callable[..., Path]) -> None:
    """Killed before it is written down who has it: whoever may have it, does."""
    root = mounted()
    tamper(paths)
    verified(paths, image)
    [aside] = Path(paths.layers).glob("*.replaced-*")
    (aside / "overlays").unlink()
    sweep(paths)
    assert (root / "bin/sh").read_bytes() == b"content" and observe_layers(paths) == {DIFF_ID}
    umount2(str(root), 0)
    # Killed before the two changed places, and before there was anything: nothing but leftovers.
    shutil.copytree(paths.layer(DIFF_ID), paths.layer(DIFF_ID) + ".replaced-1/layer")
    os.mkdir(paths.layer(DIFF_ID) + ".replaced-2")
    sweep(paths)
    assert os.listdir(paths.layers) == [os.path.basename(paths.layer(DIFF_ID))] and find_damage(paths) == []


def test_what_nobody_has_mounted_goes_at_once(paths: Paths, image: Image) -> None:
    tamper(paths)
    verified(paths, image)
    assert os.listdir(paths.layers) == [os.path.basename(paths.layer(DIFF_ID))]
