# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our tar against Python's tarfile: what one writes the other reads, and garbage is an InvalidImage at worst."""

from __future__ import annotations

import gzip
import io
import tarfile

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import InvalidImage, Unsupported
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.layer import tar
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.layer.compression import LayerStream
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.layer.tar import Member, TarReader

LIMIT = 1 << 24

names = st.binary(min_size=1, max_size=200).filter(lambda name: b"\0" not in name and not name.endswith(b"/"))
members = st.builds(
    Member,
    name=names,
    kind=st.sampled_from([tar.FILE, tar.SYMLINK, tar.HARD_LINK, tar.CHARACTER, tar.FIFO]),
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, 2**32 - 2),
    gid=st.integers(0, 2**32 - 2),
    mtime=st.integers(0, 2**33 - 1).map(lambda seconds: seconds * 10**9),
    target=names,
    device=st.tuples(st.integers(0, 4095), st.integers(0, 4095)),
    xattrs=st.dictionaries(st.sampled_from([b"user.a", b"security.capability"]), st.binary(max_size=300)),
)


def archive_of(contents: list[tuple[Member, bytes]]) -> bytes:
    parts = [tar.header_of(m) + body + tar.padding_of(len(body)) for m, body in contents]
    return b"".join(parts) + tar.end_of_archive()


def read_all(archive: bytes) -> list[tuple[Member, bytes]]:
    reader = TarReader(LayerStream(io.BytesIO(archive), limit=LIMIT).read)
    return [(member, b"".join(reader.body())) for member in reader]


@given(st.lists(st.tuples(members, st.binary(max_size=2000)), max_size=5))
def test_what_we_write_reads_back_and_python_agrees(contents: list[tuple[Member, bytes]]) -> None:
    contents = [
        (m._replace(size=len(body), target=b""), body) if m.kind == tar.FILE else (m, b"") for m, body in contents
    ]
    archive = archive_of(contents)
    assert read_all(archive) == contents
    with tarfile.open(fileobj=io.BytesIO(archive), errors="surrogateescape") as peer:
        found = peer.getmembers()
        assert [m.name.encode(errors="surrogateescape").rstrip(b"/") for m in found] == [
            m.name.rstrip(b"/") for m, _body in contents
        ]
        for theirs, (ours, body) in zip(found, contents):
            assert (theirs.mode, theirs.uid, theirs.gid, theirs.mtime) == (
                ours.mode,
                ours.uid,
                ours.gid,
                ours.mtime // 10**9,
            )
            if ours.kind == tar.FILE:
                file = peer.extractfile(theirs)
                assert file is not None and file.read() == body


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("length", [10, 100, 101, 140, 240])
def test_every_format_that_python_writes_is_read(form: int, length: int) -> None:
    name = "d" * 40 + "/" + "n" * (length - 41) if length > 41 else "n" * length
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as peer:
        info = tarfile.TarInfo(name)
        info.size, info.uid, info.mtime = 5, 70000, 1234567890
        try:
            peer.addfile(info, io.BytesIO(b"hello"))
        except ValueError:
            assert form == tarfile.USTAR_FORMAT
            return
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, name[:100] if form == tarfile.USTAR_FORMAT else name
        peer.addfile(link)
    (member, body), (second, _nothing) = read_all(buffer.getvalue())
    assert (member.name.decode(), body, member.uid, member.mtime) == (name, b"hello", 70000, 1234567890 * 10**9)
    assert (second.kind, second.target.decode()) == (tar.SYMLINK, link.linkname)


def test_sub_second_times_and_large_numbers_of_pax_are_exact() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as peer:
        info = tarfile.TarInfo("a")
        info.pax_headers = {"mtime": "1700000000.123456789", "uid": "3000000000", "SCHILY.xattr.user.x": "v"}
        peer.addfile(info)
    ((member, _body),) = read_all(buffer.getvalue())
    assert (member.mtime, member.uid, member.xattrs) == (1700000000123456789, 3000000000, {b"user.x": b"v"})


WHOLE = archive_of([(Member(b"a" * 150, size=3000, xattrs={b"user.a": b"b"}), b"x" * 3000), (Member(b"b"), b"")])


@given(st.binary(max_size=3000), st.integers(0, len(WHOLE)), st.booleans())
@settings(max_examples=300)
@example(b"", 700, True)
def test_damage_is_invalid_image_and_nothing_else(noise: bytes, position: int, compress: bool) -> None:
    archive = WHOLE[:position] + noise + WHOLE[position + len(noise) :]
    if compress:
        archive = gzip.compress(archive, 1)[: position or None]
    try:
        read_all(archive)
    except (InvalidImage, Unsupported) as error:  # zstd's first bytes, where nothing can read it
        assert str(error)


@pytest.mark.parametrize("cut", range(1, len(WHOLE) - 1024, 97))
def test_an_archive_cut_short_inside_a_member_is_refused(cut: int) -> None:
    try:
        found = read_all(WHOLE[:cut])
    except InvalidImage:
        return
    # Cut between members, or in the zeros that fill a block, which some writers leave out: the diff_id tells.
    assert not WHOLE[cut : cut + -cut % 512].strip(b"\0") and len(found) < 2


@pytest.mark.parametrize(
    "field", [(124, b"\xff" * 12), (124, b"\x80" + b"\x7f" * 11), (108, b"\xff" * 8), (100, b"zzzzzz\0 ")]
)
def test_absurd_numbers_are_refused(field: tuple[int, bytes]) -> None:
    offset, value = field
    header = bytearray(tar.header_of(Member(b"a")))
    header[offset : offset + len(value)] = value
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    with pytest.raises(InvalidImage):
        read_all(bytes(header) + bytes(1024))


def test_a_bomb_meets_the_budget() -> None:
    bomb = gzip.compress(bytes(1 << 25))
    stream = LayerStream(io.BytesIO(bomb), limit=1 << 20)
    with pytest.raises(InvalidImage, match=r"more than 1048576 bytes"):
        stream.digest()


def test_gzip_in_several_members_is_one_layer() -> None:
    archive = archive_of([(Member(b"a", size=4), b"abcd")])
    parts = gzip.compress(archive[:700]) + gzip.compress(archive[700:]) + bytes(512)
    assert read_all(parts)[0][1] == b"abcd"
