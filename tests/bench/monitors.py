# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What it costs in memory that a container is watched over: monitors beside podman's conmon, and many more of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench import peers
from tests.bench.frame import Row
from tests.bench.scene import processes, pss, scene
from tests.kernel.host.world import containers_task

TITLE = "Memory of a monitor"
NOTE = (
    "Proportional share (PSS) of each of fifty monitors, all of them running at once beside fifty of conmon; and of "
    "each of two hundred."
)
COUNT = 50
MANY = 200


def measure() -> Iterator[Row]:
    with scene() as world:
        bundle = peers.make_bundle(world, "peer-sleep", ["sleep", "3600"])
        with peers.podman(world, bundle / "rootfs", "bench:1") as podman:
            for number in range(COUNT):
                podman.run("--detach", "--name", f"p{number}", "bench:1", "/bin/busybox", "sleep", "3600")
            mine, alone = _measure_monitors(world, COUNT)
            theirs = podman.monitors()
            if len(theirs) != COUNT:
                raise RuntimeError(f"there are {len(theirs)} of conmon, not {COUNT}")
            conmon = sum(map(pss, theirs)) / COUNT
        many, _alone = _measure_monitors(world, MANY)
    yield Row("each of fifty", mine, conmon, "conmon", unit="MB", wanted=0.6)
    yield Row("of that its own alone (the largest)", alone, unit="MB")
    yield Row("each of two hundred", many, unit="MB", wanted=0.6)


def _measure_monitors(world, count: int) -> tuple[float, float]:
    """The share of each of so many, and what the largest has for itself alone, in MB."""
    names = [f"c{number}" for number in range(count)]
    world.run(containers_task(**{name: {} for name in names}))
    time.sleep(1)  # what was forked on the way to a monitor has gone by then
    monitors = processes(world.paths.engines, "launch")
    if len(monitors) != count:
        raise RuntimeError(f"there are {len(monitors)} monitors, not {count}")
    mine, alone = sum(map(pss, monitors)) / count, max(map(_private, monitors))
    world.run(containers_task(**dict.fromkeys(names)))
    return mine, alone


def _private(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024
