# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds: a Containerfile of ten steps that has not changed, and the same from nothing, beside podman's."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.stowage.engine.plugins.module_utils._engine.building import build_image
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.cgroupfs import remove_tree
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.build import Build
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths
from tests.bench.frame import Row, milliseconds, take_turns

TITLE = "Builds"
NOTE = (
    "A Containerfile of ten steps on a busybox base: four that run, three that copy (one of them 1,000 files), three "
    "that configure. Unchanged: what a module does until it knows that there is nothing to do, the imports of it "
    "included; podman's is the whole command. From nothing: neither has a cache; podman's steps are not isolated "
    "(`--isolation chroot`), since its own way needs more of the machine than it has here."
)
_ROUNDS = 5
_ENGINE = Path(__file__).parents[2] / "plugins/module_utils"
_WORKER = Path(__file__).with_name("build_worker.py")
_PYTHON = ["/usr/bin/python3", "-I", "-S", "-E"]
_NAME = "docker.io/library/bench-build:1"
_FILES = 1000
_CONTAINERFILE = """\
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
ENV MODE=release
WORKDIR /srv/site
COPY files /srv/site
RUN find . -type f | wc -l > /count
RUN mkdir -p /var/cache/site && echo "$MODE" > /var/cache/site/mode
COPY Containerfile /Containerfile
RUN adduser -D -H site 2>/dev/null || true
CMD ["httpd", "-f", "-h", "/srv/site"]
"""


def measure() -> Iterator[Row]:
    directory = Path(tempfile.mkdtemp(prefix="stowage-bench-", dir="/dev/shm"))
    paths = Paths(str(directory / "root"), str(directory / "run"))
    try:
        context = _make_context(directory)
        podman = _Podman(directory, context)
        _build(paths, context)
        podman.build()
        medians = take_turns(
            _ROUNDS,
            {
                "unchanged": lambda: _look(paths, context),
                "podman unchanged": lambda: milliseconds(podman.build),
                "anew": lambda: milliseconds(lambda: _build(paths, context, cache=False)),
                "podman anew": lambda: milliseconds(lambda: podman.build("--no-cache")),
            },
        )
        podman.close()
    finally:
        for tree in Path("/sys/fs/cgroup").glob(f"*/{paths.instance}"):
            remove_tree(str(tree))
        shutil.rmtree(directory, ignore_errors=True)
    yield Row("ten steps, unchanged", medians["unchanged"], medians["podman unchanged"], "podman build", wanted=150)
    yield Row(
        "ten steps, from nothing", medians["anew"], medians["podman anew"], "podman build", wanted=1, of_ratio=True
    )


def _make_context(directory: Path) -> Path:
    context = directory / "context"
    (context / "files").mkdir(parents=True)
    shutil.copy("/bin/busybox", context / "busybox")
    for number in range(_FILES):
        folder = context / "files" / f"d{number % 50:02}"
        folder.mkdir(exist_ok=True)
        (folder / f"f{number:04}").write_text(f"{number}\n" * 100)
    (context / "Containerfile").write_text(_CONTAINERFILE)
    return context


def _build(paths: Paths, context: Path, *, cache: bool = True) -> None:
    build_image(paths, Build(_NAME, context=str(context), cache=cache))


def _look(paths: Paths, context: Path) -> float:
    words = [*_PYTHON, str(_WORKER), str(_ENGINE), paths.root, paths.run_root, str(context)]
    done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=60)
    return float(done.stdout)


class _Podman:
    """podman, with a store of its own beside ours."""

    def __init__(self, directory: Path, context: Path) -> None:
        store = ["--root", f"{directory}/podman", "--runroot", f"{directory}/podman-run", "--storage-driver", "overlay"]
        self._words = ["podman", *store, "--runtime", "runc"]
        self._context = context

    def build(self, *more: str) -> None:
        limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"]
        self._run("build", "--isolation", "chroot", "--layers", *limits, "-t", "bench:1", *more, str(self._context))

    def close(self) -> None:
        self._run("system", "reset", "--force")

    def _run(self, *words: str) -> None:
        environment = {**os.environ, "BUILDAH_ISOLATION": "chroot"}
        subprocess.run([*self._words, *words], check=True, capture_output=True, timeout=120, env=environment)
