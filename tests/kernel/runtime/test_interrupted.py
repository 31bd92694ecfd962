# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a command that failed or was killed in the middle leaves behind does not stand in the way of the next."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.waiting import wait_for

QUIET = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def run_true(runtime):
    runtime.configure(lambda spec: spec["process"].update(args=["true"]))
    return runtime("run", "-b", str(runtime.bundle), runtime.id)


def test_a_directory_without_a_state_is_removed_by_delete_force(runtime):
    """Killed between mkdir(2) and the first state.json, or between its unlink(2) and rmdir(2)."""
    directory = Path(runtime.root, runtime.id)
    directory.mkdir(parents=True)
    (directory / ".state.json.tmp").touch()
    assert "already exists" in run_true(runtime).stderr
    refused = runtime("delete", runtime.id)
    assert (refused.returncode, "does not exist" in refused.stderr) == (1, True)
    directory.mkdir(exist_ok=True)
    assert runtime("delete", "--force", runtime.id).returncode == 0
    assert not directory.exists()
    assert run_true(runtime).returncode == 0


def test_a_failed_create_takes_its_notify_socket_with_it(runtime):
    runtime.configure(lambda spec: spec.update(hooks={"createRuntime": [{"path": "/bin/false"}]}))
    environment = {**os.environ, "NOTIFY_SOCKET": "/run/no-such-socket"}
    done = runtime("run", "-b", str(runtime.bundle), runtime.id, env=environment)
    assert (done.returncode, "createRuntime hook" in done.stderr) == (1, True), done.stderr
    assert os.listdir(runtime.root) == []


def test_a_restore_that_is_killed_leaves_no_mount_once_it_is_deleted(runtime, tmp_path):
    """By a criu that never answers."""
    criu, image = tmp_path / "criu", tmp_path / "image"
    criu.write_text("#!/bin/sh\nexec sleep 60\n")
    criu.chmod(0o755)
    image.mkdir()
    (image / "descriptors.json").write_text(json.dumps(["/dev/null"] * 3))
    words = [runtime.command, "--root", runtime.root, "--criu", str(criu), "restore", "-d"]
    words += ["--image-path", str(image), "-b", str(runtime.bundle), runtime.id]
    root = Path(runtime.root, runtime.id, "criu-root")
    with subprocess.Popen(words, **QUIET) as restore:
        wait_for(lambda: is_mounted(root))
        wait_for(lambda: held(runtime, "memory") and held(runtime, "freezer"))  # criu is where the container shall be
        restore.kill()
    assert is_mounted(root), "nothing was left: there is nothing to be tested"
    assert runtime.status() == "stopped"
    done = runtime("delete", "--force", runtime.id)
    assert done.returncode == 0, done.stderr
    assert not is_mounted(root)
    assert os.listdir(runtime.root) == []
    assert (runtime.bundle / "rootfs/bin/busybox").exists()
    assert run_true(runtime).returncode == 0


def is_mounted(path):
    return f" {path} " in Path("/proc/self/mountinfo").read_text()


def held(runtime, controller):
    """The processes in the container's cgroup: v2's, or that of v1 that has the controller."""
    places = (Path("/sys/fs/cgroup", controller, runtime.id), Path("/sys/fs/cgroup", runtime.id, "payload"))
    return next(((place / "cgroup.procs").read_text() for place in places if place.exists()), "")


def create(runtime):
    words = [runtime.command, "--root", runtime.root, "create", "-b", str(runtime.bundle), runtime.id]
    return subprocess.Popen(words, **QUIET)


def find_cgroups(runtime):
    return [path for path, _folders, _files in os.walk("/sys/fs/cgroup") if path.endswith(runtime.id)]


def test_a_create_that_is_killed_as_soon_as_there_is_a_cgroup(runtime):
    """Then it is known whose that is."""
    parents = [Path("/sys/fs/cgroup"), *(entry for entry in Path("/sys/fs/cgroup").iterdir() if entry.is_dir())]
    places = [parent / runtime.id for parent in parents]
    for _attempt in range(15):
        with create(runtime) as killed:
            deadline = time.monotonic() + 10
            while not any(place.exists() for place in places):
                assert time.monotonic() < deadline, "no cgroup was made"
            killed.kill()
        done = runtime("delete", "--force", runtime.id)
        assert done.returncode == 0, done.stderr
        assert find_cgroups(runtime) == []
    assert run_true(runtime).returncode == 0


def test_of_two_that_create_the_same_id_one_does(runtime):
    """And the one that comes too late leaves the other's cgroup alone."""
    for _attempt in range(8):
        with create(runtime) as one, create(runtime) as other:
            assert sorted((one.wait(20), other.wait(20))) == [0, 1]
        assert runtime.status() == "created"
        assert runtime("start", runtime.id).returncode == 0
        assert len(find_cgroups(runtime)) > 0
        assert runtime("delete", "--force", runtime.id).returncode == 0
        assert find_cgroups(runtime) == []


def test_mounts_among_those_of_the_host_go_with_a_create_that_is_killed(runtime, tmp_path):
    """Without a mount namespace of its own (config-linux.md, Namespaces); here it is that of a process, not ours."""
    with subprocess.Popen(["unshare", "-m", "sleep", "60"]) as holder:
        try:
            wait_for(lambda: os.readlink(f"/proc/{holder.pid}/ns/mnt") != os.readlink("/proc/self/ns/mnt"))

            def change(spec):
                namespaces = [entry for entry in spec["linux"]["namespaces"] if entry["type"] != "mount"]
                path = f"/proc/{holder.pid}/ns/mnt"
                spec["linux"].update(namespaces=[*namespaces, {"type": "mount", "path": path}], rootfsPropagation="")
                spec["linux"].update(maskedPaths=[], readonlyPaths=[])
                spec["mounts"] = [entry for entry in spec["mounts"] if entry["type"] in ("proc", "tmpfs", "devpts")]
                spec["hooks"] = {"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "3"]}]}

            runtime.configure(change)
            mounts = Path(f"/proc/{holder.pid}/mountinfo")
            with create(runtime) as killed:
                wait_for(lambda: f"{runtime.bundle}/rootfs/proc " in mounts.read_text() or killed.poll() is not None)
                killed.kill()
            assert str(runtime.bundle) in mounts.read_text(), "nothing was left: there is nothing to be tested"
            done = runtime("delete", "--force", runtime.id)
            assert done.returncode == 0, done.stderr
            assert str(runtime.bundle) not in mounts.read_text()
        finally:
            holder.kill()


@pytest.mark.parametrize("verb", ["create", "run"])
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_who_creates_undoes_it_when_told_to_end(runtime, tmp_path, verb, number, status):
    """While a hook runs, which ends too."""
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\necho $$ >{tmp_path}/pid\nexec sleep 60\n")
    hook.chmod(0o755)
    runtime.configure(lambda spec: spec.update(hooks={"createRuntime": [{"path": str(hook)}]}))
    words = [runtime.command, "--root", runtime.root, verb, "-b", str(runtime.bundle), runtime.id]
    with subprocess.Popen(words, **QUIET) as told:
        wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
        pid = int((tmp_path / "pid").read_text())
        told.send_signal(number)
        try:
            assert told.wait(10) == status
        finally:
            told.kill()
    assert os.listdir(runtime.root) == []
    assert find_cgroups(runtime) == []
    assert not os.path.exists(f"/proc/{pid}")
