# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sweeps of the store, beside the locks and pins of those who use it and what the killed left."""

from __future__ import annotations

import os
import time

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.image.gc import sweep
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.locks import ContentLock, Pin, pinned
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.store import write_store
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths

from .conftest import digest_of
from .offers import GOOD

pytestmark = pytest.mark.root


def test_locks_of_the_killed_go_with_the_next_sweep_and_those_in_use_stay(paths: Paths) -> None:
    used, killed = ContentLock(paths, "sha256:" + "1" * 64), "sha256-" + "2" * 64
    assert used.acquire(wait=False)
    with open(os.path.join(paths.content_locks, killed), "wb"):
        pass
    sweep(paths)
    assert os.listdir(paths.content_locks) == [os.path.basename(used.path)]
    used.release()


def test_pins_may_go_while_they_are_looked_at(paths: Paths) -> None:
    """A pull that ends takes its pin away without asking anybody."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            end = time.monotonic() + 3
            while time.monotonic() < end:
                with Pin(paths) as pin:
                    pin.add(["sha256:" + "3" * 64])
        finally:
            os._exit(0)
    try:
        with write_store(paths, alone=True):
            end = time.monotonic() + 2
            while time.monotonic() < end:
                assert pinned(paths) <= {"sha256:" + "3" * 64}
    finally:
        os.close(reader)
        os.close(writer)
        os.waitpid(pid, 0)


def test_a_leftover_beside_a_layer_does_not_stop_the_sweep(paths: Paths) -> None:
    for suffix in ("", ".partial"):
        os.makedirs(f"{paths.layer(digest_of(GOOD))}{suffix}/d")
    sweep(paths)
    assert os.listdir(paths.layers) == []
