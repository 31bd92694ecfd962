"""A bundle of busybox on a tmpfs, run by `stowage-runtime`; and a process that swaps two names as fast as it can."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests import bundle


class Bundle(bundle.Bundle):
    """Change ``spec`` and ``rootfs``, then run() or start()."""

    capabilities = ("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_MKNOD", "CAP_SETUID", "CAP_SETGID", "CAP_KILL")
    mounts = (
        {**bundle.PROC, "options": ["nosuid", "noexec", "nodev"]},
        bundle.DEV,
        bundle.PTS,
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
    )

    def __init__(self, app, layer):
        parent = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        command = ["/usr/bin/python3", "-I", "-S", "-E", str(app), "stowage-runtime"]
        super().__init__(command, Path(tempfile.mkdtemp(prefix="stowage-test-", dir=parent)))
        shutil.copytree(layer, self.rootfs, symlinks=True)

    def run(self, script):
        """A shell script's whole life as a container: exit status, stdout, stderr."""
        self.process["args"] = ["sh", "-c", script]
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
        self.process["args"] = ["sh", "-c", script]
        self.write()
        assert self.launch("run", "-d", "-b", str(self.directory), self.id) == 0, self.output()


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
