# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives as no good tool writes them, block by block; and a place with a canary, to see what an attack changes."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.stowage.engine.plugins.module_utils._engine.image.layer.budget import (
    DEFAULT_RULES,
    Budget,
    Rules,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.layer.unpack import unpack_layer

BLOCK = 512
CHR, BLK, DIR, LINK, HARD, FIFO = b"3", b"4", b"5", b"2", b"1", b"6"
_OFFSETS = {"mode": 100, "uid": 108, "gid": 116, "size": 124, "mtime": 136, "target": 157, "magic": 257}
_OFFSETS |= {"major": 329, "minor": 337, "prefix": 345, "sparse": 386, "extended": 482, "realsize": 483}
END = bytes(2 * BLOCK)
SMALL = Budget(size=256 << 20, entries=2_000_000)


def octal(number: int, width: int) -> bytes:
    return b"%0*o\0" % (width - 1, number)


def base256(number: int, width: int) -> bytes:
    """A number as GNU writes those that octal digits cannot say (tar(5))."""
    first = b"\xff" if number < 0 else b"\x80"
    return first + number.to_bytes(width - 1, "big", signed=True)


def entry(name: bytes, kind: bytes = b"0", content: bytes = b"", **fields: bytes) -> bytes:
    """An entry with its content. ``fields`` are put into the header as they are, ``checksum`` among them; ``sparse``,
    ``extended`` and ``realsize`` are GNU's, of a file with holes."""
    header = bytearray(BLOCK)
    plain = {"mode": octal(0o755 if kind == b"5" else 0o644, 8), "uid": octal(0, 8), "gid": octal(0, 8)}
    plain |= {"size": octal(len(content), 12), "mtime": octal(0, 12), "magic": b"ustar\x0000"}
    plain |= {"major": octal(0, 8), "minor": octal(0, 8)}
    header[: len(name[:100])] = name[:100]
    header[156:157] = kind
    checksum = fields.pop("checksum", b"")
    for key, value in {**plain, **fields}.items():
        header[_OFFSETS[key] : _OFFSETS[key] + len(value)] = value
    header[148:156] = b" " * 8
    header[148:156] = checksum or b"%06o\0 " % sum(header)
    assert len(header) == BLOCK
    return bytes(header) + content + bytes(-len(content) % BLOCK)


def pax(*records: tuple[bytes, bytes], kind: bytes = b"x") -> bytes:
    return entry(b"pax", kind, b"".join(record(key, value) for key, value in records))


def record(key: bytes, value: bytes) -> bytes:
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %b=%b\n" % (length, key, value)


def long_name(name: bytes, kind: bytes = b"L") -> bytes:
    """What GNU tar puts before an entry whose name (``L``) or target (``K``) is longer than 100 bytes."""
    return entry(b"././@LongLink", kind, name + b"\0")


def link(name: bytes, target: bytes, kind: bytes = LINK) -> bytes:
    return pax((b"linkpath", target)) + entry(name, kind)


def archive(*parts: bytes) -> bytes:
    return b"".join(parts) + END


def digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


class Place:
    """A directory for layers with a canary tree on every side of it, and what all of that is like."""

    def __init__(self, directory: Path) -> None:
        self._top = str(directory)
        self.outside = directory / "outside"
        self.layers = self.outside / "store" / "layers"
        self.layers.mkdir(parents=True)
        for canary in (directory, self.outside, self.outside / "store", self.layers):
            (canary / "canary").write_text("sings")
            (canary / "cage").mkdir()
            (canary / "cage" / "bird").symlink_to("../canary")
        self.before = self.look()

    def look(self) -> dict[str, tuple[int, ...]]:
        """Every name of it with all that a write, chmod or link changes, and what everybody's directories are like.

        Access times are left out. The layers' own directory changes when something is made in it.
        """
        found = {}
        for path in self._paths():
            status = os.lstat(path)
            content = (status.st_size, status.st_nlink, status.st_ctime_ns)
            own = path.startswith(self._top) and path != str(self.layers)  # others use the rest of the machine
            found[path] = (status.st_ino, status.st_mode, status.st_uid, status.st_gid, *(content if own else ()))
        return found

    def _paths(self) -> Iterator[str]:
        yield from ("/", os.getcwd(), "/dev", "/dev/null", "/etc/passwd")
        for path, names, files in os.walk(self._top):
            yield path
            yield from (os.path.join(path, name) for name in (*names, *files))

    def unpack(self, layer: bytes, budget: Budget = SMALL, rules: Rules = DEFAULT_RULES, diff_id: str = "") -> Path:
        unpack_layer(
            io.BytesIO(layer), str(self.layers / "layer"), diff_id or digest_of(layer), budget=budget, rules=rules
        )
        return self.layers / "layer.partial"

    def changes(self) -> dict[str, object]:
        """What is another than it was."""
        now = self.look()
        names = {*now, *self.before}
        return {
            name: (self.before.get(name), now.get(name)) for name in names if now.get(name) != self.before.get(name)
        }
