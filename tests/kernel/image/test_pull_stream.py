# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pulls that are broken off, killed, short of disk, many at once, or swept beside: the next run uses what there is."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import (
    EngineError,
    InvalidImage,
    KernelError,
    RegistryError,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.gc import observe_garbage, sweep
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.observe import observe_images
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.pull import pull_image
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.store import Store
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.mount import mount
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.image import Image
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.prune import Garbage
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.registry import Access
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths
from tests.waiting import wait_for

from .conftest import digest_of, layer_of, member, run
from .faulty import FaultyRegistry, Handler, broken, status

pytestmark = pytest.mark.root

SIZE = 3_000_000
NOISE = random.Random(1).randbytes(3 * SIZE)
LAYERS = [layer_of(member(f"file{n}"), content=NOISE[n * SIZE : (n + 1) * SIZE]) for n in range(3)]


def image(faulty: FaultyRegistry, name: str = "1") -> Image:
    return Image(name=f"{faulty.host}/app:{name}", access=Access(insecure=True))


def asked_for(faulty: FaultyRegistry, digest: str) -> list[str]:
    """The Range header of each request for a blob."""
    return [asked.headers.get("Range", "") for asked in faulty.asked if asked.path.endswith(digest)]


def start(paths: Paths, wanted: Image) -> int:
    """Pull in a process of its own; its status is 0 if that went well."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            pull_image(paths, wanted)
            code = 0
        finally:
            os._exit(code)
    return pid


def is_whole(paths: Paths, wanted: Image) -> None:
    """The image is there, and nothing is left that nobody uses."""
    found = observe_images(paths)[wanted.name]
    assert found.missing == ()
    for number, diff_id in enumerate(found.layers):
        content = Path(paths.layer(diff_id), f"file{number}").read_bytes()
        assert content == NOISE[number * SIZE : (number + 1) * SIZE]
    assert observe_garbage(paths) == Garbage()
    assert [name for name in os.listdir(paths.layers) if "partial" in name] == []
    assert os.listdir(os.path.join(paths.images, ".partial")) == []
    assert os.listdir(paths.content_locks) == [] and os.listdir(paths.pins) == []


def break_off(faulty: FaultyRegistry, layer: bytes, at: int) -> None:
    """The layer's transfer ends after ``at`` bytes, and is refused from then on."""
    faulty.fault("GET", digest_of(layer), broken(most=at))
    faulty.fault("GET", digest_of(layer), status(403))


