# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds on roots of their own, on a tmpfs, out of contexts that have busybox."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.building import build_image, forecast_build
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.build.view import Found, View, entries
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.store import Store
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.cgroupfs import remove_tree
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.build import Build, Forecast
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.reference import normalise
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths

BUSYBOX = "/bin/busybox"
# A root with a shell: all other files begin with it.
BASE = """\
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
"""
NAME = "docker.io/library/built:1"


def pytest_collection_modifyitems(items):
    if os.geteuid() != 0:
        for item in items:
            if "kernel/build" in str(item.path):
                item.add_marker(pytest.mark.skip(reason="needs root: steps run in containers"))


class Workshop:
    """A host's roots and a build's context. ``close`` takes all away that builds have made."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.paths = Paths(str(directory / "root"), str(directory / "run"))
        self.context = directory / "context"
        self.context.mkdir(parents=True)
        shutil.copy(BUSYBOX, self.context / "busybox")
        self.log: list[str] = []

    def write(self, path: str, content: str | bytes = "", mode: int = 0o644) -> Path:
        """A file of the context."""
        file = self.context / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        file.chmod(mode)
        return file

    def wanted(self, text: str, **options: object) -> Build:
        self.write("Containerfile", text)
        return replace(Build(NAME, context=str(self.context)), **options)

    def build(self, text: str, **options: object) -> str:
        """The digest of the image that ``text`` makes; ``log`` has what was said."""
        self.log.clear()
        return build_image(self.paths, self.wanted(text, **options), self.log.append)

    def forecast(self, text: str, **options: object) -> Forecast:
        return forecast_build(self.paths, self.wanted(text, **options))

    def outcomes(self, text: str, **options: object) -> list[str]:
        """What would become of each step that makes a layer."""
        forecast = self.forecast(text, **options)
        return [step.outcome for step in forecast.steps if step.outcome != "configured"]

    def document(self, name: str = NAME) -> dict[str, object]:
        """The image's configuration."""
        store = Store(self.paths.images)
        name = normalise("name", name)
        return store.read_image(store.names()[name], name)[1]

    def config(self) -> dict[str, object]:
        return self.document()["config"]

    def layers(self) -> list[Path]:
        return [Path(self.paths.layer(diff_id)) for diff_id in self.document()["rootfs"]["diff_ids"]]

    def tree(self, *, without: tuple[str, ...] = ("bin",)) -> dict[str, tuple[object, ...]]:
        """Every path of the image but those ``without``: kind and mode, owner, and content."""
        view = View(map(str, self.layers()))
        root = view.find(b"")
        assert root is not None
        return {path: told for path, told in read_tree(root) if path.split("/")[0] not in without}

    def read(self, path: str) -> str:
        """A file of the image."""
        view = View(map(str, self.layers()))
        found = view.find(view.resolve(path.strip("/").encode()))
        assert found is not None, f"{path} is not in the image"
        return Path(os.fsdecode(found.path)).read_text()

    def has(self, path: str) -> bool:
        view = View(map(str, self.layers()))
        return view.find(view.resolve(path.strip("/").encode())) is not None

    def blobs(self) -> set[str]:
        return set(Store(self.paths.images).blobs())

    def close(self) -> None:
        for tree in Path("/sys/fs/cgroup").glob(f"*/{self.paths.instance}"):
            remove_tree(str(tree))
        shutil.rmtree(self.directory)


def read_tree(directory: Found, prefix: str = "") -> Iterator[tuple[str, tuple[object, ...]]]:
    for entry in entries(directory):
        path = prefix + os.fsdecode(entry.name)
        yield path, tell_file(entry.path, entry.stat)
        if entry.is_directory:
            yield from read_tree(entry, path + "/")


def tell_file(path: bytes | str, found: os.stat_result) -> tuple[object, ...]:
    content: object = ""
    if os.path.islink(path):
        content = os.fsdecode(os.readlink(path))
    elif os.path.isfile(path):
        content = Path(os.fsdecode(path)).read_bytes()
    return (oct(found.st_mode), found.st_uid, found.st_gid, content)


def every_file(directory):
    return [Path(folder, name) for folder, _folders, names in os.walk(directory) for name in names]


def run(*argv: str, **options: object) -> str:
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=120, **options)
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture
def workshop() -> Iterator[Workshop]:
    yield from _workshop()


@pytest.fixture
def another_workshop() -> Iterator[Workshop]:
    yield from _workshop()


def _workshop() -> Iterator[Workshop]:
    # On a tmpfs, as an overlay's upper layer may be; the machine's own disk may be slow at making files.
    workshop = Workshop(Path(tempfile.mkdtemp(prefix="stowage-build-", dir="/dev/shm")))
    try:
        yield workshop
    finally:
        workshop.close()
