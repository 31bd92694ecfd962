# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The peers: runc, crun and podman, with state of their own on the same tmpfs, and the bundle that all of them run."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.mount import MS_PRIVATE, MS_REC, mount
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.namespaces import CLONE_NEWNS, unshare
from tests.bench.frame import milliseconds
from tests.bench.scene import processes, remove_tree
from tests.kernel.host.world import containers_task, wait_until

UNIFIED = "/sys/fs/cgroup/unified"
_MNT_DETACH = 2


def make_bundle(world, name: str, args: list[str]) -> Path:
    """The OCI bundle that our engine makes of a container, for others to run: the same config.json on a plain root."""
    world.run(containers_task(**{name: {"command": args, "state": "stopped"}}))
    ours = Path(world.paths.container(name))
    bundle = world.directory / f"bundle-{name}"
    bundle.mkdir()
    config = json.loads((ours / "config.json").read_text())
    files = world.directory / f"etc-{name}"
    shutil.copytree(world.paths.container_run(name), files)
    text = json.dumps(config).replace(world.paths.container_run(name), str(files))
    config = json.loads(text)
    config["ociVersion"] = "1.0.2"  # crun of Debian 12 refuses later ones
    config["root"] = {"path": "rootfs", "readonly": False}
    config["linux"]["cgroupsPath"] = f"/{world.instance}/{name}.peer"
    (bundle / "config.json").write_text(json.dumps(config))
    rootfs = bundle / "rootfs"
    rootfs.mkdir()
    for layer in sorted(Path(world.paths.layers).iterdir()):
        shutil.copytree(layer, rootfs, symlinks=True, dirs_exist_ok=True)
    world.run(containers_task(**{name: None}))
    return bundle


def run_quietly(command: list[str], env: Mapping[str, str] | None = None) -> None:
    """Run a program; what it said is shown only where it failed."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed ({done.returncode}): {done.stdout.decode()[-2000:]}")


def timed_program(command: list[str], env: Mapping[str, str] | None = None) -> float:
    """Milliseconds from the spawning of a program to its end; no thread, no pipe."""
    said = os.memfd_create("said")
    streams = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1)]
    streams.append((os.POSIX_SPAWN_DUP2, said, 2))
    status = 0

    def run() -> None:
        nonlocal status
        pid = os.posix_spawn(command[0], command, dict(env or os.environ), file_actions=streams)
        status = os.waitpid(pid, 0)[1]

    took = milliseconds(run)
    message = os.pread(said, 2000, 0).decode(errors="replace")
    os.close(said)
    if status:
        raise RuntimeError(f"{' '.join(command)} failed: {message}")
    return took


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise RuntimeError(f"{name} is not installed; tests/setup.sh packages test installs it")
    return found


def runtime_run(world, runtime: list[str], bundle: Path, *, detached: bool = False) -> float:
    """Milliseconds of ``<runtime> run`` of a bundle, to the program's end or (``detached``) to its start."""

    def measure() -> float:
        name = f"bench-{uuid.uuid4().hex[:8]}"
        root = str(world.directory / ("peer-" + Path(runtime[0]).name))
        hidden = Path(runtime[0]).name == "crun" and os.path.ismount(UNIFIED)
        if hidden:
            # crun refuses a hybrid host. In a mount namespace without the v2 tree it finds a host with v1 alone.
            unshare(CLONE_NEWNS)
            mount("none", "/", flags=MS_REC | MS_PRIVATE)
            if ctypes.CDLL(None).umount2(UNIFIED.encode(), _MNT_DETACH):
                raise RuntimeError(f"cannot hide {UNIFIED} from crun")
        words = [*runtime, "--root", root, "run", *(["--detach"] if detached else []), "--bundle", str(bundle), name]
        took = timed_program(words)
        if detached:
            run_quietly([*runtime, "--root", root, "delete", "--force", name])
        return took

    return world.call(measure)


class Podman:
    """podman on runc, with images, containers and configuration in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "podman"
        self.directory.mkdir()
        self.program = program("podman")
        containers, storage = self.directory / "containers.conf", self.directory / "storage.conf"
        # runc, because crun refuses hybrid hosts; the limits, because podman else asks for more than there may be.
        containers.write_text(
            '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]\nlog_driver = "k8s-file"\n'
            '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\nlock_type = "file"\n'
            f'tmp_dir = "{self.directory}/tmp"\n'
        )
        storage.write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{self.directory}/graph"\nrunroot = "{self.directory}/run"\n'
            '[storage.options.overlay]\nskip_mount_home = "true"\n'
        )
        self.env = {
            **os.environ,
            "CONTAINERS_CONF": str(containers),
            "CONTAINERS_STORAGE_CONF": str(storage),
            "TMPDIR": str(self.directory),
        }

    def import_image(self, rootfs: Path, name: str) -> None:
        archive = self.directory / "image.tar"
        run_quietly(["tar", "-C", str(rootfs), "-cf", str(archive), "."])
        run_quietly([self.program, "import", str(archive), name], self.env)

    def run(self, *words: str) -> float:
        return timed_program([self.program, "run", "--network", "none", *words], self.env)

    def monitors(self) -> list[int]:
        return processes("conmon", str(self.directory))

    def close(self) -> None:
        """Take away containers and images, and what podman itself leaves: mounts and its parent cgroup."""
        with contextlib.suppress(RuntimeError):
            run_quietly([self.program, "rm", "--all", "--force", "--time", "0"], self.env)
        # conmon has podman clean up once more for each container, which mounts its storage again.
        wait_until(lambda: not processes(str(self.directory)), 20.0)
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        for path in reversed([path for path in mounts if path.startswith(f"{self.directory}/")]):
            run_quietly(["umount", "--lazy", path])
        for tree in Path("/sys/fs/cgroup").glob("*/libpod_parent"):
            for directory in (*tree.glob("*"), tree):
                with contextlib.suppress(OSError):  # a file, or another podman's that is in use
                    directory.rmdir()
        remove_tree(self.directory)


@contextlib.contextmanager
def podman(world, rootfs: Path, image: str) -> Iterator[Podman]:
    peer = Podman(world.directory)
    try:
        peer.import_image(rootfs, image)
        yield peer
    finally:
        peer.close()
