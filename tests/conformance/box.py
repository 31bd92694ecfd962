# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bundle of busybox, and the container that one of the runtimes makes of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bundle import CGROUPS, SHELL, Bundle
from tests.waiting import wait_for

if TYPE_CHECKING:
    from .programs import Program


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


class Box(Bundle):
    """One container: change ``spec``, then ``sh()``, ``run()``, ``create()`` or ``refuse()``."""

    # docker's, which is what an image expects to run with.
    capabilities = (
        *("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID"),
        *("CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL"),
        "CAP_AUDIT_WRITE",
    )

    def __init__(self, program: Program, directory: Path, template: Path) -> None:
        super().__init__([program.command], directory, program.oci_version)
        self.program = program
        self.note = ""
        shutil.copytree(template, self.rootfs, symlinks=True, copy_function=os.link)

    def grant(self, *names: str) -> None:
        """More capabilities, in all sets that matter to root."""
        for names_of_set in self.process["capabilities"].values():
            names_of_set.extend(names)

    def allow_devices(self) -> None:
        """As runtimes expect it in a config.json, all devices are denied but the default ones, and then allowed."""
        self.resources["devices"] = [{"allow": True, "access": "rwm"}]

    # Commands

    def must(self, *words: str, **options: Any) -> str:
        """One command that has to work: its stdout. Raises Refused."""
        done = self.call(*words, **options)
        if done.returncode:
            raise Refused(f"{words[0]}: {(done.stderr or done.stdout).strip()}")
        return done.stdout

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
        if self.launch("create", *options, "--bundle", str(self.directory), self.id):
            raise Refused(f"create: {self.output()}")

    def start(self, *, script: str = "exec sleep 60") -> None:
        """Create and start."""
        self.create(script=script)
        self.must("start", self.id)

    def state(self) -> dict[str, Any]:
        """Raises Refused where there is none."""
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

    def cgroup(self, controller: str, v1: str, v2: str = "") -> str:
        """What a file of its cgroup says. KeyError where this host's version has no such thing."""
        directory = CGROUPS / controller / self.id
        if directory.is_dir():
            return (directory / v1).read_text().strip()
        if not v2:
            raise KeyError(f"{controller}: {v1} is of cgroup v1")
        return (CGROUPS / self.id / v2).read_text().strip()
