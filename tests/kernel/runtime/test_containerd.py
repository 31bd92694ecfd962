"""containerd runs containers with ``stowage-runtime`` in runc's place: ``ctr run --runc-binary``.

Its daemon is started here, on a root, a state and a socket of the test's own, and ends with it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import uuid
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.mount import observe_mounts

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("containerd", "ctr", "umoci", "skopeo"))),
    reason="containerd, umoci and skopeo are not all installed",
)

IMAGE = "localhost/busybox:latest"


class Containerd:
    """A daemon, and ``ctr`` on it in a namespace of its own, which names the cgroups too."""

    def __init__(self, directory, runtime):
        self.directory = directory
        self.runtime = runtime
        self.name = f"stowage-test-{uuid.uuid4().hex[:8]}"
        # A path of a Unix socket has 107 bytes at most; those of pytest's directories are long.
        self.run = f"/run/{self.name}"
        os.makedirs(self.run)
        self.socket = f"{self.run}/sock"
        config = directory / "config.toml"
        disabled = [
            "io.containerd.grpc.v1.cri",
            "io.containerd.internal.v1.opt",
            "io.containerd.tracing.processor.v1.otlp",
        ]
        config.write_text(
            f'version = 2\nroot = "{directory}/root"\nstate = "{self.run}/state"\n'
            f"disabled_plugins = {json.dumps(disabled)}\n"
            f'[grpc]\naddress = "{self.socket}"\n'
        )
        with open(directory / "log", "wb") as log:
            self.daemon = subprocess.Popen(["containerd", "-c", str(config)], stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while self.ctr("version").returncode != 0:
            if time.monotonic() > deadline or self.daemon.poll() is not None:
                raise AssertionError((directory / "log").read_text()[-3000:])
            time.sleep(0.1)

    def ctr(self, *words, **options):
        words = ["ctr", "--address", self.socket, "--namespace", self.name, "--timeout", "20s", *words]
        return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, **options)

    def start(self, identity, *words):
        run = ["run", "--detach", "--snapshotter", "native", "--runc-binary", self.runtime]
        run += ["--runc-root", f"{self.run}/runtime", IMAGE, identity, *words]
        return self.ctr(*run)

    def status(self, identity):
        lines = [line.split() for line in self.ctr("task", "ls").stdout.splitlines()]
        return next((line[2] for line in lines if line and line[0] == identity), "none")

    def close(self):
        for line in self.ctr("task", "ls", "-q").stdout.split():
            self.ctr("task", "rm", "--force", line)
        for line in self.ctr("container", "ls", "-q").stdout.split():
            self.ctr("container", "rm", line)
        self.daemon.send_signal(signal.SIGTERM)
        try:
            self.daemon.wait(10)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            self.daemon.wait()
        for mount in sorted((path for path in observe_mounts() if self.name in path), reverse=True):
            subprocess.run(["umount", mount], check=False)
        shutil.rmtree(self.run, ignore_errors=True)


@pytest.fixture(scope="module")
def archive(tmp_path_factory, layer):
    """busybox as an OCI archive, which `ctr image import` reads."""
    directory = tmp_path_factory.mktemp("image")
    image = f"{directory}/oci:latest"
    for words in (["init", "--layout", f"{directory}/oci"], ["new", "--image", image]):
        subprocess.run(["umoci", *words], check=True, capture_output=True)
    subprocess.run(["umoci", "insert", "--image", image, str(layer), "/"], check=True, capture_output=True)
    subprocess.run(["umoci", "config", "--image", image, "--config.cmd", "sh"], check=True, capture_output=True)
    archive = f"{directory}/busybox.tar"
    copied = ["skopeo", "copy", f"oci:{image}", f"docker-archive:{archive}:{IMAGE}"]
    subprocess.run(copied, check=True, capture_output=True)
    return archive


@pytest.fixture
def containerd(tmp_path, command, archive):
    daemon = Containerd(tmp_path, command)
    try:
        imported = daemon.ctr("image", "import", "--snapshotter", "native", archive)
        assert imported.returncode == 0, imported.stderr
        yield daemon
    finally:
        daemon.close()
    # containerd's own parent of its containers' cgroups: nobody removes it, and only an empty one can be.
    for directory in Path("/sys/fs/cgroup").glob(f"**/{daemon.name}"):
        directory.rmdir()


def test_a_life_under_containerd(containerd):
    """run, exec, pause, resume, kill, rm; and nothing is left."""
    started = containerd.start("web", "sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.1; done")
    assert started.returncode == 0, started.stderr
    assert containerd.status("web") == "RUNNING"

    done = containerd.ctr("task", "exec", "--exec-id", "one", "web", "sh", "-c", "echo inside; exit 4")
    assert (done.returncode, done.stdout) == (4, "inside\n"), done.stderr
    missing = containerd.ctr("task", "exec", "--exec-id", "two", "web", "no-such-program")
    assert missing.returncode == 1
    assert "executable file not found in $PATH" in missing.stderr

    assert containerd.ctr("task", "pause", "web").returncode == 0
    assert containerd.status("web") == "PAUSED"
    assert containerd.ctr("task", "resume", "web").returncode == 0
    assert containerd.status("web") == "RUNNING"
    pids = containerd.ctr("task", "ps", "web").stdout.split()
    assert any(word.isdigit() and os.path.exists(f"/proc/{word}") for word in pids)

    assert containerd.ctr("task", "kill", "--signal", "SIGTERM", "web").returncode == 0
    deadline = time.monotonic() + 10
    while containerd.status("web") != "STOPPED" and time.monotonic() < deadline:
        time.sleep(0.1)
    removed = containerd.ctr("task", "rm", "web")
    assert removed.returncode in (0, 3), removed.stderr
    assert containerd.ctr("container", "rm", "web").returncode == 0
    assert containerd.status("web") == "none"


def test_a_program_that_is_not_there_is_told(containerd):
    failed = containerd.start("bad", "/no/such/program")
    assert failed.returncode == 1
    assert "/no/such/program" in failed.stderr and "no such file or directory" in failed.stderr
    assert containerd.status("bad") == "none"


def test_a_terminal_and_its_exit_code(containerd):
    """ctr wants a terminal of its own for --tty: script(1) is one."""
    words = f"ctr --address {containerd.socket} --namespace {containerd.name} run --tty --rm --snapshotter native"
    words += f" --runc-binary {containerd.runtime} --runc-root {containerd.run}/runtime {IMAGE} tty"
    words += " sh -c 'tty; exit 5'"
    done = subprocess.run(
        ["script", "-qec", words, "/dev/null"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout.strip()[-10:]) == (5, "/dev/pts/0"), done.stdout
