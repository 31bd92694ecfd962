"""Paths inside a root: openat2(2), and the walk that stands for it on old kernels, by the same cases."""

from __future__ import annotations

import os
import stat

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.linux import openat2
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.resolve import walk_in_root

# A name to what it is: a directory, a file's content, or "-> target".
TREE = {
    "etc": None,
    "etc/passwd": "inside",
    "deep/er/place": None,
    "deep/er/file": "deep",
    "absolute": "-> /etc/passwd",
    "relative": "-> etc/../etc/passwd",
    "out": "-> ../../../../../../etc/passwd",
    "deep/up": "-> ../../etc",
    "deep/er/root": "-> /",
    "chain": "-> deep/up",
    "circle": "-> circle2",
    "circle2": "-> circle",
    "nowhere": "-> missing/place",
    "self": "-> .",
}


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    for name, what in TREE.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if what is None:
            (root / name).mkdir(exist_ok=True)
        elif what.startswith("-> "):
            (root / name).symlink_to(what[3:])
        else:
            (root / name).write_text(what)
    return root


def by_kernel(root, path, flags, links=True):
    return openat2.openat2(
        root, path, flags, resolve=openat2.RESOLVE_IN_ROOT | (0 if links else openat2.RESOLVE_NO_SYMLINKS)
    )


def by_walk(root, path, flags, links=True):
    return walk_in_root(root, path, flags, links=links)


@pytest.fixture(params=[by_kernel, by_walk], ids=["kernel", "walk"])
def opened(request, tree):
    """Open a path below the tree: (device, inode), or what went wrong."""
    root = os.open(tree, os.O_PATH)

    def look(path, flags=os.O_PATH, **options):
        before = set(os.listdir("/proc/self/fd"))
        try:
            fd = request.param(root, path, flags, **options)
        except OSError as error:
            assert error.filename == path
            assert set(os.listdir("/proc/self/fd")) == before
            return error.errno if error.__class__ is OSError else error.__class__
        found = os.fstat(fd)
        assert not os.get_inheritable(fd)
        os.close(fd)
        return (found.st_dev, found.st_ino)

    yield look
    os.close(root)


SAME = {
    "etc/passwd": "etc/passwd",
    "/etc/passwd": "etc/passwd",
    "/../../etc/passwd": "etc/passwd",
    "absolute": "etc/passwd",
    "relative": "etc/passwd",
    "out": "etc/passwd",
    "chain/passwd": "etc/passwd",
    "deep/up/passwd": "etc/passwd",
    "deep/er/root/etc": "etc",
    "deep/er/root/../../etc/./passwd": "etc/passwd",
    "deep/er/../er/file": "deep/er/file",
    "self/self/./etc/": "etc",
    "/": ".",
    ".": ".",
    "..": ".",
}


@pytest.mark.parametrize(("path", "place"), SAME.items())
def test_a_path_is_where_a_process_in_the_root_would_find_it(opened, tree, path, place):
    found = os.stat(tree / place)
    assert opened(path) == (found.st_dev, found.st_ino)


WRONG = {
    "missing": FileNotFoundError,
    "nowhere": FileNotFoundError,
    "etc/passwd/below": NotADirectoryError,
    "etc/passwd/..": NotADirectoryError,
    "etc/passwd/": NotADirectoryError,
    "etc/passwd/.": NotADirectoryError,
    "circle": 40,
}


@pytest.mark.parametrize(("path", "error"), WRONG.items())
def test_what_cannot_be_opened(opened, path, error):
    assert opened(path) == error


def test_links_can_be_refused_or_opened_themselves(opened, tree):
    assert opened("absolute", links=False) == 40
    assert opened("chain/passwd", links=False) == 40
    assert opened("deep/er/file", links=False) == opened("deep/er/file")
    link = os.lstat(tree / "absolute")
    assert opened("absolute", os.O_PATH | os.O_NOFOLLOW) == (link.st_dev, link.st_ino)
    assert opened("absolute", os.O_RDONLY | os.O_NOFOLLOW) == 40


def test_flags_count(opened):
    assert opened("etc/passwd", os.O_PATH | os.O_DIRECTORY) is NotADirectoryError
    assert opened("etc/passwd", os.O_RDONLY) == opened("out")
    assert opened("etc", os.O_WRONLY) is IsADirectoryError


def test_links_of_procfs_lead_nowhere(opened, tree):
    """/proc/self/root of a process is the host's root: no image may lead there by a link."""
    (tree / "proc").symlink_to("/proc")
    assert opened("proc/self/root/etc") in (FileNotFoundError, 40)


@pytest.fixture
def root(tree):
    root = openat2.Root(str(tree))
    root.attach()
    yield root
    root.close()


MADE = {
    "new": "new",
    "/new/deep/er": "new/deep/er",
    "../../new": "new",
    "nowhere/below": "missing/place/below",
    "nowhere": "missing/place",
    "chain/new": "etc/new",
    "deep/er/../../new/./x/": "new/x",
    "missing/../new": "new",
    "deep/er/root/new": "new",
}


@pytest.mark.parametrize("directory", [True, False])
@pytest.mark.parametrize(("path", "place"), MADE.items())
def test_what_is_missing_is_made_inside(root, tree, path, place, directory):
    with root.make(path, directory=directory) as fd:
        found = os.stat(tree / place)
        assert os.fstat(fd).st_ino == found.st_ino
        assert stat.S_ISDIR(found.st_mode) is directory


@pytest.mark.parametrize("path", ["etc/passwd/below", "circle/below", "circle"])
def test_what_cannot_be_made(root, path):
    with pytest.raises(OSError) as caught:
        root.make(path)
    assert caught.value.filename == path


def test_what_is_there_is_left_as_it_is(root, tree):
    with root.make("out", directory=False):
        pass
    assert (tree / "etc/passwd").read_text() == "inside"
    assert root.read_file("out") == "inside"
    assert root.read_file("etc") == root.read_file("missing") == ""
    assert root.is_directory("chain") and not root.is_directory("out") and not root.is_directory("nowhere")
