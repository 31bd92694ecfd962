# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host of its own for a benchmark: a network namespace, and both roots on a tmpfs, so that no disk is measured.

What is measured runs in a child of its own that has entered the namespace, as a module's process would.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import ansible
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.stowage.engine.plugins.module_utils._ansible.install import engine_command
from ansible_collections.stowage.engine.plugins.module_utils._engine.host import Host
from tests.bench.frame import milliseconds
from tests.kernel.host.world import NOUNS, World, image_task

# The tests' world imports it once for all of its runs; a module does not, and must not to start containers.
for _name in [name for name in sys.modules if name.partition(".")[0] == "pyroute2"]:
    del sys.modules[_name]

_ROOT = Path(__file__).parents[2]
NETWORK = ("network", {"name": "lan", "subnet": "10.77.0.0/16"})
LIMITS = {"memory": "64M", "cpus": "1", "pids_limit": "50"}


@contextlib.contextmanager
def scene() -> Iterator[World]:
    """The host, with the image IMAGE. All that is left on it is taken away."""
    directory = Path(tempfile.mkdtemp(prefix="stowage-test-bench-", dir="/dev/shm"))
    world = World(directory)
    world.engine = engine_command(world.paths)
    try:
        world.run(image_task())
        yield world
    finally:
        world.close()
        remove_tree(directory)


def remove_tree(directory: Path) -> None:
    """Remove a directory; a container's mounts may take a moment to go."""
    for _attempt in range(20):
        shutil.rmtree(directory, ignore_errors=True)
        if not directory.exists():
            return
        time.sleep(0.1)
    shutil.rmtree(directory)


def parse(task: tuple[str, dict]) -> tuple:
    """A task's noun, and what it wants: parameters checked and parsed, as a module does."""
    noun, params = task
    kind, parse_wanted, spec = NOUNS[noun]
    validated = ArgumentSpecValidator(spec).validate(params)
    if validated.error_messages:
        raise ValueError(validated.error_messages)
    return kind(), parse_wanted(validated.validated_parameters)


def plan(host: Host, noun, wanted) -> list:
    """The changes: resolve, observe, plan."""
    desired = noun.resolve(host, wanted)
    return list(noun.plan(desired, noun.observe(host)))


def parse_in(world: World, task: tuple[str, dict]) -> float:
    """Milliseconds that checking and parsing the parameters takes."""
    return world.call(lambda: milliseconds(lambda: parse(task)))


def apply_in(world: World, task: tuple[str, dict], *, with_plan: bool = False) -> float:
    """Milliseconds that Host.apply of the task's changes takes; ``with_plan``: observing and planning too."""

    def measure() -> float:
        host, wanted = Host(world.paths, world.engine), parse(task)
        start = time.perf_counter()
        changes = plan(host, *wanted)
        if not with_plan:
            start = time.perf_counter()
        with host.locked():
            host.apply(changes)
        took = (time.perf_counter() - start) * 1000
        if not changes:
            raise RuntimeError(f"{task} came to no changes: there was nothing to measure")
        if task[0] == "containers" and "pyroute2" in sys.modules:
            raise RuntimeError("pyroute2 was imported to start containers")
        return took

    return world.call(measure)


def apply_in_module(world: World, task: tuple[str, dict]) -> float:
    """Milliseconds that Host.apply of a containers task takes in a module's process; see in_module.py."""
    site, collections = Path(ansible.__file__).parents[1], _ROOT / "build/collections"
    digest = Path(world.engine[-1]).parents[1].name
    words = ["/usr/bin/python3", "-s", "-B", str(Path(__file__).with_name("in_module.py")), digest, json.dumps(task[1])]
    environment = {**os.environ, **world.paths.environment(), "PYTHONPATH": f"{site}:{collections}"}

    def measure() -> float:
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"applying in a module's process failed: {done.stderr[-2000:]}")
        return float(done.stdout)

    return world.call(measure)


def look_in(world: World, task: tuple[str, dict]) -> float:
    """Milliseconds that observing and planning takes where nothing is to change."""

    def measure() -> float:
        host, wanted = Host(world.paths, world.engine), parse(task)
        changes: list = []
        took = milliseconds(lambda: changes.extend(plan(host, *wanted)))
        if changes:
            raise RuntimeError(f"there was to be nothing to do, but: {[str(change) for change in changes]}")
        return took

    return world.call(measure)


def pss(pid: int) -> float:
    """A process's proportional share of memory in MB (proc_pid_smaps_rollup)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no Pss in /proc/{pid}/smaps_rollup")


def processes(*words: str) -> list[int]:
    """Processes whose command line has all of these words."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            command = Path("/proc", pid, "cmdline").read_bytes()
            if all(word.encode() in command for word in words):
                found.append(int(pid))
    return found
