# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts of their own for the tests of this directory: see world.py."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.kernel.host.world")
from tests.kernel.host.world import World  # noqa: E402 - after that


def pytest_collection_modifyitems(items):
    if os.geteuid() != 0:
        for item in items:
            if "kernel/host" in str(item.path):
                item.add_marker(pytest.mark.skip(reason="needs root: namespaces, mounts and cgroups are made"))


@pytest.fixture
def world():
    """A host; all that the test left on it is taken away."""
    yield from _world()


@pytest.fixture(scope="module")
def lasting_world():
    """One host for all tests of a module, or all examples of a property."""
    yield from _world()


def _world():
    # On a tmpfs, as an overlay's upper layer may be, and state on it needs no disk to be synced.
    directory = Path(tempfile.mkdtemp(prefix="stowage-test-", dir="/dev/shm"))
    world = World(directory)
    try:
        yield world
    finally:
        world.close()
        shutil.rmtree(directory)
