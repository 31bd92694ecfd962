# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runtime as a library: a container's whole life in a process that is up, and 200 lives by four workers."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench import peers
from tests.bench.frame import Row, milliseconds, take_turns
from tests.bench.scene import scene

TITLE = "The runtime as a library"
NOTE = (
    "Create, start, wait for and delete /bin/busybox true in a process that has the engine's runtime imported, beside "
    "`run` of the same bundle. Throughput: 200 such containers by four workers at once, a bundle and a cgroup each; "
    "runc's workers run one `runc run` after the other."
)
WORKERS = 4
COUNT = 200
_ROUNDS = 41
_THROUGHPUT_ROUNDS = 5
_WORKER = Path(__file__).with_name("library_worker.py")


def measure() -> Iterator[Row]:
    with scene() as world:
        true = peers.make_bundle(world, "peer-true", ["/bin/busybox", "true"])
        runc, crun = [peers.program("runc")], [peers.program("crun")]
        with Worker(world, true) as worker:
            medians = take_turns(
                _ROUNDS,
                {
                    "ours": worker.cycle,
                    "runc": lambda: peers.runtime_run(world, runc, true),
                    "crun": lambda: peers.runtime_run(world, crun, true),
                },
            )
        yield Row(
            "create, start, wait, delete", medians["ours"], medians["runc"], "runc run", wanted=0.4, of_ratio=True
        )
        yield Row(
            "create, start, wait, delete", medians["ours"], medians["crun"], "crun run", wanted=1.2, of_ratio=True
        )
        bundles = [copy_bundle(true, number) for number in range(WORKERS)]
        with contextlib.ExitStack() as stack:
            workers = [stack.enter_context(Worker(world, bundle)) for bundle in bundles]
            for each in workers:
                each.cycle()
            programs = [Program(world, runc, bundle) for bundle in bundles]
            medians = take_turns(
                _THROUGHPUT_ROUNDS,
                {"ours": lambda: throughput(workers), "runc": lambda: throughput(programs)},
                warm_up=False,
            )
        ours, theirs = (COUNT / medians[name] * 1000 for name in ("ours", "runc"))
        yield Row("200 by four workers, each second", ours, theirs, "runc run", unit="containers", times_more=3)


def copy_bundle(bundle: Path, number: int) -> Path:
    """The same bundle once more, with a cgroup of its own."""
    copy = bundle.with_name(f"{bundle.name}-{number}")
    shutil.copytree(bundle, copy, symlinks=True)
    config = json.loads((copy / "config.json").read_text())
    config["linux"]["cgroupsPath"] += f"-{number}"
    (copy / "config.json").write_text(json.dumps(config))
    return copy


class Worker:
    """A process that has the library loaded."""

    def __init__(self, world, bundle: Path) -> None:
        *python, app = world.engine
        self.name = bundle.name
        self.count = 0
        app = str(Path(app).parent) if app.endswith(".py") else app
        state = str(world.directory / "library")
        command = [*python, str(_WORKER), app, state, world.instance, str(bundle)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_error: object) -> None:
        self.process.stdin.close()
        self.process.wait(60)

    def ask(self) -> None:
        self.count += 1
        self.process.stdin.write(f"{self.name}-{self.count}\n")
        self.process.stdin.flush()

    def hear(self) -> float:
        return float(self.process.stdout.readline())

    def cycle(self) -> float:
        self.ask()
        return self.hear()

    def run(self, count: int) -> None:
        for _number in range(count):
            self.ask()
        for _number in range(count):
            self.hear()


class Program:
    """The same by a runtime's command line, one command after the other."""

    def __init__(self, world, command: list[str], bundle: Path) -> None:
        self.world = world
        self.command = command
        self.bundle = bundle

    def run(self, count: int) -> None:
        root = str(self.world.directory / "peer-throughput")
        for number in range(count):
            name = f"{self.bundle.name}-{number}"
            peers.timed_program([*self.command, "--root", root, "run", "--bundle", str(self.bundle), name])


def throughput(workers: list) -> float:
    """Milliseconds that COUNT containers take, shared out among the workers, each in a process of its own."""

    def run() -> None:
        pids = [forked(lambda worker=worker: worker.run(COUNT // WORKERS)) for worker in workers]
        statuses = [os.waitpid(pid, 0)[1] for pid in pids]
        if any(statuses):
            raise RuntimeError("a container failed")

    return milliseconds(run)


def forked(action: Callable[[], None]) -> int:
    """Do it in a child; its pid."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            action()
            status = 0
        finally:
            os._exit(status)
    return pid
