# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which images may go: by number, by age, by name, and never what a container is made of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.stowage.engine.plugins.module_utils._engine.model.image import Image
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.prune import (
    CacheEntry,
    Garbage,
    Prunable,
    Prune,
    StoredImage,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.image import RemoveImage
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.prune import (
    PruneBuildCache,
    SweepImages,
    lets_go,
    plan_prune,
)

NOW = 1_000_000.0


def stored(name: str, age: float, *, used: bool = False) -> StoredImage:
    return StoredImage(Image(name), NOW - age, used)


SHOP = (
    stored("r.example.com/shop/web:4", 10),
    stored("r.example.com/shop/web:3", 20),
    stored("r.example.com/shop/web:2", 30, used=True),
    stored("r.example.com/shop/web:1", 40),
    stored("r.example.com/shop/db:1", 50),
    stored("docker.io/library/base:1", 60),
)


def removed(prune: Prune, images: tuple[StoredImage, ...] = SHOP) -> set[str]:
    changes = plan_prune(prune, Prunable(tuple(images)), NOW)
    return {change.current.name.rpartition("/")[2] for change in changes if isinstance(change, RemoveImage)}


@pytest.mark.parametrize(
    ("prune", "expected"),
    [
        (Prune(), set()),
        (Prune(names=("*",)), set()),
        (Prune(keep_last=2), {"web:1"}),
        (Prune(keep_last=1), {"web:3", "web:1"}),
        (Prune(keep_last=0), {"web:4", "web:3", "web:1", "db:1", "base:1"}),
        (Prune(older_than=40), {"web:1", "db:1", "base:1"}),
        (Prune(keep_last=1, older_than=30), {"web:1"}),
        (Prune(older_than=0, names=("docker.io/*", "*/db:*")), {"db:1", "base:1"}),
        (Prune(keep_last=0, names=("shop/web",)), set()),
    ],
)
def test_what_may_go(prune: Prune, expected: set[str]) -> None:
    assert removed(prune) == expected


def test_content_without_a_name_is_swept_and_counted() -> None:
    garbage = Garbage(("sha256:1", "sha256:2"), ("sha256:3",), 700)
    [change] = plan_prune(Prune(), Prunable(SHOP, (), garbage), NOW)
    assert isinstance(change, SweepImages)
    assert change.before == {"blobs": 2, "bytes": 700, "layers": 1}
    assert str(change) == "sweep images without a name (blobs: 2, bytes: 700, layers: 1)"


def test_the_build_cache_goes_before_what_it_keeps() -> None:
    cache = (CacheEntry("steps/a", NOW, 5), CacheEntry("mounts/b", NOW, 6), CacheEntry("steps/c", NOW, 7))
    found = Prunable(SHOP[:1], cache, Garbage(("sha256:1",)))
    kinds = [type(change) for change in plan_prune(Prune(keep_last=0, build_cache=True), found, NOW)]
    assert kinds == [PruneBuildCache, RemoveImage, SweepImages]
    assert str(PruneBuildCache(cache)) == "prune build cache (mounts: 1, steps: 2, bytes: 18)"


@pytest.mark.parametrize(
    ("prune", "age", "goes"),
    [
        (Prune(), 10, False),
        (Prune(older_than=0), 10, False),
        (Prune(build_cache=True), 0, True),
        (Prune(build_cache=True), -1, False),
        (Prune(build_cache=True, older_than=10), 10, True),
        (Prune(build_cache=True, older_than=10), 9, False),
        (Prune(build_cache=True, keep_last=3, names=("x",)), 1, True),
    ],
)
def test_what_of_the_build_cache_may_go(prune: Prune, age: float, goes: bool) -> None:
    assert lets_go(prune, CacheEntry("steps/a", NOW - age, 0), NOW) is goes


@given(
    st.lists(
        st.builds(stored, st.sampled_from(["a/x:1", "a/x:2", "a/y:1"]), st.integers(0, 9), used=st.booleans()),
        unique_by=lambda found: found.image.name,
    ),
    st.builds(Prune, st.none() | st.integers(0, 3), st.none() | st.integers(0, 9)),
)
def test_after_a_prune_there_is_nothing_left_to_prune(images: list[StoredImage], prune: Prune) -> None:
    gone = {
        change.current.name
        for change in plan_prune(prune, Prunable(tuple(images)), NOW)
        if isinstance(change, RemoveImage)
    }
    assert not any(found.used and found.image.name in gone for found in images)
    left = [found for found in images if found.image.name not in gone]
    assert list(plan_prune(prune, Prunable(tuple(left)), NOW)) == []
