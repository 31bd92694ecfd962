# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Twenty containers from nothing in one apply; the peer starts twenty one after the other."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench import peers
from tests.bench.frame import Row, take_turns
from tests.bench.scene import LIMITS, NETWORK, apply_in_module, scene
from tests.kernel.host.world import containers_task

TITLE = "Create and start twenty containers in one task"
NOTE = (
    "Per container, in a module's process. All on one bridge network, with limits and a published port each; runc's "
    "have no network."
)
COUNT = 20
_ROUNDS = 7


def twenty(**more):
    """The task: twenty containers with a network, a port and limits each."""
    each = {
        f"c{number}": {"networks": [{"name": "lan"}], "published_ports": [f"{9000 + number}:80"], **LIMITS, **more}
        for number in range(COUNT)
    }
    return containers_task(**each)


def measure() -> Iterator[Row]:
    with scene() as world:
        world.run(NETWORK)
        sleep = peers.make_bundle(world, "peer-sleep", ["sleep", "3600"])
        runc = [peers.program("runc")]
        medians = take_turns(
            _ROUNDS,
            {
                "ours": lambda: _ours(world),
                "runc": lambda: peers.runtime_run(world, runc, sleep, detached=True),
            },
        )
    yield Row("each of twenty", medians["ours"], medians["runc"], "runc run --detach", wanted=15)


def _ours(world) -> float:
    took = apply_in_module(world, twenty())
    world.run(containers_task(**{f"c{number}": None for number in range(COUNT)}))
    return took / COUNT
