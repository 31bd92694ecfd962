"""``checkpoint`` and ``restore``; a whole round trip is in tests/fleet/test_vm_checkpoint.py, on a kernel for it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.criu import encode

# criu as far as we speak to it (its images/rpc.proto): it keeps what it was asked for, and what it restores sleeps.
CRIU = r"""#!/usr/bin/python3 -IS
import os, socket, sys

asked = socket.socket(fileno=int(sys.argv[2]))
request = asked.recv(1 << 16)
with open(HERE + "/request", "wb") as file:
    file.write(request)
kind = request[1]
if kind == 2:
    pid = os.fork()
    if pid == 0:
        os.setsid()
        null = os.open("/dev/null", os.O_RDWR)
        for fd in range(3):
            os.dup2(null, fd)
        os.execv("/bin/sleep", ["sleep", "60"])
    with open(HERE + "/pid", "w") as file:
        file.write(str(pid))
    number = bytes([pid & 0x7F | 0x80, pid >> 7 & 0x7F | 0x80, pid >> 14])
    about = b"\x0a\x0cpost-restore\x10" + number
    asked.send(b"\x08\x06\x10\x01\x2a" + bytes([len(about)]) + about)
    asked.recv(1 << 16)
asked.send(b"\x08" + bytes([kind]) + b"\x10\x01")
"""


@pytest.fixture
def criu(tmp_path):
    """The program; what it was asked for is in the file ``request`` beside it, what it has restored in ``pid``."""
    program = tmp_path / "criu"
    program.write_text(CRIU.replace("HERE", repr(str(tmp_path))))
    program.chmod(0o755)
    (tmp_path / "image").mkdir()
    (tmp_path / "image/descriptors.json").write_text('["/dev/null", "/dev/null", "/dev/null"]')
    return program


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


def test_what_is_restored_and_cannot_be_told_of_is_ended(runtime, criu, tmp_path):
    words = ["--criu", str(criu), "restore", "-d", "--image-path", str(tmp_path / "image"), "-b", str(runtime.bundle)]
    done = runtime(*words, "--pid-file", "/no/such/directory/pid", runtime.id)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "--pid-file /no/such/directory/pid: No such file or directory" in done.stderr
    with contextlib.suppress(FileNotFoundError):  # process 1 may not have waited for it yet
        assert ") Z " in Path(f"/proc/{(tmp_path / 'pid').read_text()}/stat").read_text()
    assert os.listdir(runtime.root) == []
    assert runtime.root not in Path("/proc/self/mounts").read_text()
    assert [path for path, _dirs, _files in os.walk("/sys/fs/cgroup") if path.endswith(runtime.id)] == []


@pytest.mark.parametrize("entry", [{"type": "bind"}, {"options": ["rbind", "ro"]}, {"type": "bind", "options": ["ro"]}])
def test_a_bind_is_told_of_whatever_it_is_by(runtime, criu, tmp_path, entry):
    """By its type alone, too: criu would look for the file system of its source elsewhere."""
    (tmp_path / "data").mkdir()
    mount = {"destination": "/data", "source": str(tmp_path / "data"), **entry}
    runtime.configure(lambda spec: spec["mounts"].append(mount))
    start(runtime)
    image = ["--image-path", str(tmp_path / "image")]
    done = runtime("--criu", str(criu), "checkpoint", *image, runtime.id)
    assert done.returncode == 0, done.stderr
    assert encode({23: {1: "/data", 2: "/data"}}) in (tmp_path / "request").read_bytes()
    words = ["restore", "-d", *image, "-b", str(runtime.bundle), runtime.id]
    done = runtime("--criu", str(criu), *words)
    assert (done.returncode, runtime.status()) == (0, "running"), done.stderr
    assert encode({23: {1: "/data", 2: str(tmp_path / "data")}}) in (tmp_path / "request").read_bytes()


@pytest.mark.skipif(shutil.which("criu") is None, reason="criu is not installed")
def test_what_criu_says_is_told_or_it_works(runtime, tmp_path):
    """criu check(8) decides which: criu 3.17 cannot read the vDSO of Linux 6.18."""
    # /etc/criu/default.conf may name a log file, which would be made in the directory where the tests are run.
    check = ["criu", "check", "--no-default-config"]
    able = subprocess.run(check, cwd=tmp_path, capture_output=True, check=False).returncode == 0
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
