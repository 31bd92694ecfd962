# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the controller holds for hosts: fetched once, several blobs at a time, and not for ever."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.depot import Depot, Source
from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import RegistryError
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.store import Store
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.registry import Access
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.transfer import Offer

from .conftest import digest_of, layer_of, member
from .faulty import FaultyRegistry, Handler
from .test_pull_stream import LAYERS, asked_for, break_off

DIGESTS = [digest_of(layer) for layer in LAYERS]
DAY = 86_400


@pytest.fixture
def faulty() -> Iterator[FaultyRegistry]:
    with FaultyRegistry() as registry:
        registry.put_image("1", *LAYERS)
        yield registry


def source_of(faulty: FaultyRegistry, tag: str = "1", *, keep: bool = True) -> Source:
    return Source(f"{faulty.host}/app:{tag}", Access(insecure=True), platform="linux/amd64", keep=keep)


def offer(depot: Depot, source: Source) -> Offer:
    return depot.offer(source, lambda: "x86_64")


def store_of(root: Path) -> Store:
    return Store(str(root / "images"))


def grow_older(root: Path, days: int, digests: list[str]) -> None:
    for digest in digests:
        os.utime(store_of(root).blob_path(digest), (time.time() - days * DAY,) * 2)


def test_a_blob_that_comes_twice_in_an_image_is_fetched_once(tmp_path: Path, faulty: FaultyRegistry) -> None:
    faulty.put_image("twice", LAYERS[0], LAYERS[0])
    depot, source = Depot(str(tmp_path)), source_of(faulty, "twice")
    files = depot.hold(source, offer(depot, source), DIGESTS[:1])
    assert Path(files[DIGESTS[0]]).read_bytes() == LAYERS[0]
    assert asked_for(faulty, DIGESTS[0]) == [""]


def test_blobs_are_fetched_side_by_side(tmp_path: Path, faulty: FaultyRegistry) -> None:
    """The registry answers the first blob only once all three have been asked for."""

    def wait_for_the_others(handler: Handler) -> None:
        end = time.monotonic() + 20
        while len({asked.path for asked in faulty.asked if asked.path.endswith(tuple(DIGESTS))}) < len(DIGESTS):
            assert time.monotonic() < end
            time.sleep(0.01)
        handler.serve()

    faulty.fault("GET", "/blobs/", Handler.serve)  # the configuration
    for digest in DIGESTS:
        faulty.fault("GET", digest, wait_for_the_others)
    depot, source = Depot(str(tmp_path)), source_of(faulty)
    shown: list[str] = []
    files = depot.hold(source, offer(depot, source), DIGESTS, show=shown.append)
    assert [Path(files[digest]).read_bytes() for digest in DIGESTS] == LAYERS
    assert shown[-1].startswith(f"pulling {source.name}: 9.0 MB in ")
    depot.hold(source, offer(depot, source), DIGESTS)
    assert [asked_for(faulty, digest) for digest in DIGESTS] == [[""]] * 3


def test_what_came_before_a_break_is_not_fetched_again(tmp_path: Path, faulty: FaultyRegistry) -> None:
    depot, source = Depot(str(tmp_path)), source_of(faulty)
    found = offer(depot, source)
    break_off(faulty, LAYERS[0], 1_000_000)
    with pytest.raises(RegistryError):
        depot.hold(source, found, DIGESTS[:1])
    came = os.path.getsize(store_of(tmp_path).partial_path(DIGESTS[0]))
    files = depot.hold(source, found, DIGESTS[:1])
    assert Path(files[DIGESTS[0]]).read_bytes() == LAYERS[0]
    assert asked_for(faulty, DIGESTS[0])[-1] == f"bytes={came}-" and came > 0


def test_what_nobody_asked_for_in_so_many_days_goes(tmp_path: Path, faulty: FaultyRegistry) -> None:
    other = layer_of(member("other"), content=b"other")
    faulty.put_image("2", other, LAYERS[0])
    depot = Depot(str(tmp_path), days=30)
    first, second = source_of(faulty), source_of(faulty, "2")
    depot.hold(first, offer(depot, first), DIGESTS)
    store = store_of(tmp_path)
    (tmp_path / "images/.partial" / "-".join(("sha256", "0" * 64))).write_bytes(b"what came of a blob")
    os.utime(store.partial_path(f"sha256:{'0' * 64}"), (time.time() - 2 * DAY,) * 2)
    grow_older(tmp_path, 31, store.blobs())

    depot.offer(source_of(faulty, "2", keep=False), lambda: "x86_64")
    depot.hold(first, offer(depot, first), DIGESTS)
    assert set(store.names()) == {first.name} and set(DIGESTS) <= set(store.blobs())  # it is of use again

    grow_older(tmp_path, 31, store.blobs())
    Depot(str(tmp_path)).hold(second, offer(Depot(str(tmp_path)), second), [digest_of(other)])
    assert set(store.names()) == {first.name, second.name} and set(DIGESTS) <= set(store.blobs())  # 0 days: for ever
    store.remove_blob(digest_of(other))

    depot.hold(second, offer(depot, second), [digest_of(other), DIGESTS[0]])
    assert set(store.names()) == {second.name} and store.partial_blobs() == []
    assert set(store.blobs()) & {*DIGESTS, digest_of(other)} == {DIGESTS[0], digest_of(other)}
    assert len(store.blobs()) == 4  # with its manifest and configuration

    files = depot.hold(first, offer(depot, first), DIGESTS)
    assert Path(files[DIGESTS[2]]).read_bytes() == LAYERS[2]
    assert set(store.names()) == {first.name, second.name}
