# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The memory of layers in zstd: how much one may ask for, how many have it at once, and what a pull comes to."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import InvalidImage
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.layer.windows import Windows, window_of

from .conftest import Registry, digest_of, layer_of, member
from .test_layer_formats import unpack, without

pytestmark = pytest.mark.root

MB = 1 << 20
REPOSITORY = Path(__file__).parents[3]
WORKER = REPOSITORY / "tests/bench/pull_worker.py"
NOISE = random.Random(7).randbytes(2 * MB)


def zstd(content: bytes, *options: str) -> bytes:
    """From a pipe, as layers are: a frame does not say then how large it is, and asks for all of its window."""
    return subprocess.run(["zstd", "-qc", *options], input=content, stdout=subprocess.PIPE, check=True).stdout


def window(bits: int) -> tuple[str, ...]:
    return ("-1", f"--zstd=wlog={bits}", f"--long={bits}")


# What a frame asks for ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 65_791, 65_792, 70_000, 2 * MB])
def test_windows_are_read_as_the_library_reads_them(size: int) -> None:
    zstandard = pytest.importorskip("zstandard", reason="the package zstandard is not in this environment")
    content = NOISE[:size]
    frames = [zstandard.compress(content, level) for level in (1, 3, 19)]  # the size is known: a single segment
    frames += [zstandard.ZstdCompressor(write_content_size=False).compress(content)]
    frames += [zstd(content, *window(bits)) for bits in (10, 17, 23, 25)]
    for frame in frames:
        assert window_of(frame) == zstandard.get_frame_parameters(frame).window_size


def test_a_window_may_have_any_of_eight_sizes_between_powers_of_two() -> None:
    for number in range(256):
        size = (1 << (10 + (number >> 3))) * (8 + (number & 7)) // 8
        frame = b"\x28\xb5\x2f\xfd\x00" + bytes([number])
        if size <= 32 * MB:
            assert window_of(frame) == size
        else:
            with pytest.raises(InvalidImage, match=f"takes a window of {size >> 20} MB"):
                window_of(frame)


