# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""rpm's database: a header blob a package in SQLite (rpm.org: "RPM V4 Package format", header structure)."""

from __future__ import annotations

import contextlib
import sqlite3
import struct

from ...errors import InvalidImage
from .packages import Package

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# Tags of rpm's lib/rpmtag.h.
_NAME, _VERSION, _RELEASE, _EPOCH, _SUMMARY, _VENDOR, _LICENSE, _PACKAGER, _URL, _ARCH, _SOURCE = (
    *(1000, 1001, 1002, 1003, 1004, 1011, 1014, 1015, 1020, 1022),
    1044,
)
_INT32, _STRING, _I18N = 4, 6, 9
_MAX_ENTRIES = 100_000


def read_rpm_database(path: str) -> Iterator[Package]:
    """The packages, without the public keys that rpm keeps beside them. Raises InvalidImage."""
    try:
        # A file of an image that others share: it may not be written, nor a journal left beside it.
        with contextlib.closing(sqlite3.connect(f"file:{_quoted(path)}?mode=ro&immutable=1", uri=True)) as database:
            blobs = [row[0] for row in database.execute("SELECT blob FROM Packages")]
    except sqlite3.Error as error:
        raise InvalidImage(f"rpm's database of the image cannot be read: {error}") from error
    for blob in blobs:
        package = _parse(blob if isinstance(blob, bytes) else b"")
        if package.name != "gpg-pubkey":
            yield package


def _quoted(path: str) -> str:
    """As SQLite's file: names want it."""
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _parse(blob: bytes) -> Package:
    try:
        count, size = struct.unpack_from(">II", blob)
        if count > _MAX_ENTRIES or 8 + 16 * count + size > len(blob):
            raise InvalidImage("rpm's database of the image holds a header that ends too early")
        store = blob[8 + 16 * count :]
        entries = (struct.unpack_from(">IIII", blob, 8 + 16 * number) for number in range(count))
        fields = {tag: _value(store, kind, offset) for tag, kind, offset, _count in entries}
    except (struct.error, IndexError) as error:
        raise InvalidImage("rpm's database of the image holds a malformed header") from error
    text = {tag: value for tag, value in fields.items() if isinstance(value, str)}
    version = f"{text.get(_VERSION, '')}-{text.get(_RELEASE, '')}"
    if fields.get(_EPOCH):
        version = f"{fields[_EPOCH]}:{version}"
    source = text.get(_SOURCE, "")
    source_name, _dash, _rest = source.removesuffix(".src.rpm").rpartition("-")[0].rpartition("-")
    return Package(
        "rpm",
        text.get(_NAME, ""),
        version,
        text.get(_ARCH, ""),
        source_name or text.get(_NAME, ""),
        "",
        text.get(_PACKAGER) or text.get(_VENDOR, ""),
        text.get(_LICENSE, ""),
        text.get(_URL, ""),
        text.get(_SUMMARY, ""),
    )


def _value(store: bytes, kind: int, offset: int) -> str | int:
    """The first value of an entry; nothing of kinds that are not asked for."""
    if kind == _INT32:
        return int(struct.unpack_from(">I", store, offset)[0])
    if kind in (_STRING, _I18N):
        return store[offset : store.index(b"\0", offset)].decode(errors="replace") if b"\0" in store[offset:] else ""
    return ""
