# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two hosts of namespaces, and the controller that sends images to them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from . import fleet
from .controller import Controller, serving


@pytest.fixture(scope="module")
def receivers(request: pytest.FixtureRequest) -> Iterator[fleet.Fleet]:
    name = request.path.stem.replace("_", "-")  # files are tested beside each other
    fleet.down(name)
    with fleet.up(name, ["node-a", "node-b"]) as up:
        yield up
    assert fleet.leftovers_of(name) == []


@pytest.fixture
def controller(receivers: fleet.Fleet, tmp_path: Path) -> Iterator[Controller]:
    for node in receivers.nodes:
        node.run(["sh", "-c", "rm -rf /var/lib/stowage/images /var/lib/stowage/layers ~/.ansible/tmp"])
    with serving(tmp_path) as registry:
        yield Controller(receivers, tmp_path, registry)