@pytest.mark.parametrize("package", ["zstandard", "the program"])
@pytest.mark.parametrize("options", [("-19",), ("--ultra", "-20"), window(25)], ids=" ".join)
def test_what_others_write_is_read(
    options: tuple[str, ...], package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if package == "the program":
        without(monkeypatch, "zstandard")
    layer = layer_of(member("a"), content=NOISE * 20)  # more than a window, each part of it far from its like
    assert (unpack(zstd(layer, *options), tmp_path / "layer", layer) / "a").read_bytes() == NOISE * 20


@pytest.mark.parametrize("package", ["zstandard", "the program"])
@pytest.mark.parametrize("options", [("--ultra", "-22", "--long=27"), window(26), window(30)], ids=" ".join)
def test_what_takes_too_much_memory_is_refused_in_words(
    options: tuple[str, ...], package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if package == "the program":
        without(monkeypatch, "zstandard")
    layer = layer_of(member("a"), content=NOISE)
    large = zstd(layer, *options)
    with pytest.raises(InvalidImage, match=r"window of \d+ MB of memory, more than 32 MB: have it compressed without"):
        unpack(large, tmp_path / "layer", layer)
    # In a frame that is not the first the library or the program says so.
    with pytest.raises(InvalidImage, match=r"not valid zstd data \(.*([Mm]emory|[Ww]indow)"):
        unpack(zstd(layer) + large, tmp_path / "layer", layer)
    assert os.listdir(tmp_path) == []


# How many at once -----------------------------------------------------------------------------------------


def hold(windows: Windows, size: int, seconds: float) -> int:
    """A process that has a decoder for so long once it may."""
    pid = os.fork()
    if pid == 0:
        try:
            windows.enter(size)
            time.sleep(seconds)
        finally:
            os._exit(0)
    return pid


def took(*pids: int) -> float:
    started = time.monotonic()
    for pid in pids:
        os.waitpid(pid, 0)
    return time.monotonic() - started


CROWDS: dict[str, tuple[list[int], float, float]] = {
    "two": ([8, 8], 0.4, 0.8),
    "three": ([1, 8, 2], 0.8, 1.2),
    "a large one": ([32], 0.4, 0.8),
    "two large ones": ([9, 32], 0.8, 1.2),
    "a large one and two": ([32, 8, 8], 0.8, 1.2),
}


@pytest.mark.parametrize("name", CROWDS)
def test_two_are_at_work_at_once_and_a_large_one_alone(name: str) -> None:
    sizes, least, most = CROWDS[name]
    windows, pids = Windows(), []
    for size in sizes:
        pids.append(hold(windows, size * MB, 0.4))
        time.sleep(0.02)
    assert least - 0.1 < took(*pids) < most + 0.35


def test_who_is_killed_makes_room() -> None:
    windows = Windows()
    killed = hold(windows, 32 * MB, 60)
    time.sleep(0.1)
    waits = hold(windows, 8 * MB, 0)
    time.sleep(0.1)
    assert os.waitpid(waits, os.WNOHANG) == (0, 0)
    os.kill(killed, 9)
    assert took(killed, waits) < 5


# What a pull comes to -------------------------------------------------------------------------------------


def pss(pid: int) -> int:
    """What a process and all below it have of memory, in bytes; what ends meanwhile has none."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        told = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    own = sum(int(line.split()[1]) << 10 for line in told.splitlines() if line.startswith("Pss:"))
    return own + sum(pss(int(child)) for child in children)


def push(registry: Registry, directory: Path, layers: list[bytes], compress: Callable[[bytes], bytes]) -> str:
    """An image of these layers, from skopeo, which leaves them as they are."""
    layout = directory / "layout"
    (layout / "blobs/sha256").mkdir(parents=True)

    def put(content: bytes, kind: str) -> dict[str, object]:
        digest = digest_of(content)
        (layout / "blobs" / digest.replace(":", "/")).write_bytes(content)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": digest, "size": len(content)}

    rootfs = {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]}
    config = put(json.dumps({"os": "linux", "architecture": "amd64", "rootfs": rootfs}).encode(), "config.v1+json")
    described = [put(compress(layer), "layer.v1.tar+zstd") for layer in layers]
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json"}
    entry = put(json.dumps({**manifest, "config": config, "layers": described}).encode(), "manifest.v1+json")
    entry["annotations"] = {"org.opencontainers.image.ref.name": "1"}
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    name = f"{registry.host}/windows:{time.monotonic_ns()}"
    options = ["-q", "--preserve-digests", "--dest-tls-verify=false"]
    subprocess.run(["skopeo", "copy", *options, f"oci:{layout}:1", f"docker://{name}"], check=True)
    return name


@pytest.mark.parametrize("package", ["zstandard", "the program"])
@pytest.mark.parametrize("bits", [23, 25])
def test_a_pull_stays_under_80_mb(bits: int, package: str, registry: Registry, tmp_path: Path) -> None:
    """Four layers that fill their windows; the system's Python has no zstandard, that of the tests has."""
    python = [sys.executable] if package == "zstandard" else ["/usr/bin/python3", "-I", "-S", "-E"]
    layers = [layer_of(member(f"f{number}"), content=random.randbytes((1 << bits) + 4 * MB)) for number in range(4)]
    name = push(registry, tmp_path, layers, lambda layer: zstd(layer, *window(bits)))
    roots = (str(tmp_path / "lib"), str(tmp_path / "run"))
    module_utils = str(REPOSITORY / "plugins/module_utils")
    process = subprocess.Popen([*python, str(WORKER), module_utils, *roots, name, "pull"], stdout=subprocess.DEVNULL)
    highest = 0
    while process.poll() is None:
        highest = max(highest, pss(process.pid))
        time.sleep(0.005)
    assert process.returncode == 0
    assert 1 << bits < highest < 80e6
