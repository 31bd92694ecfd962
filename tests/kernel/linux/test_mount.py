"""Overlays of more layers than a page has room for, and mounts that are made aside."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.linux import mount as m
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.mount import (
    mount,
    mount_overlay,
    observe_mounts,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.mount_api import (
    AT_FDCWD,
    OPEN_TREE_CLONE,
    make_mount,
    move_mount,
    open_tree,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.mount_setattr import (
    MOUNT_ATTR_RDONLY,
    has_mount_setattr,
    mount_setattr,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.namespaces import CLONE_NEWNS, unshare
from tests.kernel.linux.forked import run_forked

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts are made")


@pytest.fixture
def directory():
    parent = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="stowage-test-", dir=parent) as path:
        yield Path(path)


def alone(function):
    """In a mount namespace of its own, with nothing shared."""

    def enter():
        unshare(CLONE_NEWNS)
        mount("none", "/", flags=m.MS_REC | m.MS_PRIVATE)
        return function()

    return run_forked(enter)


@pytest.mark.parametrize("count", [1, 50, 120, 500])
def test_an_overlay_of_many_layers(directory, count):
    names = [f"sha256-{number:064x}" for number in range(count)]
    for number, name in enumerate(names):
        (directory / "layers, all: of them" / name).mkdir(parents=True)
        (directory / "layers, all: of them" / name / f"of{number}").touch()
        (directory / "layers, all: of them" / name / "top").write_text(str(number))
    for name in ("upper", "work", "merged"):
        (directory / name).mkdir()

    def look():
        os.chdir("/tmp")
        descriptors = os.listdir("/proc/self/fd")
        lower = [str(directory / "layers, all: of them" / name) for name in reversed(names)]
        ends = {"upper": str(directory / "upper"), "work": str(directory / "work")}
        mount_overlay(str(directory / "merged"), lower=lower, **ends)
        found = os.listdir(directory / "merged")
        (directory / "merged/written").touch()
        same = os.listdir("/proc/self/fd") == descriptors
        return [len(found), (directory / "merged/top").read_text(), os.getcwd(), same]

    assert alone(look) == [count + 1, str(count - 1), "/tmp", True]
    assert os.listdir(directory / "upper") == ["written"]


def test_a_mount_made_aside_is_seen_when_it_is_moved(directory):
    def look():
        tree = make_mount("tmpfs", "here", ["size=1m", "mode=710"])
        seen = str(directory) in observe_mounts()
        mount_setattr(tree, MOUNT_ATTR_RDONLY, 0)
        move_mount(tree, os.open(directory, os.O_PATH))
        return [
            seen,
            observe_mounts()[str(directory)],
            f"{os.stat(directory).st_mode:o}",
            os.access(directory, os.W_OK),
        ]

    assert alone(look) == [False, "tmpfs", "40710", False]


def test_a_copy_of_a_mount_has_attributes_of_its_own(directory):
    (directory / "source").mkdir()
    (directory / "target").mkdir()

    def look():
        tree = open_tree(AT_FDCWD, str(directory / "source"), OPEN_TREE_CLONE)
        mount_setattr(tree, MOUNT_ATTR_RDONLY, 0)
        move_mount(tree, os.open(directory / "target", os.O_PATH))
        return [os.access(directory / name, os.W_OK) for name in ("source", "target")]

    assert alone(look) == [True, False]


def test_a_file_system_says_what_is_wrong(directory):
    with pytest.raises(OSError, match="Bad value for 'size'"):
        make_mount("tmpfs", "tmpfs", ["size=much"])
    with pytest.raises(OSError, match="Unknown parameter 'colour'"):
        make_mount("tmpfs", "tmpfs", ["colour=red"])
    with pytest.raises(OSError, match="No such device"):
        make_mount("nothingfs", "x", [])


def test_this_kernel_has_what_these_tests_need():
    assert has_mount_setattr()
