# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bundle of busybox, and the container that a runtime makes of it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .programs import Program

TIMEOUT = 20
CGROUPS = Path("/sys/fs/cgroup")
# docker's, which is what an image expects to run with.
CAPABILITIES = [
    *("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID"),
    *("CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL"),
    "CAP_AUDIT_WRITE",
]
SHELL = "/bin/sh"
DEFAULT_MOUNTS: list[dict[str, Any]] = [
    {"destination": "/proc", "type": "proc", "source": "proc"},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755"]},
    {
        "destination": "/dev/pts",
        "type": "devpts",
        "source": "devpts",
        "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
    },
]


class Refused(Exception):
    """The runtime's command failed; the text is its stderr."""


def make_rootfs(directory: Path) -> None:
    """A busybox with all its applets, and the directories of a small distribution."""
    for name in ("bin", "etc", "tmp", "root", "data"):
        (directory / name).mkdir(parents=True)
    busybox = shutil.which("busybox") or "/bin/busybox"
    shutil.copy(busybox, directory / "bin/busybox")
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    for applet in applets:
        if applet != "busybox":
            (directory / "bin" / applet).symlink_to("busybox")
    (directory / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (directory / "etc/group").write_text("root:x:0:\n")


class Box:
    """One container: change ``spec``, then ``sh()``, ``run()``, ``create()`` or ``refuse()``."""

    def __init__(self, program: Program, directory: Path, template: Path) -> None:
        self.program = program
        self.directory = directory
        self.rootfs = directory / "rootfs"
        self.state_root = directory / "state"
        self.id = f"stowage-test-{uuid.uuid4().hex[:10]}"
        self.prefix: list[str] = []
        self.note = ""
        self.own_mounts: list[str] = []
        shutil.copytree(template, self.rootfs, symlinks=True, copy_function=os.link)
        self.spec: dict[str, Any] = {
            "ociVersion": program.oci_version,
            "root": {"path": "rootfs"},
            "process": {
                "user": {"uid": 0, "gid": 0},
                "args": ["true"],
                "env": ["PATH=/bin"],
                "cwd": "/",
                "capabilities": {name: list(CAPABILITIES) for name in ("bounding", "effective", "permitted")},
            },
            "mounts": [dict(entry) for entry in DEFAULT_MOUNTS],
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
                if name != "busybox":  # shared with the bundles of other tests
                    os.chown(os.path.join(directory, name), host, host, follow_symlinks=False)

    def grant(self, *names: str) -> None:
        """More capabilities, in all sets that matter to root."""
        for names_of_set in self.process["capabilities"].values():
            names_of_set.extend(names)

    def allow_devices(self) -> None:
        """As runtimes expect it in a config.json, all devices are denied but the default ones, and then allowed."""
        self.resources["devices"] = [{"allow": True, "access": "rwm"}]

    # Commands

    def call(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """One command of the runtime, whatever comes of it. Not through pipes: a container may keep those open."""
        return self.spawn([*self.prefix, self.program.command, "--root", str(self.state_root), *words], **options)

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

    def must(self, *words: str, **options: Any) -> str:
        """One command that has to work: its stdout. Raises Refused."""
        done = self.call(*words, **options)
        if done.returncode:
            raise Refused(f"{words[0]}: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    def write(self) -> None:
        (self.directory / "config.json").write_text(json.dumps(self.spec))

    def run(self, *args: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """The container's whole life in the foreground: exit status, stdout, stderr."""
        if args:
            self.process["args"] = list(args)
        self.write()
        return self.call("run", "--bundle", str(self.directory), self.id, **options)

    def sh(self, script: str, **options: Any) -> str:
        """The stdout of a shell script that has to succeed in the container. Raises Refused."""
        done = self.run(SHELL, "-c", script, **options)
        if done.returncode:
            raise Refused(f"exit status {done.returncode}: {done.stderr.strip()} {done.stdout.strip()}")
        return done.stdout.strip()

    def create(self, *options: str, script: str = "exec sleep 60") -> None:
        """Create a container that would run ``script``; its streams go to the file that output() reads."""
        if self.spec.get("process"):
            self.process["args"] = [SHELL, "-c", script]
        self.write()
        words = [self.program.command, "--root", str(self.state_root), "create", *options]
        with open(self.directory / "output", "w", encoding="utf-8") as output:
            done = subprocess.run(
                [*words, "--bundle", str(self.directory), self.id],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=TIMEOUT,
                check=False,
            )
        if done.returncode:
            raise Refused(f"create: {self.output()}")

    def start(self, *, script: str = "exec sleep 60") -> None:
        """Create and start."""
        self.create(script=script)
        self.must("start", self.id)

    def output(self) -> str:
        return (self.directory / "output").read_text().strip()

    def state(self) -> dict[str, Any]:
        return dict(json.loads(self.must("state", self.id)))

    def status(self) -> str:
        return str(self.state()["status"])

    def wait(self, status: str = "stopped") -> None:
        """Until the container has that status."""
        wait_for(lambda: self.status() == status, f"status {status}")

    def exec(self, script: str) -> str:
        """The stdout of a script run beside the container's own program."""
        return self.must("exec", self.id, SHELL, "-c", script).strip()

    def refuse(self) -> str:
        """Nothing is created: the runtime fails, and no container and no cgroup are there afterwards. Its stderr."""
        try:
            self.create()
        except Refused as refused:
            assert self.call("state", self.id).returncode != 0, "the container exists, although create failed"
            assert self.cgroups() == [], "create failed and left a cgroup"
            return str(refused)
        raise AssertionError("create did not fail")

    def refuse_to_run(self) -> str:
        """The same where the specification lets a runtime find out as late as at start."""
        try:
            self.start(script="true")
        except Refused as refused:
            return str(refused)
        raise AssertionError("neither create nor start failed")

    # What it looks like from outside

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

    def cgroup(self, controller: str, v1: str, v2: str = "") -> str:
        """What a file of its cgroup says. KeyError where this host's version has no such thing."""
        directory = CGROUPS / controller / self.id
        if directory.is_dir():
            return (directory / v1).read_text().strip()
        if not v2:
            raise KeyError(f"{controller}: {v1} is of cgroup v1")
        return (CGROUPS / self.id / v2).read_text().strip()

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


def wait_for(condition: Any, what: str, timeout: float = 10.0) -> None:
    """Poll. Raises AssertionError after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"no {what} within {timeout} s")
        time.sleep(0.01)
