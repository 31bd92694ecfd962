# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A second run that changes nothing: a task of twenty containers, inside its module and as a whole playbook run."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.stowage.engine.plugins.module_utils._ansible.installed import VARIABLE
from ansible_collections.stowage.engine.plugins.module_utils._ansible.sources import engine_digest, engine_files
from tests.bench import peers
from tests.bench.frame import Row, take_turns
from tests.bench.many import COUNT, twenty
from tests.bench.scene import LIMITS, NETWORK, scene

TITLE = "A second run that changes nothing, of twenty containers"
NOTE = (
    "The module's process is what Ansible runs on a host: one file that unpacks itself, and becomes the module out "
    "of the engine that is installed there. Ours starts where the module's first import of Stowage does; Python, "
    "Ansible's own modules and reading the parameters are in the whole process, for which `ansible.builtin.ping` is "
    "the peer. The playbooks have one task on the local connection: `stowage.engine.containers` of twenty with a "
    "network, a port and limits each, and `containers.podman.podman_container` in a loop over twenty with the same "
    "limits and no network or port."
)
_ROOT = Path(__file__).parents[2]
_PODMAN_COLLECTION = _ROOT / "build" / "bench" / "collections"
# The community package for ansible-core 2.19, out of which the one collection is taken.
_COMMUNITY = "ansible==12.0.0"

# Runs a module's file and tells when, in ms: its first import of ours, its last before the lock, the lock, the end.
_WATCH = """
import json, os, runpy, sys, time
marks = {}
def watch(event, args):
    if event == "import" and ".module_utils._" in args[0] and args[0].startswith("ansible_collections.stowage"):
        marks.setdefault("first", time.perf_counter())
        if "locked" not in marks:
            marks["imported"] = time.perf_counter()
    elif event == "fcntl.flock":
        marks.setdefault("locked", time.perf_counter())
sys.addaudithook(watch)
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit:
    marks["end"] = time.perf_counter()
os.write(2, json.dumps(marks).encode())
"""


def measure() -> Iterator[Row]:
    install_podman_collection()
    with scene() as world:
        world.run(NETWORK, twenty())
        bundle = peers.make_bundle(world, "peer-sleep", ["sleep", "3600"])
        with peers.podman(world, bundle / "rootfs", "bench:1") as podman:
            run = Playbooks(world, podman)
            module, ping = run.keep_module("ours"), run.keep_module("ping")
            run.play("podman", unchanged=False)
            parts = [run.watch(module) for _round in range(12)][1:]
            processes = take_turns(15, {"ours": lambda: run.module(module), "ping": lambda: run.module(ping)})
            plays = take_turns(5, {name: lambda name=name: run.play(name) for name in ("ours", "podman", "ping")})
    imports, reconcile = (statistics.median(column) for column in zip(*parts, strict=True))
    yield Row("inside the module: imports, observe, plan, tell", imports + reconcile, wanted=100)
    yield Row("of that imports", imports)
    yield Row("of that observe, plan, tell", reconcile)
    yield Row("the module's whole process", processes["ours"], processes["ping"], "ping's")
    yield Row("the whole ansible-playbook", plays["ours"], plays["podman"], "podman_container", times_faster=8)
    yield Row("the whole ansible-playbook", plays["ours"], plays["ping"], "ping")


def install_podman_collection() -> None:
    """containers.podman in build/bench, out of the community package on PyPI; nothing where it is there already."""
    if _PODMAN_COLLECTION.exists():
        return
    target = _PODMAN_COLLECTION.parent
    target.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(target), _COMMUNITY]
    peers.run_quietly(pip)
    [wheel] = target.glob("ansible-*.whl")
    aside = target / "unpacked"
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.startswith("ansible_collections/containers/podman/"):
                archive.extract(name, aside)
    wheel.unlink()
    aside.rename(_PODMAN_COLLECTION)


