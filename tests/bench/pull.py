# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pulls: a Debian root file system from a registry on loopback, beside podman, and skopeo with umoci."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.bench import peers
from tests.bench.debian import debian_registry
from tests.bench.frame import Row, take_turns
from tests.bench.scene import pss, remove_tree

TITLE = "Pulls"
NOTE = (
    "A Debian root file system of 450 MB in gzip layers, from docker-registry on loopback to an unpacked image, with "
    "nothing of it in the store: whole processes, from their start. The small figures are what the module itself does. "
    "Memory: the sum of the proportional shares of all processes of a pull, its highest."
)
_COUNTS = (1, 10)
_ROUNDS = 5
_WORKER = Path(__file__).with_name("pull_worker.py")
_MODULE_UTILS = Path(__file__).parents[2] / "plugins" / "module_utils"
_PYTHON = "/usr/bin/python3"
_SAMPLE = 0.02  # seconds


def measure() -> Iterator[Row]:
    directory = Path(tempfile.mkdtemp(prefix="stowage-test-bench-", dir="/dev/shm"))
    podman = peers.Podman(directory)
    try:
        with debian_registry(directory, _COUNTS) as host:
            pulls = Pulls(directory, host, podman)
            for count in _COUNTS:
                yield from _rows(pulls, count)
            yield Row("peak memory of a pull, one layer", pulls.memory(1), unit="MB", wanted=80)
            yield Row("peak memory of a pull, ten layers", pulls.memory(10), unit="MB", wanted=80)
            small = take_turns(15, {"pull": lambda: pulls.again("pull"), "look": lambda: pulls.again("look")})
        yield Row("pull of an image of which all layers are present", small["pull"], wanted=30)
        yield Row("an unchanged state: present with no pull", small["look"], wanted=10)
    finally:
        podman.close()
        remove_tree(directory)


def _rows(pulls: Pulls, count: int) -> Iterator[Row]:
    medians = take_turns(
        _ROUNDS,
        {
            "ours": lambda: pulls.ours(count),
            "podman": lambda: pulls.podman(count),
            "skopeo, umoci": lambda: pulls.skopeo_and_umoci(count),
        },
    )
    what = f"pull and unpack Debian, {count} layer{'s' if count > 1 else ''}"
    for peer, name, wanted in (("podman", "podman pull", 0.4), ("skopeo, umoci", "skopeo copy, umoci unpack", 0.35)):
        yield Row(what, medians["ours"], medians[peer], name, wanted=wanted, of_ratio=True)


class Pulls:
    """Each pull from an empty store, which is emptied again outside of the time."""

    def __init__(self, directory: Path, host: str, podman: peers.Podman) -> None:
        self._directory = directory
        self._host = host
        self._podman = podman
        self._root, self._run_root = directory / "root", directory / "run"

    def ours(self, count: int) -> float:
        self._empty()
        return peers.timed_program(self._command(count, "pull"))

    def again(self, what: str) -> float:
        """Milliseconds inside the module, with the image there."""
        return float(subprocess.run(self._command(10, what), check=True, capture_output=True, timeout=60).stdout)

    def podman(self, count: int) -> float:
        words = [self._podman.program, "pull", "--quiet", "--tls-verify=false", f"{self._host}/debian:{count}"]
        took = peers.timed_program(words, self._podman.env)
        peers.run_quietly([self._podman.program, "rmi", "--all", "--force"], self._podman.env)
        return took

    def skopeo_and_umoci(self, count: int) -> float:
        layout, bundle = self._directory / "peer-layout", self._directory / "peer-bundle"
        source = f"docker://{self._host}/debian:{count}"
        copy = [peers.program("skopeo"), "copy", "--quiet", "--src-tls-verify=false", source, f"oci:{layout}:x"]
        took = peers.timed_program(copy)
        took += peers.timed_program([peers.program("umoci"), "unpack", "--image", f"{layout}:x", str(bundle)])
        shutil.rmtree(layout)
        shutil.rmtree(bundle)
        return took

    def memory(self, count: int) -> float:
        """The highest sum of the memory of all processes of a pull, in MB."""
        self._empty()
        highest = 0.0
        process = subprocess.Popen(self._command(count, "pull"), stdout=subprocess.DEVNULL)
        ended = threading.Event()
        while process.poll() is None:
            highest = max(highest, _memory_of(process.pid))
            ended.wait(_SAMPLE)
        if process.returncode:
            raise RuntimeError(f"the pull ended with status {process.returncode}")
        return highest

    def _command(self, count: int, what: str) -> list[str]:
        roots = (str(self._root), str(self._run_root))
        image = f"{self._host}/debian:{count}"
        return [_PYTHON, "-I", "-S", "-E", str(_WORKER), str(_MODULE_UTILS), *roots, image, what]

    def _empty(self) -> None:
        for path in (self._root, self._run_root):
            shutil.rmtree(path, ignore_errors=True)


def _memory_of(pid: int) -> float:
    """A process's and its descendants' memory; what ends meanwhile has none."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return pss(pid) + sum(_memory_of(int(child)) for child in children)
    except (OSError, RuntimeError):
        return 0.0
