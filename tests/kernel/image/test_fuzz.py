# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives and documents out of hypothesis: nothing but an EngineError comes of them, and nothing leaves its place.

A few seconds each; STOWAGE_FUZZ gives how many examples each is to try instead (20,000 takes an hour).
"""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import EngineError, InvalidImage
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.archive.contents import open_archive
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.layer.budget import Budget
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.layer.compare import Comparer
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.layer.compression import LayerStream
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.layer.tar import FILE, TarReader

from .conftest import tree_of
from .hostile import Place, archive, base256, entry, long_name, octal, pax

pytestmark = pytest.mark.root

EXAMPLES = int(os.environ.get("STOWAGE_FUZZ", "0"))
LITTLE = Budget(size=4 << 20, entries=300, seconds=20)
# Examples are made anew each time; what failed is shrunk, and printed as it is to be run again.
PHASES = (Phase.explicit, Phase.generate, Phase.shrink)


def bounded(examples: int) -> settings:
    return settings(
        max_examples=EXAMPLES or examples,
        deadline=None,
        database=None,
        derandomize=not EXAMPLES,
        phases=PHASES,
        suppress_health_check=list(HealthCheck),
    )


# Names that meet one another, in few directories: what is random is how they are put together.
parts = st.sampled_from(
    [b"a", b"b", b"c", b"..", b".", b"", b".wh.a", b".wh..wh..opq", b".wh..", b"\xff", b"\0", b"n" * 250]
)
names = st.lists(parts, min_size=1, max_size=5).map(b"/".join)
kinds = st.sampled_from([b"0", b"\0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"S", b"Z"])
numbers = st.one_of(
    st.integers(0, 0o777).map(lambda number: octal(number, 8)),
    st.integers(-(1 << 54), 1 << 54).map(lambda number: base256(number, 8)),
    st.binary(min_size=8, max_size=8),
)
keys = st.sampled_from(
    [
        *(
            b"path",
            b"linkpath",
            b"path",
            b"linkpath",
            b"linkpath",
            b"size",
            b"uid",
            b"gid",
            b"mtime",
            b"SCHILY.xattr.user.a",
            b"comment",
        ),
        *(b"SCHILY.xattr.trusted.overlay.opaque", b"SCHILY.xattr.security.capability", b"SCHILY.xattr."),
        *(b"GNU.sparse.map", b"GNU.sparse.size", b"GNU.sparse.name", b"GNU.sparse.major", b"GNU.sparse.minor"),
        *(b"GNU.sparse.realsize", b"GNU.sparse.offset", b"GNU.sparse.numbytes"),
    ]
)
values = st.one_of(
    names, st.integers(-5, 600).map(lambda number: b"%d" % number), st.binary(max_size=20), st.just(b"0,1")
)


@st.composite
def entries(draw: st.DrawFn) -> bytes:
    name, kind = draw(names), draw(kinds)
    fields = draw(
        st.fixed_dictionaries({}, optional={"mode": numbers, "uid": numbers, "major": numbers, "size": numbers})
    )
    found = entry(
        name, kind, draw(st.binary(max_size=600)) if kind in b"0S" else b"", target=draw(names)[:100], **fields
    )
    if draw(st.booleans()):
        records = draw(st.lists(st.tuples(keys, values), max_size=4))
        found = pax(*records, kind=draw(st.sampled_from([b"x", b"x", b"g"]))) + found
    if draw(st.integers(0, 2)) == 0:
        found = long_name(draw(names) * draw(st.integers(1, 30)), draw(st.sampled_from([b"L", b"K"]))) + found
    return found


@st.composite
def mutated(draw: st.DrawFn, content: bytes) -> bytes:
    """``content`` with some bytes that are others, and pieces that are gone, doubled or moved."""
    found = bytearray(content)
    for _change in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(0, len(found) - 1)))
        kind = draw(st.sampled_from(["byte", "bit", "cut", "gone", "double"]))
        if kind == "byte":
            found[at : at + 1] = draw(st.binary(min_size=1, max_size=4))
        elif kind == "bit" and found:
            found[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "cut":
            del found[at:]
        else:
            start = at - at % 512
            block = found[start : start + 512]
            found[start : start + 512] = b"" if kind == "gone" else block * 2
    return bytes(found)


def good_archive() -> bytes:
    """An archive as tarfile writes it, with one of each."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as made:
        for name, kind, target in (
            *(("d", tarfile.DIRTYPE, ""), ("d/f", tarfile.REGTYPE, ""), ("l", tarfile.SYMTYPE, "d/f")),
            *(("h", tarfile.LNKTYPE, "d/f"), ("n" * 150, tarfile.REGTYPE, ""), ("d/.wh.x", tarfile.REGTYPE, "")),
            *(("null", tarfile.CHRTYPE, ""), ("pipe", tarfile.FIFOTYPE, "")),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.mtime = kind, target, 1.5
            info.pax_headers = {"SCHILY.xattr.user.a": "b"} if kind == tarfile.REGTYPE else {}
            info.size = 700 if kind == tarfile.REGTYPE else 0
            made.addfile(info, io.BytesIO(b"x" * info.size))
    return buffer.getvalue()


GOOD = good_archive()


@contextlib.contextmanager
def a_place() -> Iterator[Place]:
    """In memory: the disk is not what is tried here."""
    directory = tempfile.mkdtemp(dir="/dev/shm", prefix="stowage-fuzz-")
    try:
        yield Place(Path(directory))
    finally:
        shutil.rmtree(directory)


def unpack_twice(layer: bytes) -> None:
    """Both times the same comes of it, inside, or an error that says what is wrong."""
    with a_place() as place:
        found = []
        for _time in range(2):
            try:
                made = place.unpack(layer, LITTLE)
            except EngineError as error:
                found.append(str(error))
                assert str(error).isprintable() and len(str(error)) < 1500
                assert os.listdir(place.layers).count("layer.partial") == 0
            else:
                found.append(repr(tree_of(made)))
                assert list(Comparer(str(made)).differences(TarReader(io.BytesIO(layer).read))) == []
                shutil.rmtree(made)
            assert place.changes() == {}
        assert found[0] == found[1]


ATTRIBUTE = pax((b"SCHILY.xattr.user.a", b"b"))


@bounded(200)
@given(st.lists(entries(), max_size=8))
@example([ATTRIBUTE + entry(b"a", b"5"), entry(b"a", b"5")])
@example([ATTRIBUTE + entry(b"a", b"5"), pax((b"SCHILY.xattr.user.c", b"d")) + entry(b"a", b"5")])
@example([entry(b"a", b"3"), entry(b"a", b"5")])
@example([entry(b"a", b"3"), entry(b"a/b")])
@example([entry(b"a", b"5", mode=octal(0o700, 8)), entry(b"a", b"3"), entry(b"a/b")])
@example([entry(b"a", b"3"), entry(b".wh.a"), entry(b"b", b"1", target=b"a"), entry(b"b", b"5")])
@example([entry(b"a", b"2", target=b"b"), entry(b"a/a", b"5", mode=octal(0o700, 8)), entry(b"a")])
@example([entry(b"a", b"2", target=b"b"), entry(b"a/a", b"5", mode=octal(0o700, 8)), entry(b"a"), entry(b"a", b"5")])
@example([entry(b"b/a", b"5", mode=octal(0o700, 8)), entry(b"a/a", b"5"), entry(b"a", b"2", target=b"b")])
@example([entry(b".", b"0", b"x" * 600), entry(b"./", b"2", target=b"a"), ATTRIBUTE + entry(b"/", b"6")])
@example([entry(b"c/b/a", b"5", mode=octal(0o700, 8)), entry(b"c", b"2", target=b"d"), entry(b"d/b/a", b"5")])
@example([pax((b"linkpath", b"a\0b")) + entry(b"x", b"2")])
@example([pax((b"linkpath", b"a/" * 1000)) + entry(b"x", b"2"), entry(b"x/y")])
def test_entries_put_together_in_any_way_stay_inside(found: list[bytes]) -> None:
    unpack_twice(archive(*found))


# Names that others lead to, or take the place of: whatever comes of it, it is what Comparer says of the archive.
places = st.lists(
    st.sampled_from([b"a", b"b", b"c", b".wh.a", b".wh.b", b".wh..wh..opq", b"."]), min_size=1, max_size=4
)


@st.composite
def tangled(draw: st.DrawFn) -> bytes:
    kind, name = draw(st.sampled_from([b"0", b"0", b"5", b"5", b"5", b"2", b"1", b"3", b"6"])), b"/".join(draw(places))
    target = b"/".join(draw(places)) if kind in b"12" else b""
    content = draw(st.binary(max_size=600)) if kind == b"0" else b""
    found = entry(name, kind, content, target=target, mode=octal(draw(st.sampled_from([0o755, 0o700, 0o1777])), 8))
    return ATTRIBUTE + found if draw(st.integers(0, 3)) == 0 else found


@bounded(150)
@given(st.lists(tangled(), min_size=1, max_size=8))
def test_what_was_unpacked_is_what_its_archive_says(found: list[bytes]) -> None:
    unpack_twice(archive(*found))


@bounded(100)
@given(mutated(GOOD))
def test_a_good_archive_with_faults_stays_inside(layer: bytes) -> None:
    unpack_twice(layer)


def read_all(layer: bytes) -> object:
    """What is in it, or what is wrong, without unpacking; nothing else is raised."""
    found = []
    try:
        stream = LayerStream(io.BytesIO(layer), limit=4 << 20)
        reader = TarReader(stream.read)
        for number, member in enumerate(reader):
            if number == 300:
                break
            size = 0
            if member.kind == FILE and member.size < 4 << 20:
                size = sum(map(len, reader.body()))
                assert size == member.size
            found.append((*member[:8], size))
        return found, stream.digest()
    except InvalidImage as error:
        return found, str(error)


@bounded(400)
@given(st.one_of(mutated(GOOD), mutated(gzip.compress(GOOD)), st.binary(max_size=2000)))
@example(b"\x1f\x8b")
@example(b"\x28\xb5\x2f\xfd")
def test_readers_of_archives_raise_nothing_else(layer: bytes) -> None:
    assert read_all(layer) == read_all(layer)


@bounded(100)
@given(st.data())
def test_readers_of_zstd_raise_nothing_else(data: st.DataObject) -> None:
    zstandard = pytest.importorskip("zstandard", reason="the package zstandard is not in this environment")
    layer = data.draw(mutated(zstandard.compress(GOOD)))
    assert read_all(layer) == read_all(layer)


# The same as others read ------------------------------------------------------------------------------

benign_names = st.lists(st.sampled_from(["a", "b", "long" * 40, "\u00e9"]), min_size=1, max_size=4).map("/".join)


@st.composite
def benign(draw: st.DrawFn) -> bytes:
    """What tarfile writes of a tree: each name once, directories before what is in them."""
    buffer = io.BytesIO()
    forms = st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
    made: dict[str, bytes] = {}
    with tarfile.open(fileobj=buffer, mode="w", format=draw(forms)) as found:
        for name in draw(st.lists(benign_names, unique=True, max_size=8)):
            above = [name[:at] for at, letter in enumerate(name) if letter == "/"]
            if any(made.get(directory, tarfile.DIRTYPE) != tarfile.DIRTYPE for directory in above) or name in made:
                continue
            for directory in above:
                if directory not in made:
                    info = tarfile.TarInfo(directory)
                    info.type, info.mode, made[directory] = tarfile.DIRTYPE, 0o755, tarfile.DIRTYPE
                    found.addfile(info)
            info = tarfile.TarInfo(name)
            info.type = made[name] = draw(st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE]))
            info.mode = draw(st.sampled_from([0o644, 0o755, 0o4711, 0o1700]))
            info.uid, info.gid = draw(st.sampled_from([0, 1000, 0o7777777, 1 << 30])), draw(st.integers(0, 1 << 31))
            info.mtime = draw(st.integers(0, 1 << 33))
            content = draw(st.binary(max_size=1500)) if info.type == tarfile.REGTYPE else b""
            info.size = len(content)
            info.linkname = draw(benign_names) if info.type == tarfile.SYMTYPE else ""
            found.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@bounded(60)
@given(benign())
def test_good_archives_are_unpacked_as_tar_does(layer: bytes) -> None:
    with a_place() as place:
        theirs = place.outside / "theirs"
        theirs.mkdir()
        command = ["tar", "-xpf", "-", "--numeric-owner", "--xattrs", "-C", str(theirs)]
        done = subprocess.run(command, input=layer, capture_output=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        assert tree_of(place.unpack(layer, LITTLE)) == tree_of(theirs)


# Documents ---------------------------------------------------------------------------------------------


@bounded(150)
@given(st.data())
def test_archives_of_images_raise_nothing_else(data: st.DataObject) -> None:
    """A good archive of an image, docker's or OCI's, with faults in its blocks."""
    from .test_archive_hostile import docker, oci, tar_of

    content = tar_of(data.draw(st.sampled_from([docker, oci]))())
    with tempfile.NamedTemporaryFile(dir="/dev/shm", prefix="stowage-fuzz-") as file:
        faulty = data.draw(mutated(content))
        file.write(gzip.compress(faulty, 1) if data.draw(st.booleans()) else faulty)
        file.flush()
        with contextlib.suppress(EngineError), open_archive(file.name) as found:
            assert all(image.content for image in found.images)
