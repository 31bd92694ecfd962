# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives made to hurt, block by block: each is refused in words, or stays inside; a canary beside the layer sings on.

What tarfile can write is in test_layer.py; here is what no good tool writes.
"""

from __future__ import annotations

import gzip
import os
import shutil
import stat
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import DigestMismatch, InvalidImage
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.build.view import View
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.layer.budget import Rules
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.layer.rules import check_unpacked
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.sbom.packages import read_system

from .conftest import run
from .hostile import (
    BLK,
    CHR,
    DIR,
    FIFO,
    HARD,
    LINK,
    Place,
    archive,
    base256,
    digest_of,
    entry,
    link,
    long_name,
    octal,
    pax,
)

pytestmark = pytest.mark.root

XATTR = b"SCHILY.xattr."
LONG = b"n" * 250
CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")  # cap_net_bind_service=ep, revision 2
SPARSE_1 = ((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"100"))


def old_sparse(pieces: list[tuple[int, int]], realsize: int, content: bytes) -> bytes:
    table = b"".join(octal(offset, 12) + octal(length, 12) for offset, length in pieces)
    return entry(b"x", b"S", content, magic=b"ustar  \0", sparse=table, realsize=octal(realsize, 12))


# What is refused, by what its refusal says ----------------------------------------------------------

REFUSED: dict[str, tuple[list[bytes], str]] = {
    # Names and targets
    "pax name out": ([pax((b"path", b"../out")), entry(b"fine")], "points out of it"),
    "gnu name out": ([long_name(b"a/../../out"), entry(b"fine")], "points out of it"),
    "prefix out": ([entry(b"out", prefix=b"../..")], "points out of it"),
    "sparse name out": (
        [
            pax((b"GNU.sparse.map", b"0,1"), (b"GNU.sparse.size", b"1"), (b"GNU.sparse.name", b"../out")),
            entry(b"x", content=b"x"),
        ],
        "points out of it",
    ),
    "pax name with a NUL": ([pax((b"path", b"a\0/../../out")), entry(b"fine")], "name or a target"),
    "pax target with a NUL": ([link(b"x", b"a\0b")], "name or a target"),
    "gnu target with a NUL": ([long_name(b"a\0b", b"K"), entry(b"x", LINK)], "name or a target"),
    "a name of 300": ([pax((b"path", b"a" * 300)), entry(b"x")], "cannot be made.*too long"),
    "a whiteout of 300": ([pax((b"path", b".wh." + b"a" * 300)), entry(b"x")], "cannot be made.*too long"),
    "a path of 5,000": ([pax((b"path", (LONG + b"/") * 20 + b"x")), entry(b"x")], "name or a target"),
    "a path of 4,200 and a directory": (
        [pax((b"path", (LONG + b"/") * 16 + b"x" * 200)), entry(b"x", DIR)],
        "(cannot be made.*too long|nested)",
    ),
    "a target of 8,000": ([link(b"x", b"a/" * 4000)], "name or a target"),
    "a target of 4,200": ([link(b"x", b"a/" * 2100)], "cannot be made.*too long"),
    "a name for all entries": ([pax((b"path", b"x"), kind=b"g"), entry(b"y")], "for all its entries"),
    "a target for all entries": ([pax((b"linkpath", b"x"), kind=b"g"), entry(b"y")], "for all its entries"),
    "a size for all entries": ([pax((b"size", b"9"), kind=b"g"), entry(b"y")], "for all its entries"),
    "attributes for all entries": ([pax((XATTR + b"user.a", b"9"), kind=b"g"), entry(b"y")], "for all its entries"),
    "a link to nothing": ([entry(b"x", LINK)], "cannot be made"),
    "a hard link to nothing": ([entry(b"x", HARD)], "no file of the layer"),
    "a hard link of 4,000": ([link(b"x", b"a" * 4000, HARD)], "cannot be made.*too long"),
    # Depth
    "deep by its name": ([pax((b"path", b"d/" * 1500 + b"x")), entry(b"x")], "nested more than 256 deep"),
    "deep by a link": ([link(b"x", b"a/" * 2000), entry(b"x/f")], "nested more than 256 deep"),
    "deep by links": (
        [link(b"x", b"a/" * 200), entry(b"x/f"), link(b"y", b"x/" + b"b/" * 100), entry(b"y/f")],
        "nested more than 256 deep",
    ),
    "links in a circle": ([entry(b"x", LINK, target=b"y"), entry(b"y", LINK, target=b"x"), entry(b"x/f")], "links"),
    # Numbers
    "negative size": ([entry(b"x", size=base256(-512, 12))], "cannot be"),
    "negative size, octal": ([entry(b"x", size=b"-0000000777\0")], "cannot be"),
    "negative size, pax": ([pax((b"size", b"-1")), entry(b"x")], "not a number"),
    "a size of 4 EB": ([entry(b"x", size=base256(1 << 62, 12))], "more than"),
    "a size beyond all": ([entry(b"x", size=base256((1 << 87) - 1, 12))], "more than"),
    "a size of words": ([entry(b"x", size=b"many")], "not octal"),
    "negative owner": ([entry(b"x", uid=base256(-5, 8))], "cannot be"),
    "an owner that means none": ([entry(b"x", gid=base256((1 << 32) - 1, 8))], "cannot be"),
    "an owner beyond all": ([pax((b"uid", b"9" * 19)), entry(b"x")], "cannot be"),
    "a time beyond all": ([entry(b"x", mtime=base256(1 << 80, 12))], "cannot be"),
    "a time before all": ([entry(b"x", mtime=base256(-(1 << 80), 12))], "cannot be"),
    "a time of words": ([pax((b"mtime", b"nan")), entry(b"x")], "not a time"),
    "a device beyond all": ([entry(b"x", CHR, major=base256(1 << 40, 8))], "cannot be"),
    "a directory with content": ([entry(b"x/", b"0", b"y" * 512)], "has content"),
    "a directory with content, pax": ([pax((b"size", b"512")), entry(b"x/", b"0")], "has content"),
    "an unknown kind": ([entry(b"x", b"Z")], "kind"),
    # Headers
    "a checksum of zeros": ([entry(b"x", checksum=b"000000\0 ")], "checksum"),
    "a checksum of words": ([entry(b"x", checksum=b"zzzzzzzz")], "not octal"),
    "pax cut short": ([entry(b"p", b"x", b"30 path=x")], "malformed pax"),
    "pax of length 0": ([entry(b"p", b"x", b"0 path=x\n")], "malformed pax"),
    "pax of a negative length": ([entry(b"p", b"x", b"-9 path=x\n")], "malformed pax"),
    "pax without an end": ([entry(b"p", b"x", b"9 path=xy")], "malformed pax"),
    "pax of 1 GB": ([entry(b"p", b"x", size=octal(8**10, 12))], "extended header of"),
    "a gnu name of 4 EB": ([entry(b"p", b"L", size=base256(1 << 62, 12))], "extended header of"),
    "a gnu name cut short": ([entry(b"p", b"L", size=octal(100_000, 12))], "ends inside"),
    # Attributes
    "an attribute's name with a NUL": ([pax((XATTR + b"user.a\0b", b"1")), entry(b"x")], "malformed pax"),
    "an attribute without a name": ([pax((XATTR, b"1")), entry(b"x")], "cannot be made"),
    "an attribute's name of 300": ([pax((XATTR + b"user." + b"a" * 300, b"1")), entry(b"x")], "cannot be made"),
    "an attribute of 100,000": ([pax((XATTR + b"user.a", b"1" * 100_000)), entry(b"x")], "cannot be made"),
    "capabilities that are none": ([pax((XATTR + b"security.capability", b"x")), entry(b"x")], "cannot be made"),
    "the same on a directory": ([pax((XATTR + b"user.a", b"1" * 100_000)), entry(b"x", DIR)], "cannot be made"),
    # Holes
    "pieces that overlap": (
        [pax((b"GNU.sparse.map", b"0,10,5,10"), (b"GNU.sparse.size", b"99")), entry(b"x", content=b"a" * 20)],
        "overlap",
    ),
    "pieces that overflow": (
        [
            pax((b"GNU.sparse.map", b"%d,1,%d,1" % (2**63 - 1, 2**63)), (b"GNU.sparse.size", b"%d" % (2**63 - 1))),
            entry(b"x", content=b"aa"),
        ],
        "does not fit",
    ),
    "pieces past the end": ([old_sparse([(100, 4)], 50, b"aaaa")], "does not fit"),
    "pieces of another length": ([old_sparse([(0, 400)], 500, b"aaaa")], "does not fit"),
    "old pieces that overlap": ([old_sparse([(8, 2), (0, 2)], 99, b"aaaa")], "overlap"),
    "half a piece": (
        [pax((b"GNU.sparse.map", b"0,1,2"), (b"GNU.sparse.size", b"9")), entry(b"x", content=b"a")],
        "half a piece",
    ),
    "a hole of 8 EB": (
        [pax((b"GNU.sparse.map", b"0,1"), (b"GNU.sparse.size", b"%d" % (2**63 - 1))), entry(b"x", content=b"a")],
        "more than",
    ),
    "a directory with holes": (
        [pax((b"GNU.sparse.map", b"0,1"), (b"GNU.sparse.size", b"9")), entry(b"x", DIR)],
        "no file",
    ),
    "a map of a billion": ([pax(*SPARSE_1), entry(b"x", content=b"999999999\n".ljust(512, b"0"))], "more than|no numb"),
    "a map without an end": ([pax(*SPARSE_1), entry(b"x", content=b"9\n" + b"0\n" * 5)], "no map|no numbers"),
    "a map of words": ([pax(*SPARSE_1), entry(b"x", content=b"two\n".ljust(512, b"\0"))], "none|no numbers"),
    "an unknown kind of map": (
        [pax((b"GNU.sparse.major", b"7"), (b"GNU.sparse.realsize", b"1")), entry(b"x", content=b"a")],
        "not known",
    ),
    # Files in the way
    "a file as a directory": ([entry(b"x"), entry(b"x/f")], "a file where it needs"),
    "a device as a directory": (
        [entry(b"x", CHR, major=octal(1, 8), minor=octal(3, 8)), entry(b"x/f")],
        "a file where",
    ),
    "a pipe as a directory": ([entry(b"x", FIFO), entry(b"x/f")], "a file where it needs"),
    "a whiteout of the directory above": ([entry(b".wh...")], "whiteout that points out"),
    "a whiteout of itself": ([entry(b"d/.wh..")], "whiteout that points out"),
    "a whiteout out, by a name": ([pax((b"path", b"d/../../.wh.canary")), entry(b"x")], "points out of it"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_meant_is_refused_and_leaves_nothing(name: str, place: Place) -> None:
    parts, said = REFUSED[name]
    for compress in (bytes, gzip.compress):
        with pytest.raises(InvalidImage, match=said) as raised:
            place.unpack(compress(archive(entry(b"first"), *parts, entry(b"last"))), diff_id="sha256:" + "0" * 64)
        assert str(raised.value).startswith("layer sha256:") and len(str(raised.value)) < 1000
        assert str(raised.value).isprintable()
        assert place.changes() == {}


# What is harmless, and stays inside -----------------------------------------------------------------

KEPT: dict[str, list[bytes]] = {
    "absolute": [entry(b"/canary"), entry(b"//canary"), entry(b"/../canary".replace(b"..", b"."))],
    "a link to the root, then a file": [entry(b"x", LINK, target=b"/"), entry(b"x/canary")],
    "a link far up, then a file": [entry(b"x", LINK, target=b"../" * 12), entry(b"x/canary"), entry(b"x/tmp/out")],
    "a link, then its name": [entry(b"canary", LINK, target=b"../canary"), entry(b"canary")],
    "a link, then a directory": [entry(b"x", LINK, target=b"../cage"), entry(b"x", DIR, mode=octal(0o777, 8))],
    "a link into a link": [
        *(entry(b"a", LINK, target=b".."), entry(b"b", LINK, target=b"a/.."), entry(b"c", LINK, target=b"b/canary")),
        *(entry(b"c"), entry(b"b/canary")),
    ],
    "a link that changes": [
        *(entry(b"x", DIR), entry(b"x/f"), entry(b"x", LINK, target=b".."), entry(b"x/canary")),
        *(entry(b"x"), entry(b"x", DIR), entry(b"x/canary")),
    ],
    "a hard link to a link, then its name": [
        *(entry(b"l", LINK, target=b"../canary"), entry(b"x", HARD, target=b"l"), entry(b"x")),
    ],
    "a hard link to a device": [
        *(entry(b"d", CHR, major=octal(1, 8), minor=octal(3, 8)), entry(b"x", HARD, target=b"d"), entry(b"x")),
    ],
    "one name of each kind": [
        entry(b"x", kind, target=b"../canary" if kind == LINK else b"")
        for first in (b"0", LINK, DIR, CHR, BLK, FIFO)
        for second in (b"0", LINK, DIR, CHR, BLK, FIFO)
        for kind in (first, second)
    ],
    "whiteouts through a link": [entry(b"x", LINK, target=b"../.."), entry(b"x/.wh.canary"), entry(b"x/.wh..wh..opq")],
    "a whiteout of a link": [entry(b"x", LINK, target=b"../cage"), entry(b".wh.x"), entry(b"x/canary")],
    "a whiteout, then through it": [
        entry(b".wh.x"),
        entry(b"x/f"),
        entry(b"y/.wh.z"),
        entry(b"y/z", LINK, target=b"/"),
    ],
    "aufs's own": [entry(b".wh..wh.plnk/1"), entry(b".wh..wh.aufs"), entry(b".wh."), entry(b"d/.wh..wh.orph")],
    "opaque twice": [entry(b".wh..wh..opq"), entry(b"d/.wh..wh..opq"), entry(b"d/.wh..wh..opq", DIR)],
    "the root as other kinds": [
        *(entry(b".", LINK, target=b".."), entry(b"./", b"0"), entry(b"/", CHR), entry(b"", HARD, target=b"x")),
    ],
    "names that are not UTF-8": [entry(b"\xff\xfe"), entry(b"caf\xe9/\x80"), entry(b"\n\r\x1b[31m")],
    "the oldest and the latest time": [
        *(entry(b"a", mtime=base256(-(1 << 31), 12)), entry(b"b", mtime=base256((1 << 33), 12))),
    ],
    "every bit of a mode": [entry(b"x", mode=b"7777777\0"), entry(b"y", mode=b"-777777\0"), entry(b"d", DIR)],
    "links that lead deep, in pieces": [
        *(link(b"x", (LONG + b"/") * 15), pax((b"path", b"x/" + (LONG + b"/") * 15 + b"f")), entry(b"f")),
        *(link(b"y", b"x/" + (LONG + b"/") * 14), pax((b"path", b"y/" + (LONG + b"/") * 14 + b"f")), entry(b"f")),
    ],
    "a comment for all entries": [pax((b"comment", b"0" * 40), (b"mtime", b"5"), kind=b"g"), entry(b"x")],
    "an empty long name": [long_name(b""), entry(b"x")],
    "no end": [],
    "an attribute of nobody": [pax((XATTR + b"nobody", b"x")), entry(b"x")],
}


@pytest.mark.parametrize("name", KEPT)
def test_what_is_only_odd_stays_inside(name: str, place: Place) -> None:
    made = place.unpack(archive(*KEPT[name]))
    inside = {os.lstat(path).st_ino for path, *_rest in os.walk(made)}
    assert os.lstat(place.outside / "canary").st_ino not in inside
    shutil.rmtree(made)
    assert place.changes() == {}


def test_words_after_the_end_and_in_front_of_it(place: Place) -> None:
    """An archive ends with its first empty block: what is behind is counted in its digest, and is no entry."""
    made = place.unpack(archive(entry(b"x")) + entry(b"../out") + b"trailing")
    assert os.listdir(made) == ["x"]


# Rights -----------------------------------------------------------------------------------------------

RIGHTS = [
    entry(b"setuid", mode=octal(0o6755, 8)),
    pax((XATTR + b"security.capability", CAPABILITY)) + entry(b"capable"),
    entry(b"sticky", DIR, mode=octal(0o1777, 8)),
    entry(b"setgid", DIR, mode=octal(0o2775, 8)),
]


def test_the_overlays_own_attributes_never_come_from_a_layer(place: Place) -> None:
    keys = (b"redirect", b"metacopy", b"opaque", b"origin", b"impure", b"nlink", b"overlay.opaque", b"uuid")
    attributes = [(XATTR + space + b".overlay." + key, b"y") for key in keys for space in (b"trusted", b"user")]
    made = place.unpack(
        archive(*(pax(*attributes) + entry(name, DIR) for name in (b".", b"d")), pax(*attributes), entry(b"f"))
    )
    assert [os.listxattr(made / name) for name in ("", "d", "f")] == [[], [], []]


def test_rights_are_kept(place: Place) -> None:
    made = place.unpack(archive(*RIGHTS))
    assert stat.S_IMODE(os.lstat(made / "setuid").st_mode) == 0o6755
    assert os.getxattr(made / "capable", "security.capability") == CAPABILITY


PRIVILEGED = {
    "set-user-ID": entry(b"bin/x", mode=octal(0o4755, 8)),
    "set-group-ID": entry(b"bin/x", mode=octal(0o2755, 8)),
    "capabilities": pax((XATTR + b"security.capability", CAPABILITY)) + entry(b"bin/x"),
}


@pytest.mark.parametrize("kind", PRIVILEGED)
def test_files_that_give_rights_are_refused_where_they_are_not_allowed(place: Place, kind: str) -> None:
    layer = archive(entry(b"fine"), PRIVILEGED[kind])
    with pytest.raises(InvalidImage, match=f"layer {digest_of(layer)}: .* 'bin/x', which .*{kind}.* not allowed"):
        place.unpack(layer, rules=Rules(setuid=False))
    assert place.changes() == {}


def test_bits_that_give_no_rights_are_no_matter(place: Place) -> None:
    harmless = [*RIGHTS[2:], entry(b"l", LINK, target=b"x", mode=octal(0o4777, 8)), entry(b"pipe", FIFO)]
    made = place.unpack(archive(*harmless), rules=Rules(setuid=False))
    assert stat.S_IMODE(os.lstat(made / "sticky").st_mode) == 0o1777
    assert stat.S_IMODE(os.lstat(made / "setgid").st_mode) == 0o2775
    check_unpacked(str(made), "sha256:x", Rules(devices=False, setuid=False))


def test_a_layer_that_is_there_is_held_against_the_rules_too(place: Place) -> None:
    """By names that no path can have, too, and not by whiteouts, which are devices to the kernel."""
    device = entry(b"d/sda", BLK, major=octal(8, 8))
    deep = [pax((b"path", (LONG + b"/") * 15 + b"x")) + entry(b"x"), link(b"y", (LONG + b"/") * 15)]
    deep += [pax((b"path", b"y/" + (LONG + b"/") * 5 + b"f")) + entry(b"f", mode=octal(0o4755, 8))]
    cases = [
        ([device], "device 'd/sda'"),
        *(([made], "'bin/x'") for made in PRIVILEGED.values()),
        (deep, "set-user-ID"),
    ]
    for parts, said in cases:
        made = place.unpack(archive(entry(b".wh.gone"), *parts))
        check_unpacked(str(made), "sha256:x", Rules())
        with pytest.raises(InvalidImage, match=f"layer sha256:x: .*{said}.*not allowed"):
            check_unpacked(str(made), "sha256:x", Rules(devices=False, setuid=False))
        shutil.rmtree(made)
    check_unpacked(str(place.unpack(archive(entry(b".wh.gone")))), "sha256:x", Rules(devices=False, setuid=False))


@pytest.mark.parametrize("kind", [CHR, BLK])
def test_devices_are_refused_where_they_are_not_allowed(place: Place, kind: bytes) -> None:
    device = entry(b"sda", kind, major=octal(8, 8), minor=octal(0, 8))
    with pytest.raises(InvalidImage, match=r"device 'sda', and devices are not allowed"):
        place.unpack(archive(device), rules=Rules(devices=False))
    assert place.changes() == {}
    assert os.listdir(place.unpack(archive(entry(b"pipe", FIFO)), rules=Rules(devices=False))) == ["pipe"]
    assert os.lstat(place.unpack(archive(device)) / "sda").st_rdev == os.makedev(8, 0)


# Whole layers, and who reads them -----------------------------------------------------------------------


def test_a_layers_links_lead_nowhere_on_the_host(place: Place) -> None:
    """Over a directory that hides what is below it, and has a link to the host, goes a layer with a directory instead.

    Whoever looks into layers on disk must not follow the link: it would be the host's files that come into an SBOM.
    """
    lower = archive(entry(b"var/lib/.wh..wh..opq"), entry(b"var/lib/dpkg", LINK, target=os.fsencode(place.outside)))
    layers = []
    for layer in (lower, archive(entry(b"var/lib/dpkg/", DIR))):
        os.rename(place.unpack(layer), place.layers / str(len(layers)))
        layers.append(str(place.layers / str(len(layers))))
    (place.outside / "status").write_text("Package: secret\nVersion: 1\nStatus: install ok installed\n")
    view = View(layers)
    assert view.file(b"var/lib/dpkg/status") is None and view.lookup(b"var/lib/dpkg/status") is None
    assert view.names(b"var/lib/dpkg") == []
    assert read_system(layers).packages == ()


def test_a_layer_of_another_digest_leaves_nothing(place: Place) -> None:
    for algorithm, length in (("sha256", 64), ("sha512", 128)):
        with pytest.raises(DigestMismatch):
            place.unpack(archive(entry(b"x")), diff_id=f"{algorithm}:{'0' * length}")
        assert place.changes() == {}


def test_gzip_in_gzip_and_zstd_in_zstd_are_no_archives(place: Place) -> None:
    twice = gzip.compress(gzip.compress(archive(entry(b"x"))))
    with pytest.raises(InvalidImage, match=r"tar archive"):
        place.unpack(twice)
    assert place.changes() == {}


def test_tar_reads_what_the_maker_makes(tmp_path: Path) -> None:
    """The maker's entries are good ones but for what is asked of it."""
    parts = (entry(b"a", content=b"1"), pax((b"path", b"b" * 200)), entry(b"x"), long_name(b"c" * 150), entry(b"x"))
    (tmp_path / "good.tar").write_bytes(archive(*parts, old_sparse([(512, 4)], 1024, b"data")))
    assert run("tar", "-tf", str(tmp_path / "good.tar")).split() == ["a", "b" * 200, "c" * 150, "x"]