def halting(content: bytes, go: threading.Event) -> Callable[[Handler], None]:
    """A good answer with a blob, of which the second half comes once ``go`` is set."""

    def act(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[: len(content) // 2])
        handler.wfile.flush()
        go.wait(20)
        handler.wfile.write(content[len(content) // 2 :])

    return act


def test_the_next_run_goes_on_where_the_connection_broke(paths: Paths, faulty: FaultyRegistry) -> None:
    faulty.put_image("1", LAYERS[0])
    break_off(faulty, LAYERS[0], 1_000_000)
    with pytest.raises(RegistryError):
        pull_image(paths, image(faulty))
    assert os.listdir(paths.layers) == [] and observe_images(paths) == {}
    store = Store(paths.images)
    came = os.path.getsize(store.partial_path(digest_of(LAYERS[0])))
    assert 0 < came <= 1_000_000 and store.partial_blobs() == [digest_of(LAYERS[0])]
    faulty.asked.clear()
    pull_image(paths, image(faulty))
    assert asked_for(faulty, digest_of(LAYERS[0])) == [f"bytes={came}-"]
    is_whole(paths, image(faulty))


@pytest.mark.parametrize("size", [1_000_000, len(LAYERS[0]), len(LAYERS[0]) + 5])
def test_a_partial_blob_that_is_wrong_is_fetched_anew_once(paths: Paths, faulty: FaultyRegistry, size: int) -> None:
    faulty.put_image("1", LAYERS[0])
    break_off(faulty, LAYERS[0], 100_000)
    with pytest.raises(RegistryError):
        pull_image(paths, image(faulty))
    Path(Store(paths.images).partial_path(digest_of(LAYERS[0]))).write_bytes(bytes(size))
    faulty.asked.clear()
    lines: list[str] = []
    pull_image(paths, image(faulty), lines.append)
    assert asked_for(faulty, digest_of(LAYERS[0]))[-1] == ""
    assert f": {len(LAYERS[0]) / 1e6:.1f} MB in " in lines[-1]  # what was dropped does not count
    is_whole(paths, image(faulty))


def test_a_layer_is_unpacked_while_it_comes(paths: Paths, faulty: FaultyRegistry) -> None:
    faulty.put_image("1", LAYERS[0])
    go = threading.Event()
    faulty.fault("GET", digest_of(LAYERS[0]), halting(LAYERS[0], go))
    pid = start(paths, image(faulty))
    growing = Path(paths.layer(digest_of(LAYERS[0])) + ".partial", "file0")
    try:
        wait_for(lambda: growing.exists() and growing.stat().st_size > SIZE // 3)
        assert not os.path.exists(Store(paths.images).blob_path(digest_of(LAYERS[0])))
    finally:
        go.set()
    assert os.waitpid(pid, 0)[1] == 0
    is_whole(paths, image(faulty))


def test_a_hostile_layer_ends_the_transfer_early(paths: Paths, faulty: FaultyRegistry) -> None:
    layer = layer_of(member("../out"), *(member(str(n)) for n in range(20)), content=NOISE[:SIZE])
    faulty.put_image("1", layer)
    faulty.fault("GET", digest_of(layer), broken(pace=0.00001))
    started = time.monotonic()
    with pytest.raises(InvalidImage, match="points out of it"):
        pull_image(paths, image(faulty))
    assert time.monotonic() - started < 20
    assert os.listdir(paths.layers) == [] and os.listdir(os.path.join(paths.images, ".partial")) == []


def test_many_runs_pull_one_image_and_one_of_them_fetches_it(paths: Paths, faulty: FaultyRegistry) -> None:
    faulty.put_image("1", *LAYERS)
    pids = [start(paths, image(faulty)) for _number in range(5)]
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 5
    assert [len(asked_for(faulty, digest_of(layer))) for layer in LAYERS] == [1, 1, 1]
    is_whole(paths, image(faulty))


def test_images_that_share_layers_are_pulled_at_the_same_time(paths: Paths, faulty: FaultyRegistry) -> None:
    orders = [(0, 1, 2), (2, 1, 0), (1, 0, 2), (2, 0, 1)]
    for number, order in enumerate(orders):
        faulty.put_image(str(number), *(LAYERS[n] for n in order))
    pids = [start(paths, image(faulty, str(number))) for number in range(len(orders))]
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * len(orders)
    assert [len(asked_for(faulty, digest_of(layer))) for layer in LAYERS] == [1, 1, 1]
    assert len(observe_images(paths)) == len(orders) and observe_garbage(paths) == Garbage()


def test_a_sweep_keeps_what_a_running_pull_needs(paths: Paths, faulty: FaultyRegistry) -> None:
    faulty.put_image("1", *LAYERS)
    faulty.put_image("old", LAYERS[0])
    pull_image(paths, image(faulty, "old"))
    with_old = set(Store(paths.images).blobs())
    go = threading.Event()
    faulty.fault("GET", digest_of(LAYERS[2]), halting(LAYERS[2], go))
    pid = start(paths, image(faulty))
    try:
        wait_for(lambda: digest_of(LAYERS[1]) in Store(paths.images).blobs())
        # Nobody else needs any of it now: the first layer is the pull's alone.
        Store(paths.images).untag(image(faulty, "old").name)
        gone = sweep(paths)
    finally:
        go.set()
    assert gone.blobs and set(gone.blobs) < with_old and gone.layers == ()
    assert os.waitpid(pid, 0)[1] == 0
    is_whole(paths, image(faulty))


def test_a_kill_at_any_moment_is_healed_by_the_next_run(paths: Paths, faulty: FaultyRegistry) -> None:
    layers = [gzip.compress(layer, 1) for layer in LAYERS]
    diff_ids = {"rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in LAYERS]}}
    faulty.put_image("1", *layers, config=diff_ids)
    began = time.monotonic()
    assert os.waitpid(start(paths, image(faulty)), 0)[1] == 0
    whole = time.monotonic() - began
    numbers = random.Random(2)
    killed = 0
    for _round in range(8):
        shutil.rmtree(paths.root)
        for _kill in range(2):
            pid = start(paths, image(faulty))
            time.sleep(numbers.uniform(0, whole))
            os.kill(pid, signal.SIGKILL)
            killed += os.waitpid(pid, 0)[1] == signal.SIGKILL
            assert set(observe_images(paths)) <= {image(faulty).name}
        pull_image(paths, image(faulty))
        sweep(paths)  # a kill between two names may leave a pin
        is_whole(paths, image(faulty))
    assert killed > 3


def test_workers_end_with_the_run_that_started_them(paths: Paths, faulty: FaultyRegistry) -> None:
    faulty.put_image("1", *LAYERS)
    go = threading.Event()
    for layer in LAYERS:
        faulty.fault("GET", digest_of(layer), halting(layer, go))
    pid = start(paths, image(faulty))

    def workers() -> list[str]:
        children = children_of(str(pid))
        return [*children, *(worker for child in children for worker in children_of(child))]

    wait_for(lambda: len(workers()) == 6)  # three that fetch, with one each that unpacks
    there = workers()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    wait_for(lambda: not any(os.path.exists(f"/proc/{worker}") for worker in there))
    go.set()


def children_of(pid: str) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[tuple[Paths, Path]]:
    """Paths on a tmpfs of 8 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount("tmpfs", str(disk), "tmpfs", 0, "size=8m")
    yield Paths(str(disk / "lib"), str(tmp_path / "run")), disk
    run("umount", str(disk))


@pytest.mark.parametrize("free", [1_000_000, 2_500_000, 3_500_000, 4_500_000, 5_500_000])
def test_a_full_disk_is_told_and_leaves_room_for_the_next_run(
    small: tuple[Paths, Path], faulty: FaultyRegistry, free: int
) -> None:
    paths, disk = small
    faulty.put_image("1", LAYERS[0])
    there = os.statvfs(disk)
    filler = disk / "filler"
    filler.write_bytes(bytes(there.f_bavail * there.f_bsize - free))
    with pytest.raises(KernelError, match="No space left"):
        pull_image(paths, image(faulty))
    assert observe_images(paths) == {} and os.listdir(paths.layers) == []
    assert os.listdir(os.path.join(paths.images, ".partial")) == []
    filler.unlink()
    pull_image(paths, image(faulty))
    is_whole(paths, image(faulty))


def test_a_pull_tells_how_far_it_is(paths: Paths, faulty: FaultyRegistry) -> None:
    faulty.put_image("1", *LAYERS)
    go = threading.Event()
    faulty.fault("GET", digest_of(LAYERS[0]), halting(LAYERS[0], go))
    threading.Timer(1, go.set).start()
    lines: list[str] = []
    pull_image(paths, image(faulty), lines.append)
    total = sum(map(len, LAYERS)) / 1e6
    assert len(lines) > 2 and lines[-1].startswith(f"pulling {image(faulty).name}: {total:.1f} MB in ")
    assert all(f" of {total:.1f} MB (" in line for line in lines[:-1])


def test_an_error_of_one_layer_ends_the_others(paths: Paths, faulty: FaultyRegistry) -> None:
    faulty.put_image("1", *LAYERS)
    faulty.fault("GET", digest_of(LAYERS[1]), status(404))
    faulty.fault("GET", digest_of(LAYERS[0]), broken(pace=0.01))
    with pytest.raises(EngineError, match="status 404"):
        pull_image(paths, image(faulty))
    assert os.listdir(paths.layers) == [] and observe_images(paths) == {}
