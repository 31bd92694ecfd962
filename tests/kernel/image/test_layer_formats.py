# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Layers as others write them: every compression with every library, GNU tar's sparse files; what is not allowed."""

from __future__ import annotations

import gzip
import io
import os
import random
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import (
    EngineError,
    InvalidImage,
    Unsupported,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.layer.budget import Budget, Rules
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.layer.unpack import unpack_layer
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.namespaces import CLONE_NEWUSER, unshare

from .conftest import digest_of, layer_of, member

DIR, CHR, BLK = tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE
pytestmark = pytest.mark.root

NOISE = random.Random(1).randbytes(700_000)
LAYER = layer_of(member("a"), member("d/b"), content=NOISE)


def unpack(blob: bytes, target: Path, layer: bytes = b"", **options: object) -> Path:
    unpack_layer(io.BytesIO(blob), str(target), digest_of(layer or blob), **options)
    return Path(f"{target}.partial")


def zstd(content: bytes) -> bytes:
    return subprocess.run(["zstd", "-qc"], input=content, stdout=subprocess.PIPE, check=True).stdout


def without(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    for package in packages:
        monkeypatch.setitem(sys.modules, package, None)


LIBRARIES = {
    "isal": (),
    "zlib-ng": ("isal", "isal.isal_zlib"),
    "zlib": ("isal", "isal.isal_zlib", "zlib_ng", "zlib_ng.zlib_ng"),
}


@pytest.mark.parametrize("library", LIBRARIES)
def test_gzip_by_every_library(library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, *LIBRARIES[library])
    several = gzip.compress(LAYER[:1000]) + gzip.compress(LAYER[1000:]) + bytes(300_000)
    for name, blob in {"one": gzip.compress(LAYER), "several": several}.items():
        root = unpack(blob, tmp_path / name, LAYER)
        assert (root / "a").read_bytes() == (root / "d/b").read_bytes() == NOISE
    for blob in (gzip.compress(LAYER)[:-200], gzip.compress(LAYER)[:500_000] + b"x" * 1000, b"\x1f\x8b" + NOISE):
        with pytest.raises(InvalidImage, match="gzip data"):
            unpack(blob, tmp_path / "bad", LAYER)
    assert not (tmp_path / "bad.partial").exists()


@pytest.mark.parametrize("package", ["zstandard", "the program"])
def test_zstd_by_package_and_program(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if package == "the program":
        without(monkeypatch, "zstandard")
    several = zstd(LAYER[:1000]) + zstd(LAYER[1000:])
    for name, blob in {"one": zstd(LAYER), "several": several}.items():
        root = unpack(blob, tmp_path / name, LAYER)
        assert (root / "a").read_bytes() == (root / "d/b").read_bytes() == NOISE
    for blob in (zstd(LAYER)[:200] + b"x" * 1000, b"\x28\xb5\x2f\xfd" + NOISE):
        with pytest.raises(InvalidImage, match=r"zstd data|tar archive"):  # much is written before it sees the fault
            unpack(blob, tmp_path / "bad", LAYER)
    with pytest.raises(EngineError, match=r"layer.*sha256:"):
        unpack(zstd(LAYER)[:-300], tmp_path / "bad", LAYER)
    with pytest.raises(InvalidImage, match="more than"):
        unpack(zstd(LAYER), tmp_path / "bad", LAYER, budget=Budget(size=10_000))
    assert not (tmp_path / "bad.partial").exists()


def test_without_anything_for_zstd_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, "zstandard")
    blob = zstd(LAYER)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unsupported, match=r"install the package python3-zstandard or zstd"):
        unpack(blob, tmp_path / "layer", LAYER)
    assert os.listdir(tmp_path) == []


FORMS = {
    "old": ["--format=gnu"],
    "0.0": ["--format=posix", "--sparse-version=0.0"],
    "0.1": ["--format=posix", "--sparse-version=0.1"],
    "1.0": ["--format=posix", "--sparse-version=1.0"],
}


@pytest.mark.parametrize("pieces", [0, 1, 3, 30, 200])
@pytest.mark.parametrize("form", FORMS)
def test_sparse_files_of_gnu_tar(form: str, pieces: int, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    long = "n" * 120
    for name in ("sparse", long):
        with (source / name).open("wb") as file:
            for number in range(pieces):
                file.seek(number * 300_000 + 65_536)
                file.write(NOISE[number * 1000 : number * 1000 + 5000])
            file.truncate(pieces * 300_000 + 1_000_001)
    (source / "z-after").write_text("after")
    command = ["tar", "-C", str(source), "--sort=name", "--sparse", *FORMS[form], "-cf", "-", long, "sparse", "z-after"]
    layer = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    root = unpack(layer, tmp_path / "layer")
    for name in ("sparse", long, "z-after"):
        assert (root / name).read_bytes() == (source / name).read_bytes()
    assert sorted(os.listdir(root)) == sorted([long, "sparse", "z-after"])
    assert (root / "sparse").stat().st_blocks <= (pieces + 1) * 128
    assert (root / "sparse").stat().st_mtime_ns // 10**9 == (source / "sparse").stat().st_mtime_ns // 10**9


def pax_layer(content: bytes, **records: str) -> bytes:
    """A file with pax records that a sparse file would have."""
    info = member("x", pax_headers={f"GNU.sparse.{key}": value for key, value in records.items()})
    info.size = len(content)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


BAD = {
    "overlap": {"map": "0,4,2,4", "size": "100"},
    "backwards": {"map": "50,4,0,4", "size": "100"},
    "beyond": {"map": "0,4,98,4", "size": "100"},
    "too much": {"map": "0,9", "size": "100"},
    "too little": {"map": "0,4", "size": "100"},
    "half": {"map": "0,4,4", "size": "100"},
    "words": {"map": "0,x", "size": "100"},
    "negative": {"map": "0,4,-4,4", "size": "100"},
    "endless": {"map": "0,8", "size": str(1 << 62)},
    "no size": {"map": "0,8"},
    "unknown": {"major": "2", "minor": "0", "realsize": "8"},
    "no map": {"major": "1", "minor": "0", "realsize": "8"},
}


@pytest.mark.parametrize("name", BAD)
def test_sparse_files_that_cannot_be_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidImage, match=r"sparse|map|more than"):
        unpack(pax_layer(b"12345678", **BAD[name]), tmp_path / "layer")
    assert os.listdir(tmp_path) == []


def test_runs_of_zeros_take_no_space(tmp_path: Path) -> None:
    content = bytes(1 << 20) + NOISE[:100_000] + bytes(3 << 20) + b"end" + bytes(5 << 20)
    root = unpack(layer_of(member("zeros"), member("all", pax_headers={}), content=content), tmp_path / "layer")
    assert (root / "zeros").read_bytes() == content
    assert (root / "zeros").stat().st_blocks * 512 < 300_000


def test_what_directories_are_like_does_not_rub_off(tmp_path: Path) -> None:
    # A default ACL of rwx for user 5 (acl(5), as include/uapi/linux/posix_acl_xattr.h has it), and a set-group-ID bit.
    entries = [(1, 7, -1), (2, 7, 5), (4, 0, -1), (16, 7, -1), (32, 0, -1)]
    acl = b"\x02\0\0\0" + b"".join(
        tag.to_bytes(2, "little") + bits.to_bytes(2, "little") + (who & 0xFFFFFFFF).to_bytes(4, "little")
        for tag, bits, who in entries
    )
    key = "SCHILY.xattr.system.posix_acl_default"
    pax = {key: acl.decode("utf-8", "surrogateescape")}
    layer = layer_of(
        member("d", DIR, mode=0o2755, gid=7, mtime=1000, pax_headers=pax),
        member("d/file", mode=0o644),
        member("d/sub", DIR, mode=0o755),
    )
    os.setxattr(tmp_path, "system.posix_acl_default", acl)
    root = unpack(layer, tmp_path / "layer")
    assert os.getxattr(root / "d", "system.posix_acl_default") == acl
    status = os.lstat(root / "d")
    assert (stat.S_IMODE(status.st_mode), status.st_gid, status.st_mtime) == (0o2755, 7, 1000)
    for name, mode in (("file", 0o644), ("sub", 0o755)):
        status = os.lstat(root / "d" / name)
        assert (stat.S_IMODE(status.st_mode), status.st_gid) == (mode, 0)
        assert os.listxattr(root / "d" / name) == []
    assert os.listxattr(root) == []


CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000").decode("utf-8", "surrogateescape")
PRIVILEGED = layer_of(
    member("setuid", mode=0o4755, uid=3),
    member("setgid", mode=0o2755),
    member("capable", pax_headers={"SCHILY.xattr.security.capability": CAPABILITY}),
    member("d", DIR, mode=0o3777),
)


def test_rights_of_files_are_kept_or_refused_on_request(tmp_path: Path) -> None:
    root = unpack(PRIVILEGED, tmp_path / "layer", rules=Rules(setuid=True))
    modes = {name: stat.S_IMODE(os.lstat(root / name).st_mode) for name in os.listdir(root)}
    assert modes == {"setuid": 0o4755, "setgid": 0o2755, "capable": 0o644, "d": 0o3777}
    assert os.lstat(root / "setuid").st_uid == 3
    assert os.listxattr(root / "capable") == ["security.capability"]
    with pytest.raises(InvalidImage, match=r"the file 'setuid', which is set-user-ID, and such files are not allowed"):
        unpack(PRIVILEGED, tmp_path / "refused", rules=Rules(setuid=False))
    assert not (tmp_path / "refused").exists()


@pytest.mark.parametrize("kind", [CHR, BLK])
def test_devices_are_refused_where_they_are_not_allowed(kind: bytes, tmp_path: Path) -> None:
    layer = layer_of(member("x", kind, devmajor=1, devminor=3), member("pipe", tarfile.FIFOTYPE))
    with pytest.raises(InvalidImage, match=r"the device 'x', and devices are not allowed"):
        unpack(layer, tmp_path / "layer", rules=Rules(devices=False))
    whiteouts = layer_of(member(".wh.gone"), member("pipe", tarfile.FIFOTYPE))
    assert sorted(os.listdir(unpack(whiteouts, tmp_path / "layer", rules=Rules(devices=False)))) == ["gone", "pipe"]


def in_child(function: Callable[[], str], *, mapped: bool = False) -> str:
    """What ``function`` returns or raises in a child; ``mapped``: as root of a user namespace."""
    reader, writer = os.pipe()
    ready, tell_ready = os.pipe()
    go, tell_go = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if mapped:
                unshare(CLONE_NEWUSER)
                os.write(tell_ready, b".")
                os.read(go, 1)
            told = function()
        except BaseException as error:
            told = f"{type(error).__name__}: {error}"
        os.write(writer, told.encode())
        os._exit(0)
    if mapped:
        os.read(ready, 1)
        for kind in ("uid", "gid"):
            Path(f"/proc/{pid}/{kind}_map").write_text("0 0 65536")
        os.write(tell_go, b".")
    for fd in (writer, ready, tell_ready, go, tell_go):
        os.close(fd)
    with os.fdopen(reader) as result:
        content = result.read()
    os.waitpid(pid, 0)
    return content


def test_root_of_a_user_namespace_unpacks_all_but_devices(tmp_path: Path) -> None:
    def look(layer: bytes) -> str:
        root = unpack(layer, tmp_path / "layer")
        return " ".join(sorted(os.listdir(root)))

    plain = layer_of(member("a", mode=0o4755, uid=7), member("null", CHR, devmajor=1, devminor=3), member(".wh.gone"))
    assert in_child(lambda: look(plain), mapped=True) == "a gone"
    status = os.lstat(tmp_path / "layer.partial/a")
    assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o4755, 7)
    opaque = layer_of(member("d", DIR), member("d/.wh..wh..opq"))
    assert in_child(lambda: look(opaque), mapped=True).startswith("Unsupported: ")


def test_who_may_not_change_its_root_is_told_so(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)

    def act() -> str:
        os.chdir(tmp_path)
        os.setgid(65534)
        os.setuid(65534)
        unpack(LAYER, Path("layer"))
        return "unpacked"

    assert "CAP_SYS_CHROOT" in in_child(act)
    assert os.listdir(tmp_path) == []
