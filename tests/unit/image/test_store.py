# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The blob store's promises: whole and true, or not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import (
    DigestMismatch,
    NotFound,
    StateCorrupt,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.observe import observe_images
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.store import Store, write_store
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(str(tmp_path / "lib"), str(tmp_path / "run"))


def test_a_blob_reads_back_and_damage_is_seen(paths: Paths) -> None:
    with write_store(paths) as store:
        descriptor = store.put_blob("text/plain", b"hello")
    assert store.read_blob(descriptor) == b"hello"
    assert store.has_blob(descriptor) and store.is_intact(descriptor)
    Path(store.blob_path(descriptor.digest)).write_bytes(b"hallo")
    assert not store.is_intact(descriptor)
    with pytest.raises(DigestMismatch, match=descriptor.digest):
        store.read_blob(descriptor)
    with write_store(paths) as store:
        store.put_blob("text/plain", b"hello")
    assert store.is_intact(descriptor)


def test_a_stream_with_another_digest_leaves_nothing(paths: Paths) -> None:
    wrong = "sha512:" + "0" * 128
    with write_store(paths) as store, pytest.raises(DigestMismatch, match=r"a layer of x.*nothing was stored"):
        store.put_stream("", iter([b"a", b"b"]), expected=wrong, what="a layer of x")
    assert store.blobs() == []
    assert os.listdir(os.path.join(paths.images, ".partial")) == []


def test_leftovers_of_a_killed_writer_are_cleared(paths: Paths) -> None:
    with write_store(paths):
        pass
    leftover = Path(paths.images, ".partial", "blob")
    leftover.write_bytes(b"half")
    with write_store(paths):
        assert not leftover.exists()


def test_names_move_and_go(paths: Paths) -> None:
    with write_store(paths) as store:
        one, two = store.put_blob("", b"1"), store.put_blob("", b"2")
        store.tag("docker.io/library/a:1", one)
        store.tag("docker.io/library/b:1", one)
        store.tag("docker.io/library/a:1", two)
        assert store.names() == {"docker.io/library/a:1": two, "docker.io/library/b:1": one}
        store.untag("docker.io/library/a:1")
        store.untag("docker.io/library/a:1")
        assert store.names() == {"docker.io/library/b:1": one}


def test_reading_makes_nothing(paths: Paths, tmp_path: Path) -> None:
    assert observe_images(paths) == {}
    store = Store(paths.images)
    assert store.names() == {} and store.blobs() == []
    assert os.listdir(tmp_path) == []


def test_a_damaged_index_is_told_with_its_path(paths: Paths) -> None:
    os.makedirs(paths.images)
    Path(paths.images, "index.json").write_text("{")
    with pytest.raises(StateCorrupt, match=r"index.json"):
        observe_images(paths)
    Path(paths.images, "index.json").write_text('{"manifests": 5}')
    with pytest.raises(StateCorrupt, match=r"index.json"):
        observe_images(paths)


def test_a_blob_that_is_not_there_says_what_to_do(paths: Paths) -> None:
    with write_store(paths) as store:
        descriptor = store.put_blob("", b"1")
        store.remove_blob(descriptor.digest)
        store.remove_blob(descriptor.digest)
    with pytest.raises(NotFound, match=r"pull or assemble"):
        store.read_blob(descriptor)
