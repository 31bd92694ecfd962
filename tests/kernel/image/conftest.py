# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real parts for image tests: a registry on loopback, layers made by tarfile, trees as the kernel shows them."""

from __future__ import annotations

import io
import json
import os
import pickle
import socket
import stat
import subprocess
import tarfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.image.archive.load import load_images
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.layer.directories import lower_directories
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.registry.client import Registry as Client
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.libc import check, libc
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.mount import (
    MS_PRIVATE,
    MS_REC,
    mount,
    mount_overlay,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths

from .authority import Authority
from .faulty import FaultyRegistry
from .hostile import Place, digest_of

CLONE_NEWNS = 0x20000
# bcrypt of "s3cret-word", the password of "user" at the registry with logins.
HTPASSWD = "user:$2b$04$uFO2BF4i8kjyWG/SvDXYCO5U758v1mjyZYYr/CHJ7qk23hw6Yrl8q\n"
PASSWORD = "s3cret-word"

Tree = dict[str, tuple[object, ...]]


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(str(tmp_path / "lib"), str(tmp_path / "run"))


def run(*argv: str) -> str:
    done = subprocess.run(argv, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout


class Registry:
    """Debian's docker-registry on a free port of loopback."""

    def __init__(
        self,
        directory: Path,
        *,
        htpasswd: str = "",
        tls: tuple[Path, Path] | None = None,
        client_authority: Path | None = None,
        auth: dict[str, object] | None = None,
        deletion: bool = True,
    ) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.host = f"127.0.0.1:{port}"
        self.storage = directory / "storage"
        config: dict[str, dict[str, object] | str] = {
            "version": "0.1",
            "log": {"level": "error"},
            "storage": {"filesystem": {"rootdirectory": str(self.storage)}, "delete": {"enabled": deletion}},
            "http": {"addr": self.host},
        }
        if htpasswd:
            (directory / "htpasswd").write_text(htpasswd)
            config["auth"] = {"htpasswd": {"realm": "stowage", "path": str(directory / "htpasswd")}}
        if auth:
            config["auth"] = auth
        if tls:
            clients = {"clientcas": [str(client_authority)]} if client_authority else {}
            tls_section = {"certificate": str(tls[0]), "key": str(tls[1]), **clients}
            config["http"] = {"addr": self.host, "tls": tls_section}
        (directory / "config.yml").write_text(json.dumps(config))
        log = (directory / "log").open("wb")
        self.process = subprocess.Popen(
            ["docker-registry", "serve", str(directory / "config.yml")], stderr=log, stdout=log
        )
        for _attempt in range(200):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError((directory / "log").read_text())

    def put_manifest(self, repository: str, reference: str, media_type: str, content: bytes) -> None:
        request = urllib.request.Request(
            f"http://{self.host}/v2/{repository}/manifests/{reference}", content, method="PUT"
        )
        request.add_header("Content-Type", media_type)
        urllib.request.urlopen(request, timeout=10).close()

    def blob(self, digest: str) -> Path:
        encoded = digest.split(":")[1]
        return self.storage / "docker/registry/v2/blobs/sha256" / encoded[:2] / encoded / "data"

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    found = Registry(tmp_path_factory.mktemp("registry"))
    yield found
    found.close()


@pytest.fixture(scope="session")
def locked_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    found = Registry(tmp_path_factory.mktemp("locked"), htpasswd=HTPASSWD)
    yield found
    found.close()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def server(authority: Authority) -> tuple[Path, Path]:
    """A server's certificate and key."""
    return authority.issue("server")


@pytest.fixture(scope="session")
def secure(server: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """One with TLS."""
    found = Registry(tmp_path_factory.mktemp("secure"), tls=server)
    yield found
    found.close()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No login, mirror or proxy of this machine is in the way, and programs are found in ``bin``."""
    for name in ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_CONFIG_HOME", "CONTAINERS_REGISTRIES_CONF"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return tmp_path


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A layout with two images made by umoci, which share their first layers: ``api`` and ``web``."""
    directory = tmp_path_factory.mktemp("umoci")
    layout = str(directory / "layout")
    run("umoci", "init", "--layout", layout)
    for name, layers in (("api", SHOP_LAYERS[:2]), ("web", SHOP_LAYERS)):
        run("umoci", "new", "--image", f"{layout}:{name}")
        for number, layer in enumerate(layers):
            (directory / f"{number}.tar").write_bytes(layer)
            run("umoci", "raw", "add-layer", "--image", f"{layout}:{name}", str(directory / f"{number}.tar"))
        run("umoci", "config", "--image", f"{layout}:{name}", "--config.cmd", "sh", "--config.env", f"A={name}")
    return layout


@pytest.fixture
def filled(paths: Paths, shop: str, tmp_path: Path) -> Paths:
    """A store that has both images of the shop."""
    for name in SHOP_NAMES:
        short = name.rpartition("/")[2].partition(":")[0]
        single = str(tmp_path / short)
        run("skopeo", "copy", f"oci:{shop}:{short}", f"oci:{single}:{name}")
        load_images(paths, single)
    return paths


@pytest.fixture
def faulty() -> Iterator[FaultyRegistry]:
    with FaultyRegistry() as found:
        yield found


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a pull tries again is tried again at once."""
    monkeypatch.setattr(
        "ansible_collections.stowage.engine.plugins.module_utils._engine.image.pull.Registry",
        lambda reference, *, access: Client(reference, access=access, delays=(0.01, 0.01)),
    )


def member(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    """A tarfile member of any shape, possible or not."""
    info = tarfile.TarInfo(name)
    info.type = kind
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    for key, value in fields.items():
        setattr(info, key, value)
    return info


def layer_of(*members: tarfile.TarInfo, content: bytes = b"content") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info in members:
            if info.type == tarfile.REGTYPE:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            else:
                archive.addfile(info)
    return buffer.getvalue()


SHOP_LAYERS = (
    layer_of(member("a/one", mode=0o4755), member("a/two", uid=5), member("b/three"), member("l", b"2", linkname="a")),
    layer_of(member("a/.wh.two"), member("b", b"5"), member("b/.wh..wh..opq"), member("b/four"), content=b""),
    layer_of(member("etc/passwd"), content=b"root:x:0:0:root:/:/bin/sh\n" * 9000),
)
SHOP_NAMES = ("example.com/shop/api:1", "example.com/shop/web:2")


def tree_of(root: str | Path, *, xattrs: bool = True) -> Tree:
    """Everything under a directory that an image speaks of; times are left out for directories on the way.

    A whiteout that hides nothing, in a directory of one layer alone, is a name that overlayfs lists and does not know.
    """
    found: Tree = {}
    inodes: dict[tuple[int, int], str] = {}
    root = str(root)
    for directory, names, files in os.walk(root):
        for name in sorted(names + files):
            path = os.path.join(directory, name)
            relative = os.path.relpath(path, root)
            try:
                status = os.lstat(path)
            except FileNotFoundError:
                continue
            what: object = None
            if stat.S_ISREG(status.st_mode):
                first = inodes.setdefault((status.st_dev, status.st_ino), relative)
                what = (digest_of(Path(path).read_bytes()), first, status.st_mtime_ns)
            elif stat.S_ISLNK(status.st_mode):
                what = os.readlink(path)
            elif stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
                what = status.st_rdev
            attributes = ()
            if xattrs and not stat.S_ISLNK(status.st_mode):
                kept = [
                    key for key in os.listxattr(path, follow_symlinks=False) if not key.startswith("trusted.overlay")
                ]
                attributes = tuple((key, os.getxattr(path, key, follow_symlinks=False)) for key in sorted(kept))
            found[relative] = (oct(status.st_mode), status.st_uid, status.st_gid, what, attributes)
    return found


def overlay_tree(paths: Paths, layers: Sequence[str], directory: Path) -> Tree:
    """What a container with these layers would see: a real overlay, mounted in a mount namespace of a child."""
    target = directory / "merged"
    target.mkdir(exist_ok=True)

    def look() -> Tree:
        check(libc().unshare(CLONE_NEWNS))
        mount("none", "/", "", MS_REC | MS_PRIVATE)
        lower = lower_directories(paths, layers)
        empty = directory / "empty"
        empty.mkdir(exist_ok=True)
        mount_overlay(str(target), lower=[*lower, str(empty)])  # overlayfs wants two lower directories at least
        return tree_of(target)

    return in_child(look)


def in_child(function: Callable[[], Tree]) -> Tree:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(reader)
            with os.fdopen(writer, "wb") as out:
                pickle.dump(function(), out)
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as result:
        content = result.read()
    assert os.waitpid(pid, 0)[1] == 0
    return pickle.loads(content)
