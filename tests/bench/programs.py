# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`stowage-runtime run` beside `runc run` and `crun run`: programs, of the same bundle."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench import peers
from tests.bench.frame import Row, take_turns
from tests.bench.scene import scene

TITLE = "The runtime as a program"
NOTE = "`run` of /bin/busybox true from the start of the command to its end; the same bundle, without a network."
_ROUNDS = 21


def measure() -> Iterator[Row]:
    with scene() as world:
        true = peers.make_bundle(world, "peer-true", ["/bin/busybox", "true"])
        ours = [*world.engine, "stowage-runtime"]
        archive = [*ours[:-2], world.engine[-1].removesuffix("app/__main__.py") + "engine.pyz", ours[-1]]
        runtimes = {"ours": ours, "archive": archive, "runc": [peers.program("runc")], "crun": [peers.program("crun")]}
        measures = {
            name: lambda command=command: peers.runtime_run(world, command, true) for name, command in runtimes.items()
        }
        python = [*world.engine[:-1], "-c", "pass"]
        measures["python"] = lambda: peers.timed_program(python)
        medians = take_turns(_ROUNDS, measures)
    yield Row("stowage-runtime run", medians["ours"], medians["runc"], "runc run", wanted=1, of_ratio=True)
    yield Row("stowage-runtime run", medians["ours"], medians["crun"], "crun run")
    yield Row("of that: Python with nothing to do", medians["python"])
    yield Row("stowage-runtime run, from the one-file archive", medians["archive"], medians["runc"], "runc run")
