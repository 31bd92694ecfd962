"""``checkpoint`` and ``restore``; a whole round trip is in tests/fleet/test_vm_checkpoint.py, on a kernel for it."""

from __future__ import annotations

import shutil
import subprocess

import pytest


def start(runtime):
    words = [runtime.command, "--root", runtime.root, "run", "-d", "-b", str(runtime.bundle), runtime.id]
    subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)


def test_without_criu_one_line_says_so_and_the_container_runs_on(runtime, tmp_path):
    start(runtime)
    done = runtime("--criu", "/no/criu", "checkpoint", "--image-path", str(tmp_path / "image"), runtime.id)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "the program '/no/criu' is not installed on this host" in done.stderr
    assert runtime.status() == "running"


def test_only_what_runs_is_checkpointed(runtime, tmp_path):
    words = [runtime.command, "--root", runtime.root, "create", "-b", str(runtime.bundle), runtime.id]
    subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    done = runtime("checkpoint", "--image-path", str(tmp_path / "image"), runtime.id)
    assert (done.returncode, "cannot be checkpointed: it is created" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--parent-path", "/absolute"], "checkpoint --parent-path"),
        (["--parent-path", "missing"], "checkpoint --parent-path"),
        (["--page-server", "nowhere"], "checkpoint --page-server: 'nowhere' is not valid; expected ADDRESS:PORT"),
        (["--manage-cgroups-mode", "some"], "checkpoint --manage-cgroups-mode"),
        (["--empty-ns", "pid"], "checkpoint --empty-ns: 'pid' is not valid; expected network"),
    ],
)
def test_options_that_cannot_be_meant(runtime, tmp_path, words, told):
    done = runtime("checkpoint", "--image-path", str(tmp_path / "image"), *words, runtime.id)
    assert (done.returncode, told in done.stderr) == (1, True), done.stderr
    assert not (tmp_path / "image").exists()


@pytest.mark.skipif(shutil.which("criu") is None, reason="criu is not installed")
def test_what_criu_says_is_told_or_it_works(runtime, tmp_path):
    """criu check(8) decides which: criu 3.17 cannot read the vDSO of Linux 6.18."""
    able = subprocess.run(["criu", "check"], capture_output=True, check=False).returncode == 0
    start(runtime)
    image = ["--image-path", str(tmp_path / "image")]
    done = runtime("checkpoint", *image, runtime.id)
    if not able:
        assert (done.returncode, "criu failed with status 1" in done.stderr) == (1, True), done.stderr
        assert "Error (criu/" in done.stderr
        assert runtime.status() == "running"
        return
    assert done.returncode == 0, done.stderr
    assert runtime("state", runtime.id).returncode == 1
    words = [runtime.command, "--root", runtime.root, "restore", "-d", *image, "-b", str(runtime.bundle), runtime.id]
    subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    assert runtime.status() == "running"
