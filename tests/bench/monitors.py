# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What it costs in memory that a container is watched over: fifty monitors beside fifty of podman's conmon."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench import peers
from tests.bench.frame import Row
from tests.bench.scene import processes, pss, scene
from tests.kernel.host.world import containers_task

TITLE = "Memory of a monitor"
NOTE = "Proportional share (PSS) of each of fifty monitors, all of them running at once beside fifty of conmon."
COUNT = 50


def measure() -> Iterator[Row]:
    with scene() as world:
        bundle = peers.make_bundle(world, "peer-sleep", ["sleep", "3600"])
        with peers.podman(world, bundle / "rootfs", "bench:1") as podman:
            for number in range(COUNT):
                podman.run("--detach", "--name", f"p{number}", "bench:1", "/bin/busybox", "sleep", "3600")
            names = [f"c{number}" for number in range(COUNT)]
            world.run(containers_task(**{name: {} for name in names}))
            time.sleep(1)  # what was forked on the way to a monitor has gone by then
            ours, theirs = processes(world.paths.engines, "launch"), podman.monitors()
            if (len(ours), len(theirs)) != (COUNT, COUNT):
                raise RuntimeError(f"there are {len(ours)} monitors and {len(theirs)} of conmon, not {COUNT} of each")
            mine, conmon = (sum(map(pss, pids)) / COUNT for pids in (ours, theirs))
            alone = max(map(_private, ours))
            world.run(containers_task(**dict.fromkeys(names)))
    yield Row("each of fifty", mine, conmon, "conmon", unit="MB", wanted=0.6)
    yield Row("of that its own alone (the largest)", alone, unit="MB")


def _private(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024
