# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images: assembled on the host, and a layer of some 30 MB unpacked, beside tar and umoci."""

from __future__ import annotations

import json
import random
import shutil
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from ansible_collections.stowage.engine.plugins.module_utils._engine.image.layer.directories import install_layers
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.store import Store, write_store
from tests.bench import peers
from tests.bench.frame import Row, milliseconds, take_turns
from tests.bench.scene import apply_in, scene
from tests.kernel.host.world import image_task

TITLE = "Images"
NOTE = (
    "Assembling: busybox and a layer of links, to an OCI image with its layers unpacked. Unpacking: a layer of 3,000 "
    "files in 300 directories, 30 MB, uncompressed, on a tmpfs; ours checks its digest while it unpacks, as umoci does."
)
_ROUNDS = 7
_FILES, _DIRECTORIES, _SIZE = 3000, 300, 30_000_000
_NAME = "bench-big:1"


def measure() -> Iterator[Row]:
    with scene() as world:
        archive = world.directory / "layer.tar"
        _write_archive(archive)
        world.run(("image", {"name": _NAME, "layers": [{"src": str(archive)}]}))
        layout = _layout_for_umoci(world)
        umoci = ["umoci", "raw", "unpack", "--image", f"{layout}:big", "OUT/rootfs"]
        medians = take_turns(
            _ROUNDS,
            {
                "assemble": lambda: _assemble(world),
                "ours": lambda: _unpack(world),
                "tar": lambda: _unpack_by(world, ["tar", "-C", "OUT", "--numeric-owner", "-xf", str(archive)]),
                "umoci": lambda: _unpack_by(world, umoci),
            },
        )
    yield Row("assemble the image of the quickstart's size", medians["assemble"])
    yield Row("unpack a layer of 30 MB", medians["ours"], medians["tar"], "tar -x", wanted=1, of_ratio=True)
    yield Row("unpack a layer of 30 MB", medians["ours"], medians["umoci"], "umoci raw unpack")


def _write_archive(path: Path) -> None:
    """The same files on every machine: sizes spread as in a system's, most small and a few large."""
    numbers = random.Random(1)
    weights = [numbers.paretovariate(1.2) for _number in range(_FILES)]
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for number in range(_DIRECTORIES):
            directory = tarfile.TarInfo(f"usr/lib/d{number:03}")
            directory.type, directory.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(directory)
        for number, weight in enumerate(weights):
            file = tarfile.TarInfo(f"usr/lib/d{number % _DIRECTORIES:03}/file{number:04}")
            file.size, file.mode, file.mtime = int(_SIZE * weight / sum(weights)), 0o644, 1_700_000_000
            archive.addfile(file, BytesIO(numbers.randbytes(file.size)))


def _layout_for_umoci(world) -> Path:
    """The engine's own image layout under another roof: umoci has its own idea of what a tag may be."""
    layout = world.directory / "layout"
    shutil.copytree(world.paths.images, layout)
    index = json.loads((layout / "index.json").read_text())
    kept = [entry for entry in index["manifests"] if "bench-big" in json.dumps(entry)]
    kept[0]["annotations"] = {"org.opencontainers.image.ref.name": "big"}
    (layout / "index.json").write_text(json.dumps({**index, "manifests": kept}))
    return layout


def _assemble(world) -> float:
    name = "bench-small:1"
    task = image_task(name, **{"/etc/motd": "Hello.\n"})
    took = apply_in(world, task, with_plan=True)
    world.run(("image", {"name": name, "state": "absent"}))
    return took


def _unpack(world) -> float:
    def unpack() -> float:
        store = Store(world.paths.images)
        name = next(name for name in store.names() if "bench-big" in name)
        manifest, config = store.read_image(store.names()[name], name)
        layers = list(zip(manifest.layers, config["rootfs"]["diff_ids"], strict=True))
        for _descriptor, diff_id in layers:
            shutil.rmtree(world.paths.layer(diff_id), ignore_errors=True)
        with write_store(world.paths) as opened:
            return milliseconds(lambda: install_layers(world.paths, opened, layers))

    return world.call(unpack)


def _unpack_by(world, command: list[str]) -> float:
    out = world.directory / "out"
    out.mkdir()
    words = [peers.program(command[0]), *(word.replace("OUT", str(out)) for word in command[1:])]
    took = peers.timed_program(words)
    shutil.rmtree(out)
    return took
