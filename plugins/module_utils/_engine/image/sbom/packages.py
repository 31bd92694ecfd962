# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The packages of an image, by the databases of dpkg, apk and rpm in its layers; nothing of it is run or mounted.

Sources: deb-control(5) and dpkg(1) for ``status``; the apk package specification for ``installed``; rpm's header format
(rpm.org, "RPM V4 Package format") in the table ``Packages`` of its SQLite database.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from ...errors import InvalidImage, Unsupported
from ..build.view import View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_MAX_FILE = 64 << 20
_DPKG = (b"var/lib/dpkg/status", b"var/lib/dpkg/status.d")
_APK = (b"lib/apk/db/installed", b"usr/lib/apk/db/installed")
_RPM = (b"var/lib/rpm/rpmdb.sqlite", b"usr/lib/sysimage/rpm/rpmdb.sqlite")
_RPM_OLD = (b"var/lib/rpm/Packages", b"var/lib/rpm/Packages.db", b"usr/lib/sysimage/rpm/Packages.db")
_SOURCE = re.compile(r"(\S+)(?: \((\S+)\))?")


class Package(NamedTuple):
    """One installed package. ``kind`` is deb, apk or rpm, as in package URLs; what is not known is empty."""

    kind: str
    name: str
    version: str
    architecture: str = ""
    source: str = ""
    source_version: str = ""
    maintainer: str = ""
    license: str = ""
    homepage: str = ""
    summary: str = ""


class System(NamedTuple):
    """The distribution, by os-release(5), and its packages, sorted."""

    id: str
    version: str
    name: str
    packages: tuple[Package, ...]


def read_system(directories: Sequence[str]) -> System:
    """What is installed in the image whose unpacked layers these are, the lowest first.

    Raises InvalidImage where a database is malformed or of a kind that cannot be read.
    """
    view = View(directories)
    release = _read_release(view)
    found = {*_read_dpkg(view), *_read_apk(view), *_read_rpm(view)}
    name = release.get("PRETTY_NAME") or release.get("NAME") or ""
    return System(release.get("ID", ""), release.get("VERSION_ID", ""), name, tuple(sorted(found)))


def _read(view: View, path: bytes) -> str:
    """A file's text; empty where there is none."""
    where = view.file(path)
    if where is None:
        return ""
    with open(where, "rb") as file:
        content = file.read(_MAX_FILE + 1)
    if len(content) > _MAX_FILE:
        raise InvalidImage(f"/{os.fsdecode(path)} has more than {_MAX_FILE} bytes")
    return content.decode(errors="replace")


def _read_release(view: View) -> dict[str, str]:
    text = _read(view, b"etc/os-release") or _read(view, b"usr/lib/os-release")
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip().strip("\"'") for name, _equals, value in pairs}


def _paragraphs(text: str) -> Iterator[dict[str, str]]:
    """deb822(5): fields of one line; what goes on in further lines is left out."""
    for paragraph in re.split(r"\n\s*\n", text):
        fields = (line.partition(":") for line in paragraph.splitlines() if line[:1] not in (" ", "\t"))
        found = {name: value.strip() for name, colon, value in fields if colon}
        if found:
            yield found


def _read_dpkg(view: View) -> Iterator[Package]:
    """``status``, and ``status.d`` of images that have no dpkg."""
    texts = [_read(view, _DPKG[0])]
    texts += [_read(view, _DPKG[1] + b"/" + name) for name in view.names(_DPKG[1]) if not name.endswith(b".md5sums")]
    for text in texts:
        for fields in _paragraphs(text):
            if "Package" not in fields or not fields.get("Status", "install ok installed").endswith(" installed"):
                continue
            source = _SOURCE.match(fields.get("Source", ""))
            yield Package(
                "deb",
                fields["Package"],
                fields.get("Version", ""),
                fields.get("Architecture", ""),
                source[1] if source else fields["Package"],
                (source[2] if source else "") or fields.get("Version", ""),
                fields.get("Maintainer", ""),
                homepage=fields.get("Homepage", ""),
                summary=fields.get("Description", ""),
            )


def _read_apk(view: View) -> Iterator[Package]:
    """Fields of one letter: P name, V version, A architecture, o origin, m maintainer, L license, U url, T text."""
    for path in _APK:
        for paragraph in _read(view, path).split("\n\n"):
            fields = {line[0]: line[2:].strip() for line in paragraph.splitlines() if line[1:2] == ":"}
            if "P" not in fields:
                continue
            told = [fields.get(letter, "") for letter in "VAo"]
            version, architecture, origin = told
            maintainer, licenses, url, text = (fields.get(letter, "") for letter in "mLUT")
            source = origin or fields["P"]
            yield Package("apk", fields["P"], version, architecture, source, version, maintainer, licenses, url, text)


def _read_rpm(view: View) -> Iterator[Package]:
    for path in _RPM:
        where = view.file(path)
        if where is not None:
            try:
                from .rpm import read_rpm_database  # sqlite3: most images have no such database
            except ImportError as error:
                raise Unsupported("reading rpm's database takes Python's sqlite3, which this host lacks") from error
            yield from read_rpm_database(os.fsdecode(where))
            return
    for path in _RPM_OLD:
        if view.file(path) is not None:
            raise InvalidImage(
                f"/{os.fsdecode(path)} is a database of rpm from before SQLite, which cannot be read here"
            )
