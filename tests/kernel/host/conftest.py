# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts of their own for the tests of this directory: see world.py."""

from __future__ import annotations

import os

import pytest

pytest.register_assert_rewrite("tests.kernel.host.world")
from tests.kernel.host.world import open_world  # noqa: E402 - after that


def pytest_collection_modifyitems(items):
    if os.geteuid() != 0:
        for item in items:
            if "kernel/host" in str(item.path):
                item.add_marker(pytest.mark.skip(reason="needs root: namespaces, mounts and cgroups are made"))


@pytest.fixture
def world():
    """A host; all that the test left on it is taken away."""
    with open_world() as world:
        yield world


@pytest.fixture(scope="module")
def lasting_world():
    """One host for all tests of a module, or all examples of a property."""
    with open_world() as world:
        yield world
