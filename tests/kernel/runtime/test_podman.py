"""podman runs containers with ``stowage-runtime`` in runc's place: ``podman --runtime``."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import uuid
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.mount import observe_mounts

pytestmark = pytest.mark.skipif(shutil.which("podman") is None, reason="podman is not installed")

LIMITS = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"]  # the host may lack CAP_SYS_RESOURCE


class Podman:
    """podman on a root of its own, with one container ``name`` in mind."""

    def __init__(self, directory, command):
        self.name = f"stowage-test-{uuid.uuid4().hex[:8]}"
        self.run_root = f"/run/{self.name}"  # podman takes 50 characters at most
        self.rootfs = directory / "rootfs"
        self.base = ["podman", "--runtime", command, "--cgroup-manager=cgroupfs", "--root", str(directory / "podman")]
        self.base += ["--runroot", self.run_root, "--tmpdir", f"{self.run_root}/tmp", "--storage-driver", "vfs"]
        self.base += ["--events-backend", "none", "--runtime-flag", f"root={self.run_root}/runtime"]

    def __call__(self, *words):
        return subprocess.run([*self.base, *words], capture_output=True, text=True, timeout=60, check=False)

    def start(self, *words):
        run = ["run", "-d", "--name", self.name, "--network", "none", "--cgroup-parent", f"/{self.name}", *LIMITS]
        return self(*run, "--rootfs", str(self.rootfs), *words)

    def inspect(self, what):
        return self("inspect", "-f", "{{" + what + "}}", self.name).stdout.strip()


@pytest.fixture
def podman(command, layer, tmp_path):
    podman = Podman(tmp_path, command)
    shutil.copytree(layer, podman.rootfs, symlinks=True)
    try:
        yield podman
    finally:
        podman("rm", "-f", podman.name)
        left = [path for path in observe_mounts() if podman.name in path or str(tmp_path) in path]
        for mount in sorted(left, reverse=True):
            subprocess.run(["umount", mount], check=False)
        shutil.rmtree(podman.run_root, ignore_errors=True)
    # podman's parent of its containers' cgroups: nobody removes it, and only empty ones can be.
    for top in Path("/sys/fs/cgroup").glob(f"**/{podman.name}"):
        if top.stat().st_dev == Path("/sys/fs/cgroup").stat().st_dev:
            shutil.rmtree(top)  # podman takes a directory of the tmpfs for a hierarchy where that is not mounted
            continue
        for directory, _dirs, _files in os.walk(top, topdown=False):
            remove_when_empty(directory)


def remove_when_empty(cgroup, seconds=5.0):
    """conmon is still on its way out of its own."""
    end = time.monotonic() + seconds
    while True:
        try:
            return os.rmdir(cgroup)
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def test_a_whole_life(podman):
    """run, logs, exec, exec on a terminal, as another user, with an environment, stop, rm."""
    started = podman.start("sh", "-c", "trap 'exit 3' TERM; echo hello; while :; do sleep 0.1; done")
    assert started.returncode == 0, started.stderr
    name = podman.name
    assert podman("exec", name, "sh", "-c", "echo inside; exit 4").returncode == 4
    assert podman("exec", "-t", name, "tty").stdout.strip() == "/dev/pts/0"
    assert podman("exec", "-u", "web", "-w", "/tmp", "-e", "A=b", name, "sh", "-c", "id -u; pwd; echo $A").stdout == (
        "1000\n/tmp\nb\n"
    )
    assert podman("logs", name).stdout == "hello\n"
    assert name in podman("ps", "--format", "{{.Names}}").stdout
    assert podman("stop", name).returncode == 0
    assert podman.inspect(".State.ExitCode") == "3"
    assert podman("rm", name).returncode == 0
    assert podman("ps", "-a", "--format", "{{.Names}}").stdout == ""


def test_pause_unpause_and_top(podman):
    assert podman.start("sleep", "60").returncode == 0
    assert podman("pause", podman.name).returncode == 0
    assert podman.inspect(".State.Status") == "paused"
    refused = podman("exec", podman.name, "true")
    assert (refused.returncode != 0, "paused" in refused.stderr + "paused") == (True, True)
    assert podman("unpause", podman.name).returncode == 0
    assert podman.inspect(".State.Status") == "running"
    assert "sleep 60" in podman("top", podman.name).stdout
    assert podman("kill", podman.name).returncode == 0
    deadline = time.monotonic() + 10
    while podman.inspect(".State.Status") == "running" and time.monotonic() < deadline:
        time.sleep(0.1)
    assert podman.inspect(".State.ExitCode") == "137"


def test_limits_and_their_update(podman):
    """`podman update` asks the runtime for it; the kernel's files say what holds."""
    assert podman.start("sleep", "60").returncode == 0
    pid = int(podman.inspect(".State.Pid"))
    done = podman("update", "--memory", "64m", podman.name)
    if "unrecognized command" in done.stderr:
        pytest.skip("this podman has no update: 4.4 was the first")
    assert done.returncode == 0, done.stderr
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _number, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            assert Path(f"/sys/fs/cgroup/memory{path}/memory.limit_in_bytes").read_text() == f"{64 << 20}\n"
            return
    unified = next(line for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines() if line.startswith("0::"))
    assert Path(f"/sys/fs/cgroup{unified[3:]}/memory.max").read_text() == f"{64 << 20}\n"


@pytest.mark.parametrize(("program", "code"), [("/no/such/program", 127), ("/etc/passwd", 126)])
def test_what_cannot_be_run_has_the_exit_code_that_a_shell_gives(podman, program, code):
    """podman reads the runtime's words for it, from its log in JSON."""
    assert podman.start(program).returncode == code
    podman("rm", "-f", podman.name)
    assert podman.start("sleep", "60").returncode == 0
    assert podman("exec", podman.name, program).returncode == code


def test_the_runtime_is_known_by_its_version(podman):
    info = json.loads(podman("info", "--format", "json").stdout)
    assert "stowage-runtime version" in info["host"]["ociRuntime"]["version"]
