# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An ordinary user that the machine does not know: every command of it runs in a mount namespace that has its own
/etc/passwd, group, subuid and subgid, and nothing of the machine is touched."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path

UID = 23456
NAME = "stowage-test"
FIRST, COUNT = 300_000, 65_536

_ENTER = """
for file in passwd group subuid subgid; do mount --bind "$0/etc/$file" /etc/$file; done
cd "$0/home"
exec setpriv --reuid {uid} --regid {uid} --clear-groups -- "$@"
"""


class OrdinaryUser:
    """``home`` and ``runtime_dir`` are its own; ``directory`` holds them, and can be reached by everybody."""

    def __init__(self, app, layer):
        self.directory = Path(tempfile.mkdtemp(prefix="stowage-test-", dir="/tmp"))
        self.directory.chmod(0o755)
        self.home, self.runtime_dir = self.directory / "home", self.directory / "run"
        self.app = self.directory / "engine"
        shutil.copytree(app, self.app)  # root's own, and compiled
        self.app.chmod(0o755)
        (self.directory / "etc").mkdir()
        shutil.copy("/etc/passwd", self.directory / "etc/passwd")
        with (self.directory / "etc/passwd").open("a") as file:
            file.write(f"{NAME}:x:{UID}:{UID}::{self.home}:/bin/sh\n")
        shutil.copy("/etc/group", self.directory / "etc/group")
        with (self.directory / "etc/group").open("a") as file:
            file.write(f"{NAME}:x:{UID}:\n")
        self.subordinate(f"{NAME}:{FIRST}:{COUNT}\n")
        self.bundle = self.home / "bundle"
        self.bundle.mkdir(parents=True)
        shutil.copytree(layer, self.bundle / "rootfs", symlinks=True)
        self.runtime_dir.mkdir(mode=0o700)
        self.own(self.home)
        self.own(self.runtime_dir)
        self.id = f"stowage-test-{uuid.uuid4().hex[:8]}"
        self.environment = {
            "HOME": str(self.home),
            "USER": NAME,
            "XDG_RUNTIME_DIR": str(self.runtime_dir),
            "PATH": os.environ["PATH"],
        }

    def subordinate(self, text):
        """What /etc/subuid and /etc/subgid have."""
        for name in ("subuid", "subgid"):
            (self.directory / "etc" / name).write_text(text)

    def own(self, top):
        for directory, directories, files in os.walk(top):
            for name in [".", *directories, *files]:
                os.chown(os.path.join(directory, name), UID, UID, follow_symlinks=False)

    def argv(self, *command):
        script = _ENTER.format(uid=UID)
        return ["unshare", "-m", "--propagation", "private", "sh", "-ec", script, str(self.directory), *command]

    def run(self, *command, env=None, **options):
        """Any command as this user."""
        options = {"capture_output": True, "text": True, "timeout": 20, **options}
        return subprocess.run(self.argv(*command), check=False, env={**self.environment, **(env or {})}, **options)

    def runtime_argv(self, *words):
        return ["/usr/bin/python3", "-I", "-S", "-E", str(self.app), "stowage-runtime", *words]

    def runtime(self, *words, **options):
        """``stowage-runtime`` as this user."""
        return self.run(*self.runtime_argv(*words), **options)

    def detached(self, *words):
        """The same where a container keeps the streams: they are nobody's."""
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return self.runtime(*words, capture_output=False, **streams)

    def configure(self, change):
        path = self.bundle / "config.json"
        spec = json.loads(path.read_text())
        change(spec)
        path.write_text(json.dumps(spec))

    def spec(self, *args, change=None):
        """A configuration as ``spec --rootless`` writes it, with this command line."""
        (self.bundle / "config.json").unlink(missing_ok=True)
        done = self.runtime("spec", "--rootless", "-b", str(self.bundle))
        assert done.returncode == 0, done.stderr

        def ours(spec):
            spec["process"].update(terminal=False, args=list(args))
            if change:
                change(spec)

        self.configure(ours)

    def run_container(self, *args, change=None, env=None, words=(), **options):
        """Run to the end."""
        self.spec(*args, change=change)
        return self.runtime(*words, "run", "-b", str(self.bundle), self.id, env=env, **options)

    def states(self):
        directory = self.runtime_dir / "stowage/runtime"
        return os.listdir(directory) if directory.exists() else []

    def close(self):
        try:
            self.runtime("delete", "--force", self.id)
            assert self.states() == []
            assert [d for d, _dirs, _files in os.walk("/sys/fs/cgroup") if self.id in d] == []
        finally:
            shutil.rmtree(self.directory)


def map_ranges(spec):
    """Root is the user itself, ids from 1 on are its subordinate ones."""
    for name in ("uidMappings", "gidMappings"):
        spec["linux"][name] = [
            {"containerID": 0, "hostID": UID, "size": 1},
            {"containerID": 1, "hostID": FIRST, "size": COUNT},
        ]
