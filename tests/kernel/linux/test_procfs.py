"""What is written to /proc reaches the kernel, whatever is mounted there (CVE-2025-52881)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.linux import mount as m
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.mount import mount
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.namespaces import CLONE_NEWNS, unshare
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.procfs import (
    PROC_SUPER_MAGIC,
    fstatfs_type,
    open_proc,
    write_proc,
)
from tests.kernel.linux.forked import run_forked

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: /proc is covered by mounts")

SCORE = "self/oom_score_adj"


def read(path):
    fd = open_proc(path, os.O_RDONLY)
    try:
        return os.read(fd, 100).decode().strip()
    finally:
        os.close(fd)


def in_namespace(function):
    def enter():
        unshare(CLONE_NEWNS)
        mount("none", "/", flags=m.MS_REC | m.MS_PRIVATE)
        return function()

    return run_forked(enter)


@pytest.fixture
def fake(tmp_path):
    """What an attacker would have there: the same names."""
    for name in ("self", str(os.getpid()), "net"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "oom_score_adj").write_text("fake")
    return tmp_path


COVERS = {
    "nothing": lambda fake: None,
    "the file": lambda fake: mount(str(fake / "self/oom_score_adj"), f"/proc/{SCORE}", flags=m.MS_BIND),
    "a file of another procfs": lambda fake: mount("/proc/1/oom_score_adj", f"/proc/{SCORE}", flags=m.MS_BIND),
    "the process": lambda fake: mount(str(fake / "self"), f"/proc/{os.getpid()}", flags=m.MS_BIND),
    "all of it": lambda fake: mount(str(fake), "/proc", flags=m.MS_BIND),
    "a part of it": lambda fake: mount(f"/proc/{os.getpid()}", "/proc", flags=m.MS_BIND),
    "processes alone": lambda fake: mount("proc", "/proc", "proc", 0, "subset=pid"),
}


@pytest.mark.parametrize("cover", COVERS.values(), ids=COVERS.keys())
def test_the_kernel_is_told(fake, cover):
    def tell():
        cover(fake)
        write_proc(SCORE, "300")
        return [read(SCORE), read("sys/kernel/ostype")]

    other = Path("/proc/1/oom_score_adj").read_text()
    assert in_namespace(tell) == ["300", "Linux"]
    assert (fake / "self/oom_score_adj").read_text() == "fake"
    assert Path("/proc/1/oom_score_adj").read_text() == other


@pytest.mark.parametrize("path", ["../etc/passwd", "self/root/etc/passwd", "self/fd/../../../etc/passwd", "self/cwd"])
def test_nothing_else_is_opened(path):
    with pytest.raises(OSError) as caught:
        open_proc(path, os.O_RDONLY)
    assert caught.value.filename == f"/proc/{path}"


def test_what_is_not_there_is_not_made():
    with pytest.raises(FileNotFoundError):
        write_proc("sys/net/nothing", "1")


def test_a_file_system_is_known_by_its_number():
    fd = os.open("/proc", os.O_PATH)
    other = os.open("/", os.O_PATH)
    assert fstatfs_type(fd) == PROC_SUPER_MAGIC != fstatfs_type(other)
    os.close(fd)
    os.close(other)
