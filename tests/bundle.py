# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An OCI bundle of busybox, and the commands of the runtime that makes a container of it, whichever that is."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .waiting import wait_for

TIMEOUT = 20
CGROUPS = Path("/sys/fs/cgroup")
SHELL = "/bin/sh"
PROC = {"destination": "/proc", "type": "proc", "source": "proc"}
DEV = {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755"]}
PTS = {
    "destination": "/dev/pts",
    "type": "devpts",
    "source": "devpts",
    "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
}


class Bundle:
    """Change ``spec`` and ``rootfs``, then call the runtime ``command``, by way of ``wrapper`` where there is one."""

    mounts: Sequence[Mapping[str, Any]] = (PROC, DEV, PTS)
    capabilities: Sequence[str] = ()

    def __init__(self, command: Sequence[str], directory: Path, oci_version: str = "1.3.0") -> None:
        self.command = [*command]
        self.wrapper: list[str] = []
        self.directory = directory
        self.directory.chmod(0o755)  # users of other ids pass through
        self.rootfs = directory / "rootfs"
        self.state_root = directory / "state"
        self.id = f"stowage-test-{uuid.uuid4().hex[:10]}"
        self.own_mounts: list[str] = []
        self.spec: dict[str, Any] = {
            "ociVersion": oci_version,
            "root": {"path": "rootfs"},
            "process": {
                "user": {"uid": 0, "gid": 0},
                "args": ["true"],
                "env": ["PATH=/bin"],
                "cwd": "/",
                "capabilities": {name: list(self.capabilities) for name in ("bounding", "effective", "permitted")},
            },
            "mounts": [dict(entry) for entry in self.mounts],
            "linux": {
                "namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts", "network")],
                "cgroupsPath": f"/{self.id}",
                "resources": {},
            },
        }

    @property
    def process(self) -> dict[str, Any]:
        return self.spec["process"]

    @property
    def linux(self) -> dict[str, Any]:
        return self.spec["linux"]

    @property
    def resources(self) -> dict[str, Any]:
        return self.spec["linux"]["resources"]

    def mount(self, destination: str, *options: str, source: str = "tmpfs", kind: str = "tmpfs", **more: Any) -> None:
        """One more entry of ``mounts``."""
        entry = {"destination": destination, "type": kind, "source": source, "options": list(options)}
        self.spec["mounts"].append({**entry, **more})

    def bind(self, source: Path | str, destination: str, *options: str, **more: Any) -> None:
        """One more entry of ``mounts`` that binds, which it does recursively where ``options`` have rbind."""
        options = options if "rbind" in options else ("bind", *options)
        self.mount(destination, *options, source=str(source), kind="none", **more)

    def namespace(self, kind: str, path: str = "") -> None:
        """Have a namespace of that kind, new or by its path."""
        self.without_namespace(kind)
        self.linux["namespaces"].append({"type": kind, "path": path} if path else {"type": kind})

    def without_namespace(self, kind: str) -> None:
        self.linux["namespaces"] = [entry for entry in self.linux["namespaces"] if entry["type"] != kind]

    def map_users(self, host: int = 100000) -> None:
        """A user namespace whose root is the host's ``host``, to whom the root file system is given."""
        self.namespace("user")
        for name in ("uidMappings", "gidMappings"):
            self.linux[name] = [{"containerID": 0, "hostID": host, "size": 65536}]
        for directory, _dirs, files in os.walk(self.rootfs):
            os.chown(directory, host, host)
            for name in files:
                path = Path(directory, name)
                if name != "busybox" or path.lstat().st_nlink == 1:  # else shared with the bundles of other tests
                    os.chown(path, host, host, follow_symlinks=False)

    # Commands

    def words(self, *words: str) -> list[str]:
        """A command line of the runtime."""
        return [*self.wrapper, *self.command, "--root", str(self.state_root), *words]

    def call(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """One command of the runtime, whatever comes of it. Not through pipes: a container may keep those open."""
        return self.spawn(self.words(*words), **options)

    def spawn(self, command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        """Any command on the host, in the same way."""
        options = {"timeout": TIMEOUT, "cwd": self.directory, **options}
        if "input" not in options:
            options.setdefault("stdin", subprocess.DEVNULL)
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            done = subprocess.run(command, stdout=out, stderr=err, text=True, check=False, **options)
            for stream in (out, err):
                stream.seek(0)
            return subprocess.CompletedProcess(command, done.returncode, out.read(), err.read())

    def launch(self, *words: str) -> int:
        """One command whose container keeps its streams: they go to the file that output() reads. Its exit status."""
        with open(self.directory / "output", "w", encoding="utf-8") as output:
            done = subprocess.run(
                self.words(*words),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=TIMEOUT,
                check=False,
            )
        return done.returncode

    def output(self) -> str:
        return (self.directory / "output").read_text().strip()

    def write(self) -> None:
        (self.directory / "config.json").write_text(json.dumps(self.spec))

    # What it looks like from outside

    def state(self) -> dict[str, Any]:
        done = self.call("state", self.id)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    def pid(self) -> int:
        return int(self.state()["pid"])

    def cgroups(self) -> list[str]:
        """The cgroups that have this container's name; not what a runtime takes for one (see hide_unified())."""
        found = [directory for directory, _dirs, _files in os.walk(CGROUPS) if self.id in os.path.basename(directory)]
        return [
            directory
            for directory in found
            if os.path.exists(f"{directory}/cgroup.controllers") or "unified" not in directory
        ]

    def clean(self) -> list[str]:
        """Nothing is left of it afterwards. What the runtime itself had left: cgroups and mounts."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.call("delete", "--force", self.id)
        left = sorted(self.cgroups(), reverse=True)
        for directory in left:
            wait_for(lambda path=directory: not kill_all(path), f"empty cgroup {directory}")
            os.rmdir(directory)
        mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        stuck = sorted((path for path in mounted if path.startswith(f"{self.directory}/")), reverse=True)
        for path in stuck:
            subprocess.run(["umount", "-l", path], check=False)
        shutil.rmtree(self.directory, ignore_errors=True)
        return left + [path for path in stuck if path not in self.own_mounts]


def kill_all(cgroup: str) -> list[str]:
    """Kill what is in a cgroup; those that were still there."""
    pids = Path(cgroup, "cgroup.procs").read_text().split()
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), 9)
    return pids
