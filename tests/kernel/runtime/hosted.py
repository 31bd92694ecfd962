"""A bundle whose root has the machine's own /usr, read-only, so that Python runs inside; and a `stowage-runtime` on it
that is run by a copy of Python: the binary that an escape would write to."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from pathlib import Path

PYTHON = Path("/usr/bin/python3").resolve()
LINKS = {"bin": "usr/bin", "lib": "usr/lib", "lib64": "usr/lib64", "sbin": "usr/sbin"}


def without_trampoline(app, directory):
    """The engine as it is on an architecture that no trampoline is for."""
    shutil.copytree(app, directory, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    file = directory / "_engine/linux/trampoline.py"
    text = file.read_text()
    assert "    return machine if " in text
    file.write_text(text.replace("    return machine if ", "    return None and machine if "))
    return directory


class HostedRuntime:
    """One container, by the command line. ``python`` is the copy."""

    def __init__(self, app, directory):
        self.id = f"stowage-test-{uuid.uuid4().hex[:8]}"
        self.root = directory / "state"
        self.bundle = directory / "bundle"
        self.rootfs = self.bundle / "rootfs"
        self.python = directory / "host/bin" / PYTHON.name
        self.command = [str(self.python), "-I", "-S", "-E", str(app), "stowage-runtime", "--root", str(self.root)]
        self.python.parent.mkdir(parents=True)
        shutil.copy(PYTHON, self.python)
        (directory / "host/lib").symlink_to("/usr/lib")
        for name in ("usr", "proc", "sys", "dev", "etc", "tmp", "root", "srv"):
            (self.rootfs / name).mkdir(parents=True)
        for name, target in LINKS.items():
            (self.rootfs / name).symlink_to(target)
        (self.rootfs / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        self("spec", "-b", str(self.bundle))
        self.configure(self._host)

    def _host(self, spec):
        spec["mounts"].append({"destination": "/usr", "type": "bind", "source": "/usr", "options": ["rbind", "ro"]})
        spec["process"].update(terminal=False, args=["/bin/sleep", "60"])
        spec["root"]["readonly"] = False
        spec["linux"]["cgroupsPath"] = f"/{self.id}"

    def configure(self, change):
        path = self.bundle / "config.json"
        spec = json.loads(path.read_text())
        change(spec)
        path.write_text(json.dumps(spec))

    def __call__(self, *words, timeout=20, **options):
        options = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL, **options}
        return subprocess.run([*self.command, *words], check=False, timeout=timeout, **options)

    def run(self, *args, **process):
        """Run to the end, as the container's first process."""
        self.configure(lambda spec: spec["process"].update(args=list(args), **process))
        return self("run", "-b", str(self.bundle), self.id)

    def start(self, *args, **process):
        """Create and start; the runtime is gone then. Its output goes to a file, for it may outlive the call."""
        assert self.try_start(*args, **process) == 0, self.log()

    def try_start(self, *args, **process):
        """The exit status of the same, which may be refused."""
        self.configure(lambda spec: spec["process"].update(args=list(args), **process))
        with open(self.bundle / "log", "wb") as log:
            done = self("run", "-d", "-b", str(self.bundle), self.id, capture_output=False, stdout=log, stderr=log)
        return done.returncode

    def log(self):
        return (self.bundle / "log").read_text()

    def close(self):
        if self.python.read_bytes() != PYTHON.read_bytes():  # an attack that was let through
            shutil.copy(PYTHON, self.python)
        self("delete", "--force", self.id)
        assert [d for d, _dirs, _files in os.walk("/sys/fs/cgroup") if d.endswith(self.id)] == []
