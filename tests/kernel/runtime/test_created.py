# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container that is created and not started: what its init holds, and how it hears and tells of its start."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time

import pytest


@pytest.fixture
def created(runtime, tmp_path):
    """Create the container, with streams of its own; its pid."""

    def create(*args, capabilities=()):
        def change(spec):
            spec["process"]["args"] = list(args)
            for names in spec["process"]["capabilities"].values():
                names.extend(capabilities)

        runtime.configure(change)
        (runtime.bundle / "rootfs/bin/bad").write_bytes(b"\x00 nonsense")
        (runtime.bundle / "rootfs/bin/bad").chmod(0o755)
        words = [runtime.command, "--root", runtime.root, "create", "-b", str(runtime.bundle)]
        with open(tmp_path / "log", "wb") as log:
            options = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            subprocess.run([*words, "--pid-file", str(tmp_path / "pid"), runtime.id], check=True, timeout=20, **options)
        return int((tmp_path / "pid").read_text())

    return create


def test_the_init_holds_its_fifo_and_no_other_file(runtime, created):
    pid = created("true")
    held = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd") if int(fd) > 2]
    others = [path for path in held if not re.match(r"(pipe|socket):|/memfd:|anon_inode:", path)]
    assert set(others) == {f"{runtime.root}/{runtime.id}/exec.fifo"}


def test_what_fails_is_told_to_whoever_starts_it(runtime, created):
    created("/bin/bad")
    done = runtime("start", runtime.id)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"container {runtime.id}: exec /bin/bad: exec format error" in done.stderr
    assert runtime.status() == "stopped"


def test_opening_the_fifo_starts_nothing(runtime, created):
    created("sleep", "60")
    os.close(os.open(f"{runtime.root}/{runtime.id}/exec.fifo", os.O_WRONLY | os.O_NONBLOCK))
    assert runtime.status() == "created"
    assert runtime("start", runtime.id).returncode == 0
    assert runtime.status() == "running"


@pytest.mark.parametrize("words", ['{"error', '{"else": 1}', "[]", "\\377"])
def test_words_that_are_not_the_inits(runtime, created, words):
    """A process in the created container can write to the init's fifo, and starts it so; the error is one line. It
    takes CAP_SYS_PTRACE."""
    pid = created("/bin/bad", capabilities=["CAP_SYS_PTRACE"])
    fifo = next(fd for fd in os.listdir(f"/proc/{pid}/fd") if os.readlink(f"/proc/{pid}/fd/{fd}").endswith("exec.fifo"))
    os.kill(pid, signal.SIGSTOP)
    done = runtime("exec", runtime.id, "sh", "-c", f"printf '0{words}\\n' >/proc/1/fd/{fifo}")
    assert done.returncode == 0, done.stderr
    start = [runtime.command, "--root", runtime.root, "start", runtime.id]
    with subprocess.Popen(start, stderr=subprocess.PIPE, text=True) as started:
        while os.path.exists(f"{runtime.root}/{runtime.id}/exec.fifo"):
            time.sleep(0.01)
        os.kill(pid, signal.SIGCONT)
        told = started.communicate(timeout=20)[1]
    assert started.returncode == 1
    assert told.startswith(f"stowage-runtime: container {runtime.id}: its init said what cannot be read, ")
    assert len(told.splitlines()) == 1


def open_files(pid):
    """The soft and the hard limit of a process."""
    with open(f"/proc/{pid}/limits", encoding="ascii") as limits:
        [line] = [line for line in limits if line.startswith("Max open files")]
    return line.split()[3:5]


@pytest.mark.parametrize(("soft", "hard"), [(0, 0), (3, 5), (0, 1024), (64, 100), (1024, 1024)])
def test_a_limit_of_open_files_does_not_keep_the_init_from_waiting(box, soft, hard):
    """poll(2) and dup2(2) fail beyond it, so one that is too small for them is set when the container starts."""
    box.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": soft, "hard": hard}]
    box.process["args"] = ["sleep", "60"]
    box.write()
    assert box.launch("create", "-b", str(box.directory), box.id) == 0, box.output()
    time.sleep(0.2)
    state = box.state()
    assert state["status"] == "created"
    assert (open_files(state["pid"]) == [str(soft), str(hard)]) == (soft >= 64)
    assert box.call("start", box.id).returncode == 0
    time.sleep(0.2)
    assert open_files(state["pid"]) == [str(soft), str(hard)]
