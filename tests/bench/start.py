# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One container from nothing to started, inside a module's process; peers start the same bundle without a network."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench import peers
from tests.bench.frame import Row, take_turns
from tests.bench.scene import LIMITS, NETWORK, apply_in_module, scene
from tests.kernel.host.world import containers_task

TITLE = "Create and start one container"
NOTE = (
    "Ours: `Host.apply` of one `CreateContainer` in a module's process, which runs from the installed engine: overlay "
    "root, cgroup with limits, monitor, bridge network, names, until the program runs. Peers: the whole command, "
    "without a network."
)
_ROUNDS = 21


def measure() -> Iterator[Row]:
    with scene() as world:
        world.run(NETWORK)
        true = peers.make_bundle(world, "peer-true", ["/bin/busybox", "true"])
        sleep = peers.make_bundle(world, "peer-sleep", ["sleep", "3600"])
        runc, crun = [peers.program("runc")], [peers.program("crun")]
        with peers.podman(world, true / "rootfs", "bench:1") as podman:
            medians = take_turns(
                _ROUNDS,
                {
                    "ours": lambda: _ours(world),
                    "runc run": lambda: peers.runtime_run(world, runc, true),
                    "runc run --detach": lambda: peers.runtime_run(world, runc, sleep, detached=True),
                    "crun run": lambda: peers.runtime_run(world, crun, true),
                    "podman run": lambda: podman.run("--rm", "bench:1", "/bin/busybox", "true"),
                },
            )
    yield Row("one", medians["ours"], medians["runc run"], "runc run", wanted=0.5, of_ratio=True)
    for name in ("runc run --detach", "crun run", "podman run"):
        yield Row("one", medians["ours"], medians[name], name)


def _ours(world) -> float:
    took = apply_in_module(world, containers_task(one={"networks": [{"name": NETWORK[1]["name"]}], **LIMITS}))
    world.run(containers_task(one=None))
    return took
