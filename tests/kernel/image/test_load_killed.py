# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Loads, and sweeps, that are killed at any file operation or run out of disk: the next run uses the store."""

from __future__ import annotations

import mmap
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import KernelError
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.archive.load import load_images
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.gc import observe_garbage, sweep
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.observe import observe_images
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.store import Store, write_store
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.libc import check, libc
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.mount import MS_PRIVATE, MS_REC, mount
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.prune import Garbage
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths

from .conftest import CLONE_NEWNS, Tree, in_child, layer_of, member
from .test_archive_hostile import oci, tar_of

pytestmark = pytest.mark.root

NAME = "docker.io/library/bad:1"


def archive_in(directory: Path, size: int = 20) -> str:
    layer = layer_of(member("d/a"), member("d/b"), member("c"), content=os.urandom(size))
    (directory / "image.tar").write_bytes(tar_of(oci(layer)))
    return str(directory / "image.tar")


def killed(act: Callable[[], object], at: int) -> bool:
    """Whether ``act``, in a child, came to its ``at``-th file operation, where the child and its workers are killed."""
    pid = os.fork()
    if pid == 0:
        child, count = os.getpid(), memoryview(mmap.mmap(-1, 8)).cast("q")

        def hook(event: str, _arguments: tuple[object, ...]) -> None:
            if event == "open" or event.startswith(("os.", "shutil.", "fcntl.")):
                count[0] += 1
                if count[0] == at:
                    os.kill(child, signal.SIGKILL)

        sys.addaudithook(hook)
        status = 1
        try:
            act()
            status = 0
        finally:
            os._exit(status)
    status = os.waitpid(pid, 0)[1]
    assert os.WIFSIGNALED(status) or status == 0
    return os.WIFSIGNALED(status)


def left_over(paths: Paths) -> list[str]:
    """What only a killed run can have left."""
    found = [name for name in os.listdir(paths.layers) if name.endswith(".partial")]
    found += os.listdir(os.path.join(paths.images, ".partial"))
    for place in (paths.content_locks, paths.pins):
        found += os.listdir(place) if os.path.exists(place) else []
    return found


def test_a_load_that_is_killed_is_healed_by_the_next(tmp_path: Path) -> None:
    path = archive_in(tmp_path)
    for at in range(1, 1000):
        paths = Paths(str(tmp_path / str(at)), str(tmp_path / f"run{at}"))
        if not killed(lambda paths=paths: load_images(paths, path), at):
            break
        [image] = load_images(paths, path)
        assert observe_images(paths)[NAME].missing == ()
        assert sorted(os.listdir(paths.layer(image.layers[0]))) == ["c", "d"], at
        sweep(paths)
        assert left_over(paths) == [] and observe_garbage(paths) == Garbage(), at
    assert at > 60


def test_a_sweep_that_is_killed_is_healed_by_the_next(tmp_path: Path) -> None:
    path = archive_in(tmp_path)
    paths = Paths(str(tmp_path / "lib"), str(tmp_path / "run"))
    for at in range(1, 1000):
        load_images(paths, path)
        with write_store(paths) as store:
            store.untag(NAME)
        if not killed(lambda: sweep(paths), at):
            break
        sweep(paths)
        assert left_over(paths) == [] and os.listdir(paths.layers) == [] and Store(paths.images).blobs() == [], at
    assert at > 20


@pytest.mark.parametrize("room", ["300k", "1500k", "2600k"])
def test_a_load_on_a_full_disk_stores_nothing(tmp_path: Path, room: str) -> None:
    """There is room for nothing much, for the documents and half a layer's blob, and for the blob alone."""
    path = archive_in(tmp_path, size=600 << 10)
    paths = Paths(str(tmp_path / "lib"), str(tmp_path / "run"))
    os.makedirs(paths.root)

    def fill() -> Tree:
        check(libc().unshare(CLONE_NEWNS))
        mount("none", "/", "", MS_REC | MS_PRIVATE)
        mount("tmpfs", paths.root, "tmpfs", 0, f"size={room}")
        with pytest.raises(KernelError, match=r"No space left on device"):
            load_images(paths, path)
        assert observe_images(paths) == {} and left_over(paths) == []
        assert Store(paths.images).blobs() == [] and os.listdir(paths.layers) == []
        mount("tmpfs", paths.root, "tmpfs", 32, "size=16m")  # MS_REMOUNT: somebody has made room
        load_images(paths, path)
        assert observe_images(paths)[NAME].missing == ()
        return {}

    assert in_child(fill) == {}