class Playbooks:
    """Playbooks of one task each, on the local connection, in the namespace of the world."""

    def __init__(self, world, podman: peers.Podman) -> None:
        self.world = world
        self.directory = world.directory / "ansible"
        self.directory.mkdir()
        paths = f"{_ROOT}/build/collections:{_PODMAN_COLLECTION}"
        self.env = {
            **podman.env,
            **world.paths.environment(),
            "PATH": f"{_ROOT}/build/venv/bin:{os.environ['PATH']}",
            "ANSIBLE_COLLECTIONS_PATH": paths,
            "ANSIBLE_HOME": str(self.directory / "home"),
            "ANSIBLE_REMOTE_TMP": str(self.directory / "remote"),
            "ANSIBLE_LOCALHOST_WARNING": "0",
            "LC_ALL": "C.UTF-8",
        }
        container = {"name": "p{{ item }}", "image": "bench:1", "command": ["/bin/busybox", "sleep", "3600"]}
        limits = {"memory": "64m", "cpus": LIMITS["cpus"], "pids_limit": LIMITS["pids_limit"], "network": ["none"]}
        tasks = {
            "ours": {"stowage.engine.containers": twenty()[1]},
            "podman": {"containers.podman.podman_container": {**container, **limits}, "loop": list(range(COUNT))},
            "ping": {"ansible.builtin.ping": {}},
        }
        for name, task in tasks.items():
            play = {"hosts": "localhost", "gather_facts": False, "tasks": [{"name": name, **task}]}
            (self.directory / f"{name}.yml").write_text(json.dumps([play]))

    def play(self, name: str, *, unchanged: bool = True, **env: str) -> float:
        """Milliseconds of ``ansible-playbook``, which must change nothing."""
        log = self.directory / "log"
        env = {**self.env, **env, "ANSIBLE_LOG_PATH": str(log)}
        words = [str(_ROOT / "build/venv/bin/ansible-playbook"), "-i", "localhost,", "-c", "local"]
        words += ["-e", "ansible_python_interpreter=/usr/bin/python3", str(self.directory / f"{name}.yml")]
        try:
            took = self.world.call(lambda: peers.timed_program(words, env))
        except Exception as error:
            raise RuntimeError(f"playbook {name} failed: {log.read_text()[-2000:]}") from error
        said = log.read_text()
        log.unlink()
        if unchanged and "changed=0 " not in said:
            raise RuntimeError(f"playbook {name} was to change nothing: {said[-2000:]}")
        return took

    def keep_module(self, name: str) -> str:
        """The file of the module that the playbook's task runs on a host."""
        remote = self.directory / "kept"
        self.play(name, ANSIBLE_KEEP_REMOTE_FILES="1", ANSIBLE_REMOTE_TMP=str(remote))
        [file] = remote.glob("*/AnsiballZ_*.py")
        kept = self.directory / f"{name}.py"
        file.rename(kept)
        file.parent.rmdir()
        return str(kept)

    def _asked(self) -> dict[str, str]:
        """What the action plugin has in the environment of a module that runs from the installed engine."""
        return {**self.env, VARIABLE: f"containers@{engine_digest(engine_files())}"}

    def module(self, file: str) -> float:
        """Milliseconds of the module's process."""
        return self.world.call(lambda: peers.timed_program(["/usr/bin/python3", file], self._asked()))

    def watch(self, file: str) -> tuple[float, float]:
        """Milliseconds that the module's process spends on imports of ours, and on the rest of ours."""

        def run() -> dict[str, float]:
            words = ["/usr/bin/python3", "-c", _WATCH, file]
            done = subprocess.run(words, env=self._asked(), stdin=subprocess.DEVNULL, capture_output=True, check=False)
            with contextlib.suppress(ValueError):
                return json.loads(done.stderr)
            raise RuntimeError(f"{file}: {done.stdout.decode()[-1000:]} {done.stderr.decode()[-2000:]}")

        marks = self.world.call(run)
        return (marks["imported"] - marks["first"]) * 1000, (marks["end"] - marks["locked"]) * 1000
