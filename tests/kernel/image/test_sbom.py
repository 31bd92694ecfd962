# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bills of materials: databases of dpkg and rpm themselves, apk's as specified; documents held by their libraries."""

from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import InvalidImage
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.sbom.documents import (
    make_document,
    package_url,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.sbom.packages import (
    Package,
    System,
    read_system,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.image import Image

from .conftest import run

RELEASE = 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n'
IMAGE = Image("docker.io/library/site:1", "sha256:" + "7" * 64, created="2024-05-06T07:08:09.123456789Z")
APK = """C:Q1xyz=
P:musl
V:1.2.5-r0
A:x86_64
o:musl
m:Timo Teräs <timo.teras@iki.fi>
L:MIT
U:https://musl.libc.org/
T:the musl c library (libc) implementation
F:lib
R:ld-musl-x86_64.so.1

P:busybox
V:1.36.1-r29
A:x86_64
L:GPL-2.0-only

"""
SPEC = """Name: stowage-{name}
Version: 1.{number}
Release: 3
Epoch: {number}
Summary: A package of the tests
License: MIT
URL: https://example.org/{name}
Packager: Somebody <somebody@example.org>
BuildArch: noarch
%description
Nothing.
%files
"""


def write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


@pytest.fixture
def layers(tmp_path: Path) -> list[Path]:
    """This machine's own dpkg database over a layer with another."""
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    write(lower / "etc/os-release", RELEASE)
    write(lower / "var/lib/dpkg/status", "Package: gone\nStatus: install ok installed\nVersion: 1\n")
    shutil.copytree("/var/lib/dpkg", upper / "var/lib/dpkg", ignore=lambda _d, names: {*names} - {"status"})
    return [lower, upper]


def find_packages(directories: list[Path]) -> System:
    return read_system([str(directory) for directory in directories])


def test_packages_of_dpkg_are_those_that_dpkg_itself_lists(layers: list[Path]) -> None:
    system = find_packages(layers)
    told = run("dpkg-query", "-W", "-f=${db:Status-Status}|${Package}|${Version}|${Architecture}|${source:Package}\n")
    expected = sorted(line.split("|")[1:] for line in told.splitlines() if line.startswith("installed|"))
    assert sorted([p.name, p.version, p.architecture, p.source] for p in system.packages) == expected
    assert len(expected) > 100
    assert (system.id, system.version) == ("debian", "12")


def test_packages_of_images_without_dpkg(tmp_path: Path) -> None:
    """status.d: a file a package, as in distroless images."""
    write(tmp_path / "usr/lib/os-release", RELEASE)
    write(tmp_path / "var/lib/dpkg/status.d/base", "Package: base-files\nVersion: 12.4\nArchitecture: amd64\n")
    write(tmp_path / "var/lib/dpkg/status.d/base.md5sums", "Package: none\n")
    assert [(p.name, p.version, p.source) for p in find_packages([tmp_path]).packages] == [
        ("base-files", "12.4", "base-files")
    ]


def test_what_an_upper_layer_hides_is_not_there(layers: list[Path], tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "var/lib/dpkg").mkdir(parents=True)
    os.mknod(top / "var/lib/dpkg/status", stat.S_IFCHR, 0)
    assert find_packages([*layers, top]).packages == ()
    opaque = tmp_path / "opaque"
    (opaque / "var/lib").mkdir(parents=True)
    os.setxattr(opaque / "var", "trusted.overlay.opaque", b"y")
    assert find_packages([*layers, opaque]).packages == ()


def test_a_link_of_the_image_leads_to_nothing_of_the_host(tmp_path: Path) -> None:
    link = tmp_path / "layer"
    write(link / "etc/os-release", RELEASE)
    write(tmp_path / "outside/lib/dpkg/status", "Package: outside\nVersion: 1\n")
    (link / "var").symlink_to(tmp_path / "outside")
    assert find_packages([link]).packages == ()
    (link / "data/lib/dpkg").mkdir(parents=True)
    write(link / "data/lib/dpkg/status", "Package: inside\nVersion: 1\n")
    (link / "var").unlink()
    (link / "var").symlink_to("/../../data")
    assert [package.name for package in find_packages([link]).packages] == ["inside"]


def test_packages_of_apk(tmp_path: Path) -> None:
    write(tmp_path / "lib/apk/db/installed", APK)
    write(tmp_path / "etc/os-release", "ID=alpine\nVERSION_ID=3.20.1\n")
    system = find_packages([tmp_path])
    busybox, musl = system.packages
    assert (musl.version, musl.license, musl.maintainer) == ("1.2.5-r0", "MIT", "Timo Teräs <timo.teras@iki.fi>")
    assert package_url(busybox, system) == "pkg:apk/alpine/busybox@1.36.1-r29?arch=x86_64&distro=alpine-3.20.1"


def test_packages_of_rpm_are_those_that_rpm_itself_lists(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    database = ["rpm", "--root", str(root), "--dbpath", "/var/lib/rpm"]
    run(*database, "--initdb")
    for number, name in enumerate(("one", "two")):
        spec = tmp_path / f"{name}.spec"
        spec.write_text(SPEC.format(name=name, number=number))
        run("rpmbuild", "-bb", "--quiet", "--define", f"_topdir {tmp_path}/build", str(spec))
        [made] = (tmp_path / "build/RPMS/noarch").glob(f"stowage-{name}-*.rpm")
        run(*database, "--justdb", "--nodeps", "-i", str(made))
    write(root / "etc/os-release", "ID=fedora\nVERSION_ID=40\n")
    system = find_packages([root])
    told = run(*database, "-qa", "--qf", "%{NAME}|%{EPOCHNUM}|%{VERSION}-%{RELEASE}|%{ARCH}|%{LICENSE}|%{URL}\n")
    expected = sorted(line.split("|") for line in told.splitlines())
    found = sorted(
        [
            p.name,
            p.version.rpartition(":")[0] or "0",
            p.version.rpartition(":")[2],
            p.architecture,
            p.license,
            p.homepage,
        ]
        for p in system.packages
    )
    assert found == expected
    assert len(found) == 2
    assert package_url(system.packages[1], system) == (
        "pkg:rpm/fedora/stowage-two@1.1-3?arch=noarch&distro=fedora-40&epoch=1"
    )


@pytest.mark.parametrize("damage", [b"", b"SQLite format 3\0" + bytes(100), os.urandom(4096)])
def test_a_damaged_database_of_rpm_is_told(damage: bytes, tmp_path: Path) -> None:
    write(tmp_path / "var/lib/rpm/rpmdb.sqlite", damage)
    with pytest.raises(InvalidImage, match="rpm's database"):
        find_packages([tmp_path])


def test_spdx_documents_are_valid(layers: list[Path], tmp_path: Path) -> None:
    system = find_packages(layers)
    path = tmp_path / "site.spdx.json"
    path.write_bytes(make_document(IMAGE, system, "spdx-json"))
    document = parse_file(str(path))
    assert validate_full_spdx_document(document) == []
    assert len(document.packages) == len(system.packages) + 1
    assert document.creation_info.created.isoformat() == "2024-05-06T07:08:09"


def test_cyclonedx_documents_are_valid(layers: list[Path]) -> None:
    system = find_packages(layers)
    content = make_document(IMAGE, system, "cyclonedx-json").decode()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(content) is None
    components = json.loads(content)["components"]
    assert len([one for one in components if one["type"] == "library"]) == len(system.packages)


@pytest.mark.parametrize("kind", ["spdx-json", "cyclonedx-json"])
def test_the_same_image_gives_the_same_bytes(kind: str, layers: list[Path]) -> None:
    assert make_document(IMAGE, find_packages(layers), kind) == make_document(IMAGE, find_packages(layers), kind)


@pytest.mark.parametrize("kind", ["spdx-json", "cyclonedx-json"])
def test_an_image_of_which_nothing_is_known_has_a_valid_document(kind: str, tmp_path: Path) -> None:
    hostile = Package("deb", "a/../b c", '1:2"\n~', "x y", maintainer="<@>", homepage="javascript:x", license="\0")
    for packages in ((), (hostile, hostile._replace(name="ä"))):
        content = make_document(Image("a:1", IMAGE.digest), System("", "", "", packages), kind)
        if kind == "spdx-json":
            path = tmp_path / "x.spdx.json"
            path.write_bytes(content)
            assert validate_full_spdx_document(parse_file(str(path))) == []
        else:
            assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(content.decode()) is None


def test_spdx_identifiers_are_one_each(layers: list[Path]) -> None:
    packages = json.loads(make_document(IMAGE, find_packages(layers), "spdx-json"))["packages"]
    assert len({package["SPDXID"] for package in packages}) == len(packages)


def test_rpm_is_read_without_a_trace(tmp_path: Path) -> None:
    """The layer is shared by containers: no journal is left beside the database, and it is opened read-only."""
    root = tmp_path / "root"
    root.mkdir()
    run("rpm", "--root", str(root), "--dbpath", "/var/lib/rpm", "--initdb")
    before = sorted(path.name for path in (root / "var/lib/rpm").iterdir())
    find_packages([root])
    assert sorted(path.name for path in (root / "var/lib/rpm").iterdir()) == before
