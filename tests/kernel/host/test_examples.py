# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples of the modules container and containers run as they are printed, and again, when they change nothing."""

from __future__ import annotations

import os
import shutil

import pytest
import yaml

from ansible_collections.stowage.engine.plugins.modules import container, containers
from tests.kernel.host.world import SLEEPER, image_task

IMAGES = tuple(map(image_task, ("site:1", "worker:7", "db:1", "profiler:1")))
NEEDS = [
    pytest.mark.skipif(not os.path.exists("/dev/net/tun"), reason="this host has no /dev/net/tun"),
    pytest.mark.skipif(shutil.which("runc") is None, reason="runc is not installed"),
]


def tasks_of(module):
    for task in yaml.safe_load(module.EXAMPLES):
        (name,) = (key for key in task if key.startswith("stowage.engine."))
        given = task[name]
        yield [given] if name.endswith(".container") else given["containers"]


def asked(entry):
    """With nothing to wait for at its end, as the test's image has no handler of SIGTERM."""
    return {**entry, **({} if entry.get("state") == "absent" else {"stop_signal": SLEEPER["stop_signal"]})}


@pytest.mark.parametrize(
    "module", [pytest.param(container, marks=NEEDS, id="container"), pytest.param(containers, id="containers")]
)
def test_examples_run(world, module):
    os.chmod(world.directory, 0o755)
    world.run(*IMAGES, ("network", {"name": "backplane", "subnet": "10.77.0.0/24"}))
    for entries in tasks_of(module):
        task = ("containers", {"containers": [asked(entry) for entry in entries]})
        told = world.told(task)
        assert told
        assert [str(change) for change in world.run(task)] == told
        assert world.told(task) == []
    assert all(state.running for state in world.containers().values())
