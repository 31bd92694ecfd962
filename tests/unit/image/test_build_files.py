# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a build leaves out and what it copies: patterns (git's and Go's cases), globs, modes, remembered digests."""

from __future__ import annotations

import os
import stat
import subprocess
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import InvalidOption
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.build.copying import (
    CopyJob,
    change_mode,
    copy_members,
    find_owner,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.build.file_digests import FileDigests
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.build.ignore import (
    Ignore,
    compile_glob,
    read_ignore,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.build.origins import (
    context_origin,
    find_sources,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.build.view import View, entries

# Patterns, a path, and whether it is left out: what .dockerignore's reference says of each.
IGNORED = [
    ("temp", "temp", True),
    ("temp", "temp/x", True),
    ("/temp/", "temp/x", True),
    ("temp", "a/temp", False),
    ("*/temp*", "a/tempx", True),
    ("*/temp*", "temp", False),
    ("*/temp*", "a/b/temp", False),
    ("temp?", "tempa", True),
    ("temp?", "temp", False),
    ("**/*.go", "a.go", True),
    ("**/*.go", "a/b/c.go", True),
    ("**", "anything", True),
    ("a/**", "a/b/c", True),
    ("a/**/z", "a/z", True),
    ("a/**/z", "a/b/c/z", True),
    ("*.md !README.md", "README.md", False),
    ("*.md !README.md", "x.md", True),
    ("*.md !README*.md README-secret.md", "README-secret.md", True),
    ("a !a/b", "a/b", False),
    ("a !a/b", "a/c", True),
    ("!a a", "a", True),
    ("[a-c]x", "bx", True),
    ("[^a-c]x", "bx", False),
    ("\\*", "*", True),
    ("\\*", "a", False),
    ("./a/../b", "b", True),
    (".", "a", False),
    ("a.b", "axb", False),
]


@pytest.mark.parametrize(("patterns", "path", "expected"), IGNORED)
def test_patterns(patterns, path, expected):
    assert Ignore(patterns.split(" ")).excludes(path) is expected


def test_where_the_patterns_are(tmp_path):
    assert not read_ignore(str(tmp_path), f"{tmp_path}/Containerfile")
    (tmp_path / ".dockerignore").write_text("# a comment\n\n  docker  \n")
    assert read_ignore(str(tmp_path), "").excludes("docker")
    (tmp_path / ".containerignore").write_text("container\n")
    assert not read_ignore(str(tmp_path), "").excludes("docker")
    (tmp_path / "Containerfile.dockerignore").write_text("beside\n")
    assert read_ignore(str(tmp_path), f"{tmp_path}/Containerfile").excludes("beside")
    (tmp_path / ".containerignore").write_text("[a\n")
    with pytest.raises(InvalidOption, match="a pattern whose '\\['"):
        read_ignore(str(tmp_path), "")


@given(st.text(alphabet="ab/*?[]^!-\\.", max_size=10), st.text(alphabet="ab/*.", max_size=8))
def test_whatever_a_pattern_is_it_matches_or_is_refused(pattern, path):
    try:
        rule = compile_glob(pattern)
    except InvalidOption:
        return
    rule.fullmatch(path)


@given(st.text(alphabet="ab/.-_", min_size=1, max_size=10))
def test_a_path_without_signs_is_itself(path):
    assert compile_glob(path).fullmatch(path)


@pytest.fixture
def context(tmp_path):
    root = tmp_path / "context"
    for name in ("a.txt", "b.txt", "c.md", "d/e/f.txt", "d/g.md", "h/e/f.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / "link").symlink_to("d")
    (root / "absolute").symlink_to("/d/e")
    (root / "out").symlink_to("../../../etc")
    return root


def names(context, pattern, *ignored):
    return [os.fsdecode(source.path) for source in find_sources(context_origin(str(context), Ignore(ignored)), pattern)]


def test_sources(context):
    assert names(context, "a.txt") == ["a.txt"]
    assert names(context, "/d/./e") == ["d/e"]
    assert names(context, "d/../a.txt") == ["a.txt"]
    assert names(context, ".") == [""]
    assert names(context, "*.txt") == ["a.txt", "b.txt"]
    assert names(context, "*.txt", "b*") == ["a.txt"]
    assert names(context, "*/e/*") == ["d/e/f.txt", "h/e/f.txt"]
    assert names(context, "**/*.txt") == ["a.txt", "b.txt", "d/e/f.txt", "h/e/f.txt"]
    assert names(context, "[ab].txt") == ["a.txt", "b.txt"]
    assert names(context, "none*") == []
    # A link that is named is followed, inside; one that would lead out leads to the same place inside, or nowhere.
    assert names(context, "link/g.md") == ["link/g.md"]
    assert names(context, "absolute/f.txt") == ["absolute/f.txt"]
    for path in ("out/passwd", "out", "none", "link/none"):
        with pytest.raises(ValueError, match="is not in the context"):
            names(context, path)
    for path in ("..", "../context/a.txt", "d/../../a.txt", "/../a.txt"):
        with pytest.raises(ValueError, match="leaves the context"):
            names(context, path)


def copied(context, dest, *sources, ignored=(), **options):
    job = CopyJob(sources, dest, **options)
    members = copy_members(job, context_origin(str(context), Ignore(ignored)), View(), 0)
    return {os.fsdecode(path): (member.mode, member.uid, member.gid) for path, (member, _content) in members.items()}


def test_where_copies_go(context):
    (context / "d/e").chmod(0o700)
    assert set(copied(context, "/x", "a.txt")) == {"x"}
    assert set(copied(context, "/x/", "a.txt")) == {"x", "x/a.txt"}
    assert set(copied(context, "/x", "d")) == {"x", "x/e", "x/e/f.txt", "x/g.md"}
    assert copied(context, "/x", "d")["x/e"][0] == 0o700
    assert copied(context, "/x", "d/e")["x"][0] == 0o755
    assert set(copied(context, "/x/", "d", ignored=["d/e", "!d/e/f.txt"])) == {"x", "x/e", "x/e/f.txt", "x/g.md"}
    assert set(copied(context, "/x/", "d", exclude=Ignore(["*.md"]))) == {"x", "x/e", "x/e/f.txt"}
    assert set(copied(context, "/x/", "d/e/f.txt", "*/g.md", parents=True)) == {
        *("x", "x/d", "x/d/e", "x/d/e/f.txt", "x/d/g.md"),
    }
    assert set(copied(context, "/x/", "d/./e/f.txt", parents=True)) == {"x", "x/e", "x/e/f.txt"}
    assert copied(context, "/x/y", "a.txt", owner=(5, 6), chmod="0600") == {"x": (0o755, 5, 6), "x/y": (0o600, 5, 6)}


@pytest.mark.parametrize(
    ("text", "mode", "directory", "expected"),
    [
        ("", 0o640, False, 0o640),
        ("755", 0o640, False, 0o755),
        ("04755", 0o640, False, 0o4755),
        ("u+x", 0o640, False, 0o740),
        ("a+r,o-r", 0o600, False, 0o640),
        ("go=", 0o777, False, 0o700),
        ("u=rwX,go=rX", 0o600, False, 0o644),
        ("u=rwX,go=rX", 0o600, True, 0o755),
        ("+X", 0o744, False, 0o755),
        ("u+s,+t", 0o755, False, 0o5755),
    ],
)
def test_modes(text, mode, directory, expected):
    assert change_mode(text, mode, directory=directory) == expected


@pytest.mark.parametrize("mode", [0o640, 0o711, 0o4750, 0o2070, 0o000, 0o777])
@pytest.mark.parametrize(
    "text",
    [
        "g=u",
        "u+r-w",
        "g+u",
        "o-g",
        "a=g",
        "u=g+x",
        "g=u,o=g-w",
        "u+x-w=r",
        "go=",
        "ug=rw,o=r",
        "a-x,u+X",
        "g=u-x",
        "=u",
    ],
)
def test_modes_are_those_of_chmod(tmp_path, text, mode):
    path = tmp_path / "file"
    path.touch()
    path.chmod(mode)
    subprocess.run(["sh", "-c", f"umask 0; chmod {text} {path}"], check=True, timeout=10)
    assert oct(change_mode(text, mode, directory=False)) == oct(stat.S_IMODE(path.stat().st_mode))


@pytest.mark.parametrize("text", ["9", "77777", "u+q", "x", "u+x,", "-1", "g=ux", "u", "g=ug", "+-q"])
def test_modes_that_cannot_be(text):
    with pytest.raises(ValueError, match="neither octal"):
        change_mode(text, 0, directory=False)


def test_owners(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/:\nbad line\napp:x:7:8::/:\n")
    (tmp_path / "etc/group").write_text("more:x:9:\n")
    view = View([str(tmp_path)])
    found = {text: find_owner(text, view) for text in ("app", "app:more", "5", "5:6", "5:more", "app:3")}
    assert found == {"app": (7, 8), "app:more": (7, 9), "5": (5, 5), "5:6": (5, 6), "5:more": (5, 9), "app:3": (7, 3)}
    for text in ("", "nobody", "app:", ":1", "app:nogroup", "4294967295", "bad line"):
        with pytest.raises(ValueError, match="--chown"):
            find_owner(text, view)


def test_digests_are_remembered_and_never_of_other_content(tmp_path):
    file, kept = tmp_path / "a\udcff", str(tmp_path / "kept.json")
    file.write_text("one")
    time.sleep(0.2)
    first = FileDigests(kept)
    one = first.digest(os.fsencode(file))
    first.save()
    again = FileDigests(kept)
    opened = os.open

    def refuse(path, *more, **options):
        assert os.fsencode(path) != os.fsencode(file), "it was read again"
        return opened(path, *more, **options)

    os.open = refuse
    try:
        assert again.digest(os.fsencode(file)) == one
    finally:
        os.open = opened
    times = os.stat(file)
    file.write_text("two")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert FileDigests(kept).digest(os.fsencode(file)) != one
    # What was changed just now may be changed again within the same tick.
    lately = FileDigests(str(tmp_path / "lately.json"))
    for number in range(200):
        file.write_text(f"{number:03}")
        assert lately.digest(os.fsencode(file)) == FileDigests("/nonexistent").digest(os.fsencode(file))
    (tmp_path / "kept.json").write_text("{ half")
    assert FileDigests(kept).digest(os.fsencode(file))


def test_layers_over_one_another_are_listed_as_overlayfs_shows_them(tmp_path):
    for path in ("lower/d/a", "lower/d/b", "lower/f", "upper/d/b", "upper/d/c"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    view = View([str(tmp_path / "lower"), str(tmp_path / "upper")])
    found = view.find(b"d")
    assert found is not None
    assert [(entry.name, entry.path.split(b"/")[-3]) for entry in entries(found)] == [
        *((b"a", b"lower"), (b"b", b"upper"), (b"c", b"upper")),
    ]
    assert view.find(b"f/x") is None
    assert [entry.name for entry in entries(view.find(b""))] == [b"d", b"f"]
