# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Others that make, keep and run images, each with a store of its own: all are asked the same things.

What they mount, they mount in a namespace that ends with the command: nothing of theirs stays on this machine.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.cgroupfs import remove_tree
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.libc import check, libc
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.mount import (
    MS_PRIVATE,
    MS_REC,
    mount,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.archive import (
    DOCKER_ARCHIVE,
    OCI_ARCHIVE,
    OCI_DIRECTORY,
)

from .conftest import CLONE_NEWNS, Tree, in_child, run, tree_of
from .sample import CHANGES, CONFIG, GREETING, LABEL, base_layer, context

REGISTRY = "registry"
_TRANSPORTS = {
    REGISTRY: "docker://{}",
    OCI_ARCHIVE: "oci-archive:{}:{}",
    OCI_DIRECTORY: "oci:{}:{}",
    DOCKER_ARCHIVE: "docker-archive:{}:{}",
}
PRIVATE = ("unshare", "--mount")
# The host may lack CAP_SYS_RESOURCE, which it takes to raise limits.
ULIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000")

# The peers ------------------------------------------------------------------------------------------------


class Peer:
    """A store with images of others. ``take`` and ``make`` return what the image is called there."""

    programs: tuple[str, ...] = ()
    forms: tuple[str, ...] = (REGISTRY, OCI_ARCHIVE, OCI_DIRECTORY, DOCKER_ARCHIVE)
    # Those on whose way a configuration gets other bytes, with the same meaning.
    spelled_anew: tuple[str, ...] = ()
    # The attributes of files that come into an image that is made.
    keeps: tuple[str, ...] = ("security.capability", "user.stowage")

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def make(self) -> str:
        """An image of a base layer, CHANGES and CONFIG, in the peer's own way."""
        raise NotImplementedError

    def put(self, image: str, form: str, place: str, name: str) -> None:
        """Push an image as ``place``, or save it there under ``name``."""
        raise NotImplementedError

    def take(self, form: str, place: str, name: str) -> str:
        """Pull the image ``place``, or load the one of that ``name`` which is there."""
        raise NotImplementedError

    def forget(self) -> None:
        """Have no image any more, nor any layer."""
        raise NotImplementedError

    def config(self, image: str) -> bytes:
        """The image's configuration as it stands."""
        raise NotImplementedError

    def tree(self, image: str) -> Tree:
        """All files, as the peer unpacks them."""
        raise NotImplementedError

    def run(self, image: str) -> str:
        """What the image's own program says."""
        raise NotImplementedError

    def close(self) -> None:
        subprocess.run(["rm", "-rf", "--one-file-system", str(self.directory)], check=True)


def transport(form: str, place: str, name: str) -> str:
    return _TRANSPORTS[form].format(place, name)


def private_tree(look: Callable[[], Tree]) -> Tree:
    """What ``look`` finds in a mount namespace of its own."""

    def looked() -> Tree:
        check(libc().unshare(CLONE_NEWNS))
        mount("none", "/", "", MS_REC | MS_PRIVATE)
        return look()

    return in_child(looked)


class ContainersStorage(Peer):
    """podman and buildah keep images in the same way."""

    options: tuple[str, ...] = ()

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.number = 0
        (directory / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')

    def roots(self) -> tuple[str, str]:
        return f"{self.directory}/{self.number}", f"{self.directory}/{self.number}run"

    def words(self, *words: str) -> list[str]:
        root, run_root = self.roots()
        options = ("--root", root, "--runroot", run_root, "--storage-driver", "overlay", *self.options)
        return [self.programs[0], *options, *words]

    def __call__(self, *words: str) -> str:
        return run(*PRIVATE, *self.words(*words)).strip()

    def forget(self) -> None:
        self.number += 1

    def config(self, image: str) -> bytes:
        root, run_root = self.roots()
        source = f"containers-storage:[overlay@{root}+{run_root}]{image}"
        return run(*PRIVATE, "skopeo", "inspect", "--config", "--raw", source).encode()


class Buildah(ContainersStorage):
    """Uncompressed layers in the registry."""

    programs = ("buildah", "skopeo")

    def make(self) -> str:
        (self.directory / "base.tar").write_bytes(base_layer())
        container = self("from", "scratch")
        self("add", "--quiet", container, str(self.directory / "base.tar"), "/")
        self("commit", "--quiet", container, "base")
        container = self("from", "--pull-never", "localhost/base")
        self("run", "--isolation", "chroot", container, "--", "/bin/sh", "-c", CHANGES)
        ports = [f"--port={port}" for port in CONFIG["ExposedPorts"]]
        self(
            "config", "--entrypoint", json.dumps(CONFIG["Entrypoint"]), "--cmd", "first 'second one'", "--user", "app",
            "--workingdir", "/data", "--stop-signal", "SIGUSR1", "--volume", "/volume", *ports,
            "--env", f"GREETING={GREETING}", "--label", "=".join(LABEL), "--author", "a peer",
            "--history-comment", "a comment", container,
        )  # fmt: skip
        self("commit", "--quiet", container, "made")
        return "localhost/made:latest"

    def put(self, image: str, form: str, place: str, name: str) -> None:
        self("push", "--quiet", "--tls-verify=false", "--disable-compression", image, transport(form, place, name))

    def take(self, form: str, place: str, name: str) -> str:
        identity = self("pull", "--quiet", "--tls-verify=false", transport(form, place, name)).split()[-1]
        if form == OCI_DIRECTORY:  # it is called after its path otherwise
            self("tag", identity, name)
        return name

    def tree(self, image: str) -> Tree:
        container = self("from", "--pull-never", image)
        return private_tree(lambda: tree_of(run(*self.words("mount", container)).strip()))

    def run(self, image: str) -> str:
        """buildah runs commands, not images: it knows the configuration's user, place and environment alone."""
        container = self("from", "--pull-never", image)
        command = [*CONFIG["Entrypoint"], *CONFIG["Cmd"]]
        return self("run", "--isolation", "chroot", container, "--", *command)


class Podman(ContainersStorage):
    """Layers in zstd in the registry."""

    programs = ("podman", "skopeo", "runc")

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.parent = f"/{directory.name}"
        self.options = ("--runtime", "runc", "--cgroup-manager", "cgroupfs", "--events-backend", "none")
        self.options += ("--tmpdir", f"{directory}/tmp")

    def make(self) -> str:
        where = context(self.directory / "context")
        limits = [*ULIMITS, "--isolation", "chroot"]
        self("build", "--quiet", "--format", "docker", "--layers", *limits, "--tag", "localhost/made:latest", where)
        return "localhost/made:latest"

    def put(self, image: str, form: str, place: str, name: str) -> None:
        if form == REGISTRY:
            words = ["--tls-verify=false", "--format", "oci", "--compression-format", "zstd"]
            self("push", "--quiet", *words, image, place)
            return
        self("tag", image, name)
        self("save", "--quiet", "--format", form, "--output", place, name)

    def take(self, form: str, place: str, name: str) -> str:
        if form == REGISTRY:
            self("pull", "--quiet", "--tls-verify=false", place)
        elif form == OCI_DIRECTORY:  # it is called after its path otherwise
            self("tag", self("pull", "--quiet", transport(form, place, name)), name)
        else:
            self("load", "--quiet", "--input", place)
        return name

    def tree(self, image: str) -> Tree:
        return private_tree(lambda: tree_of(run(*self.words("image", "mount", image)).strip()))

    def run(self, image: str) -> str:
        words = ["--network", "none", "--cgroup-parent", self.parent, *ULIMITS]
        return self("run", "--rm", *words, image)

    def close(self) -> None:
        super().close()
        remove_cgroups(self.directory.name)


class Umoci(Peer):
    """umoci works on a layout, which skopeo copies to and from everywhere; runc runs what umoci unpacks."""

    programs = ("umoci", "skopeo", "runc")
    spelled_anew = (DOCKER_ARCHIVE,)

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.number = 0

    @property
    def layout(self) -> str:
        return f"{self.directory}/layout{self.number}"

    def make(self) -> str:
        image, bundle = ["--image", f"{self.layout}:made"], f"{self.directory}/changed"
        (self.directory / "base.tar").write_bytes(base_layer())
        run("umoci", "init", "--layout", self.layout)
        run("umoci", "new", *image)
        run("umoci", "raw", "add-layer", *image, str(self.directory / "base.tar"))
        run("umoci", "unpack", *image, bundle)
        run("chroot", f"{bundle}/rootfs", "/bin/sh", "-c", CHANGES)
        run("umoci", "repack", *image, bundle)
        lists = {"entrypoint": CONFIG["Entrypoint"], "cmd": CONFIG["Cmd"], "exposedports": CONFIG["ExposedPorts"]}
        words = [f"--config.{key}={value}" for key, values in lists.items() for value in values]
        words += ["--config.user=app", "--config.workingdir=/data", "--config.stopsignal=SIGUSR1"]
        words += ["--config.volume=/volume", f"--config.env=GREETING={GREETING}", f"--config.label={'='.join(LABEL)}"]
        run("umoci", "config", *image, *words, "--author", "a peer", "--history.comment", "a comment")
        return "made"

    def put(self, image: str, form: str, place: str, name: str) -> None:
        """An oci-archive has its layers in zstd: skopeo compresses anew."""
        source, words = f"oci:{self.layout}:{image}", ["--dest-tls-verify=false"] if form == REGISTRY else []
        if form == OCI_ARCHIVE:
            words = ["--dest-compress-format", "zstd", "--dest-compress"]
        run("skopeo", "copy", "--quiet", *words, source, transport(form, place, name))

    def take(self, form: str, place: str, name: str) -> str:
        words = ["--src-tls-verify=false"] if form == REGISTRY else []
        words += ["--dest-compress", "--dest-compress-format", "gzip"]  # umoci 0.4 knows no zstd
        run("skopeo", "copy", "--quiet", *words, transport(form, place, name), f"oci:{self.layout}:taken")
        return "taken"

    def forget(self) -> None:
        self.number += 1

    def config(self, image: str) -> bytes:
        return run("skopeo", "inspect", "--config", "--raw", f"oci:{self.layout}:{image}").encode()

    def _unpack(self, image: str) -> Path:
        bundle = self.directory / f"bundle{self.number}"
        if not bundle.exists():
            run("umoci", "unpack", "--image", f"{self.layout}:{image}", str(bundle))
        return bundle

    def tree(self, image: str) -> Tree:
        return tree_of(self._unpack(image) / "rootfs")

    def run(self, image: str) -> str:
        bundle = self._unpack(image)
        spec = json.loads((bundle / "config.json").read_bytes())
        spec["process"].update(terminal=False, rlimits=[])
        spec["linux"]["cgroupsPath"] = f"/{self.directory.name}"
        (bundle / "config.json").write_text(json.dumps(spec))
        words = ["--root", f"{self.directory}/runc", "run", "--bundle", str(bundle), self.directory.name]
        return run(*PRIVATE, "runc", *words).strip()


def remove_cgroups(name: str) -> None:
    """The parent that a peer has made for its containers, which are gone."""
    for tree in Path("/sys/fs/cgroup").glob(f"*/{name}"):
        if os.stat(tree).st_dev == os.stat("/sys/fs/cgroup").st_dev:
            shutil.rmtree(tree)  # podman takes a directory of the tmpfs for a hierarchy where that is not mounted
        else:
            remove_tree(str(tree))
