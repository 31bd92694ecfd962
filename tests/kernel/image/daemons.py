# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Peers that are daemons: docker and containerd, each alone in namespaces of mounts and processes, which end with it.

They touch no network, and listen on a socket of the test's alone.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.mount import mount_overlay

from .conftest import Tree, run, tree_of
from .peers import DOCKER_ARCHIVE, OCI_ARCHIVE, PRIVATE, REGISTRY, Peer, private_tree, remove_cgroups
from .sample import context

# They write into /run, and docker a key into /etc/docker, wherever they are told to be.
ALONE = """
set -e
mount -t tmpfs tmpfs /run
mkdir "$1/etc" "$1/etc-work"
mount -t overlay -o "lowerdir=/etc,upperdir=$1/etc,workdir=$1/etc-work" overlay /etc
shift
exec "$@"
"""


class Daemon(Peer):
    """``words()`` are a command of its client's."""

    def start(self, daemon: Sequence[str], probe: Sequence[str]) -> None:
        """Start it, and wait until ``probe`` is answered."""
        alone = [*PRIVATE, "--pid", "--fork", "--mount-proc", "--kill-child"]
        alone += ["sh", "-c", ALONE, "sh", str(self.directory)]
        log = self.directory / "log"
        with log.open("wb") as file:
            self.daemon = subprocess.Popen([*alone, *daemon], stdout=file, stderr=file)
        end = time.monotonic() + 30
        try:
            while subprocess.run(self.words(*probe), capture_output=True, check=False).returncode:
                assert self.daemon.poll() is None and time.monotonic() < end, log.read_text()
                time.sleep(0.1)
        except BaseException:
            self.close()
            raise

    def words(self, *words: str) -> list[str]:
        raise NotImplementedError

    def __call__(self, *words: str) -> str:
        return run(*self.words(*words)).strip()

    def close(self) -> None:
        # unshare(1) heeds no SIGTERM while it waits for what it has forked.
        pid = self.daemon.pid
        if self.daemon.poll() is None:
            for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                os.kill(int(child), signal.SIGTERM)
        try:
            self.daemon.wait(20)
        finally:
            self.daemon.kill()  # and all of the namespace with it
        super().close()
        remove_cgroups(self.directory.name)


class Docker(Daemon):
    """It builds as its daemon did before BuildKit, which takes no program besides."""

    programs = ("dockerd", "docker")
    forms = (REGISTRY, DOCKER_ARCHIVE)
    keeps = ("security.capability",)

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.socket = f"unix://{directory}/socket"
        self.root = directory / "root"
        (directory / "daemon.json").write_text("{}")
        words = ["--config-file", str(directory / "daemon.json"), "--host", self.socket, "--group", "root"]
        words += ["--data-root", str(self.root), "--exec-root", f"{directory}/exec", "--pidfile", f"{directory}/pid"]
        words += ["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"]
        words += ["--storage-driver", "overlay2", "--cgroup-parent", f"/{directory.name}"]
        self.start(["dockerd", *words], ["version"])

    def words(self, *words: str) -> list[str]:
        words = ("--config", f"{self.directory}/client", "--host", self.socket, *words)
        return ["env", "DOCKER_BUILDKIT=0", "docker", *words]

    def make(self) -> str:
        where = context(self.directory / "context")
        self("build", "--quiet", "--network", "none", "--file", f"{where}/Containerfile", "--tag", "made", where)
        return "made:latest"

    def put(self, image: str, form: str, place: str, name: str) -> None:
        self("tag", image, name)
        self(*(("push", "--quiet", name) if form == REGISTRY else ("save", "--output", place, name)))

    def take(self, form: str, place: str, name: str) -> str:
        self(*(("pull", "--quiet", name) if form == REGISTRY else ("load", "--quiet", "--input", place)))
        return name

    def forget(self) -> None:
        self("system", "prune", "--all", "--force", "--volumes")
        assert self("images", "--all", "--quiet") == ""

    def config(self, image: str) -> bytes:
        identity = self("image", "inspect", "--format", "{{.Id}}", image)
        return (self.root / "image/overlay2/imagedb/content" / identity.replace(":", "/")).read_bytes()

    def tree(self, image: str) -> Tree:
        layers = json.loads(self("image", "inspect", "--format", "{{json .GraphDriver.Data}}", image))
        lower = [layers["UpperDir"], *filter(None, layers.get("LowerDir", "").split(":"))]
        target, empty = self.directory / "merged", self.directory / "empty"
        for path in (target, empty):
            path.mkdir(exist_ok=True)

        def look() -> Tree:
            mount_overlay(str(target), lower=[*lower, str(empty)])
            return tree_of(target)

        return private_tree(look)

    def run(self, image: str) -> str:
        return self("run", "--rm", "--network", "none", image)


class Containerd(Daemon):
    """It makes no images, but takes and gives them."""

    programs = ("containerd", "ctr", "runc")
    forms = (REGISTRY, OCI_ARCHIVE, DOCKER_ARCHIVE)

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.number = 0
        off = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp"]
        (directory / "config.toml").write_text(
            f'version = 2\nroot = "{directory}/root"\nstate = "{directory}/state"\n'
            f'disabled_plugins = {json.dumps(off)}\n[grpc]\naddress = "{directory}/socket"\n'
        )
        self.start(["containerd", "--config", f"{directory}/config.toml"], ["version"])

    def words(self, *words: str) -> list[str]:
        return ["ctr", "--address", f"{self.directory}/socket", "--namespace", f"n{self.number}", *words]

    def put(self, image: str, form: str, place: str, name: str) -> None:
        """What it exports is an OCI layout, with what docker load wants besides."""
        if image != name:
            self("image", "tag", image, name)
        self("image", *(("push", "--plain-http", name) if form == REGISTRY else ("export", place, name)))

    def take(self, form: str, place: str, name: str) -> str:
        self("image", *(("pull", "--plain-http", name) if form == REGISTRY else ("import", place)))
        return name

    def forget(self) -> None:
        self("image", "rm", "--sync", *self("image", "ls", "--quiet").split())
        self.number += 1

    def config(self, image: str) -> bytes:
        [described] = [line.split() for line in self("image", "ls", f"name=={image}").splitlines()[1:]]
        manifest = json.loads(self("content", "get", described[2]))
        return self("content", "get", manifest["config"]["digest"]).encode()

    def tree(self, image: str) -> Tree:
        target = self.directory / "mounted"
        target.mkdir(exist_ok=True)

        def look() -> Tree:
            self("image", "mount", image, str(target))
            return tree_of(target)

        return private_tree(look)

    def run(self, image: str) -> str:
        places = ["--runc-root", f"{self.directory}/runc", "--fifo-dir", f"{self.directory}/fifo"]
        places += ["--cgroup", f"/{self.directory.name}/{self.directory.name}"]
        return self("run", "--rm", *places, image, f"made-{self.number}")  # a name that may end in _ is no id
