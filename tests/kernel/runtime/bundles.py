"""A bundle of busybox on a tmpfs, run by `stowage-runtime`; and a process that swaps two names as fast as it can."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

CAPABILITIES = ("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_MKNOD", "CAP_SETUID", "CAP_SETGID", "CAP_KILL")
DEV = {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]}
MOUNTS = (
    {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
    DEV,
    {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666"]},
    {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
)


class Bundle:
    """Change ``spec`` and ``rootfs``, then run() or start()."""

    def __init__(self, app, layer):
        self.id = f"stowage-test-{uuid.uuid4().hex[:8]}"
        parent = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.directory = Path(tempfile.mkdtemp(prefix="stowage-test-", dir=parent))
        self.directory.chmod(0o755)
        self.rootfs = self.directory / "rootfs"
        shutil.copytree(layer, self.rootfs, symlinks=True)
        self.wrapper = []
        self.program = ["/usr/bin/python3", "-I", "-S", "-E", str(app), "stowage-runtime"]
        self.spec = {
            "ociVersion": "1.3.0",
            "root": {"path": "rootfs"},
            "process": {
                "user": {"uid": 0, "gid": 0},
                "args": ["true"],
                "env": ["PATH=/bin"],
                "cwd": "/",
                "capabilities": {name: list(CAPABILITIES) for name in ("bounding", "effective", "permitted")},
            },
            "mounts": [dict(entry) for entry in MOUNTS],
            "linux": {
                "namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts", "network")],
                "cgroupsPath": f"/{self.id}",
            },
        }

    @property
    def linux(self):
        return self.spec["linux"]

    def bind(self, source, destination, *options, **more):
        options = ["bind", *options]
        self.spec["mounts"].append({"source": str(source), "destination": destination, "options": options, **more})

    def mount(self, kind, destination, *options):
        self.spec["mounts"].append({"type": kind, "source": kind, "destination": destination, "options": [*options]})

    def map_users(self, host=100000):
        """A user namespace, and a root that belongs to its root."""
        self.linux["namespaces"].append({"type": "user"})
        for name in ("uidMappings", "gidMappings"):
            self.linux[name] = [{"containerID": 0, "hostID": host, "size": 65536}]
        for directory, _dirs, files in os.walk(self.rootfs):
            for name in [".", *files]:
                os.chown(os.path.join(directory, name), host, host, follow_symlinks=False)

    def call(self, *words, **options):
        options = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL, "timeout": 20, **options}
        command = [*self.wrapper, *self.program, "--root", str(self.directory / "state"), *words]
        return subprocess.run(command, check=False, **options)

    def write(self):
        (self.directory / "config.json").write_text(json.dumps(self.spec))

    def run(self, script):
        """A shell script's whole life as a container: exit status, stdout, stderr."""
        self.spec["process"]["args"] = ["sh", "-c", script]
        self.write()
        return self.call("run", "-b", str(self.directory), self.id)

    def sh(self, script):
        """The stdout of a script that has to succeed."""
        done = self.run(script)
        assert done.returncode == 0, (done.stdout, done.stderr)
        return done.stdout.strip()

    def refuse(self):
        """The container cannot be made: why."""
        done = self.run("true")
        assert done.returncode == 1, done
        assert self.call("state", self.id).returncode != 0
        return done.stderr

    def start(self, script="sleep 60"):
        """Create and start, with the output in a file."""
        self.spec["process"]["args"] = ["sh", "-c", script]
        self.write()
        with open(self.directory / "log", "wb") as log:
            words = ("run", "-d", "-b", str(self.directory), self.id)
            done = self.call(*words, capture_output=False, stdout=log, stderr=log)
        assert done.returncode == 0, (self.directory / "log").read_text()

    def pid(self):
        return json.loads(self.call("state", self.id).stdout)["pid"]

    def close(self):
        """Nothing of it is left, and nothing of it was left mounted."""
        self.call("delete", "--force", self.id)
        with open("/proc/self/mountinfo", encoding="utf-8") as lines:
            mounted = [line.split()[4] for line in lines]
        left = [path for path in mounted if path.startswith(str(self.directory))]
        for path in reversed(left):
            subprocess.run(["umount", "-l", path], check=False)
        shutil.rmtree(self.directory, ignore_errors=True)
        assert left == []
        assert [d for d, _dirs, _files in os.walk("/sys/fs/cgroup") if d.endswith(self.id)] == []


_SWAP = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
one, two, told = (os.fsencode(word) for word in sys.argv[1:])
while True:
    for _ in range(1000):
        if libc.renameat2(-100, one, -100, two, 2):
            sys.exit(os.strerror(ctypes.get_errno()))
    with open(told, "a") as file:
        file.write(".")
"""


@contextlib.contextmanager
def swapping(one, two, told):
    """Exchange two names (renameat2(2), RENAME_EXCHANGE) all the time; a dot in ``told`` is a thousand."""
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", _SWAP, str(one), str(two), str(told)])
    try:
        deadline = time.monotonic() + 10
        while not told.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert told.exists(), "nothing is swapped"
        yield
        assert process.poll() is None, "the swapping has ended early"
        assert told.stat().st_size > 1, "next to nothing was swapped"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
