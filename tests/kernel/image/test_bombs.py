# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Layers out of all proportion: what is small as it comes and endless inside is refused before it costs much."""

from __future__ import annotations

import gzip
import os
import resource
import time
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import InvalidImage
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.layer.budget import Budget

from .hostile import DIR, END, Place, archive, entry, link, octal, pax

pytestmark = pytest.mark.root


def measure(place: Place, layer: bytes, said: str, budget: Budget) -> tuple[float, int]:
    """Seconds of a processor, and bytes of memory beyond what was there, that refusing a layer takes in a worker."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
            with pytest.raises(InvalidImage, match=said):
                place.unpack(layer, budget, diff_id="sha256:" + "0" * 64)
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
            os.write(writer, f"{used.ru_utime + used.ru_stime} {(used.ru_maxrss << 10) - resident}".encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as told:
        words = told.read().split()
    os.waitpid(pid, 0)
    assert words, "it was not refused in those words"
    assert place.changes() == {}
    return float(words[0]), int(words[1])


def bomb(size: int, compress: str) -> bytes:
    """An archive of one file of zeros, ``size`` bytes, compressed in pieces that are one stream together."""
    header = entry(b"zeros", size=octal(size, 12))
    chunk = bytes(16 << 20)
    if compress == "gzip":
        piece = gzip.compress(chunk, 9)
        return gzip.compress(header) + piece * (size // len(chunk)) + gzip.compress(END)
    zstandard = pytest.importorskip("zstandard", reason="the package zstandard is not in this environment")
    piece = zstandard.ZstdCompressor(19).compress(chunk)
    return zstandard.compress(header) + piece * (size // len(chunk)) + zstandard.compress(END)


def test_what_is_behind_the_end_is_counted_too(place: Place) -> None:
    zeros = gzip.compress(bytes(16 << 20), 9)
    layer = gzip.compress(archive(entry(b"x"))) + zeros * 20
    measure(place, layer, r"more than 268435456 bytes uncompressed", Budget(size=256 << 20))


@pytest.mark.parametrize("compress", ["gzip", "zstd"])
def test_ten_gigabytes_of_zeros_in_ten_megabytes(place: Place, compress: str) -> None:
    layer = bomb(10 << 30, compress)
    assert len(layer) < 11 << 20
    seconds, memory = measure(place, layer, r"more than 1073741824 bytes uncompressed", Budget(size=1 << 30))
    assert seconds < 20
    assert memory < 64 << 20


def test_zeros_take_no_room_and_are_counted_all_the_same(place: Place) -> None:
    """Many files that say they are holes: nothing is in the archive, nothing on the disk, and a budget ends it."""
    hole = pax((b"GNU.sparse.map", b""), (b"GNU.sparse.size", b"%d" % (100 << 20)))
    parts = [hole + entry(b"%d" % number) for number in range(11)]
    measure(place, archive(*parts), r"more than 1073741824 bytes", Budget(size=1 << 30))
    made = place.unpack(archive(*parts[:2]), Budget(size=1 << 30))
    assert sum(os.lstat(made / name).st_blocks for name in os.listdir(made)) == 0


def test_empty_entries_without_end(place: Place) -> None:
    one = entry(b"x" * 50)
    layer = gzip.compress(b"".join([one] * 50_000) + END, 1)
    seconds, memory = measure(place, layer, r"more than 30000 entries", Budget(entries=30_000))
    assert seconds < 60
    assert memory < 64 << 20


@pytest.mark.parametrize("kind", [b"g", b"x", b"L"])
def test_headers_without_an_entry_take_no_memory(place: Place, kind: bytes) -> None:
    """A header for what comes next, a thousand times a hundred different keys: 100 MB of them."""
    parts = [pax(*((b"k%d.%d" % (number, key), b"v" * 900) for key in range(100)), kind=kind) for number in range(1000)]
    layer = gzip.compress(archive(*parts, entry(b"../out")), 1)
    _seconds, memory = measure(place, layer, r"points out of it|cannot be", Budget(size=1 << 30))
    assert memory < 32 << 20


def test_links_that_take_long_end_in_time(place: Place) -> None:
    """Each entry goes through 18 links of 1,600 names each; a processor is taken for so long, no longer."""
    chain = [link(b"l0", b"a/../" * 800)]
    chain += [link(b"l%d" % number, b"l%d/" % (number - 1) + b"a/../" * 800) for number in range(1, 18)]
    entries = [entry(name) for _time in range(20_000) for name in (b"l17/x", b"b/x")]
    layer = gzip.compress(archive(entry(b"a", DIR), *chain, *entries), 1)
    started = time.monotonic()
    seconds, _memory = measure(place, layer, r"more than 2 s of a processor", Budget(seconds=2))
    assert seconds < 10 and time.monotonic() - started < 60
