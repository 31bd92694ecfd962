# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller of two hosts, and what it sends: its registry, keys and layouts, and plays over real SSH.

The registry listens on the controller's own loopback: no host reaches it.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from . import fleet, story

_SIZE = 300_000  # bytes in a layer


class Controller:
    """What the tests do on the controller: layouts, a registry, plays."""

    def __init__(self, hosts: fleet.Fleet, directory: Path, registry: str) -> None:
        self.hosts, self.directory, self.registry = hosts, directory, registry
        self.cache = directory / "cache"

    def layout(self, name: str, layers: list[bytes]) -> Path:
        """An OCI image layout with one image, made by hand."""
        layout = self.directory / name.replace("/", "-").replace(":", "-")
        (layout / "blobs/sha256").mkdir(parents=True)

        def put(content: bytes, kind: str) -> dict[str, Any]:
            digest = hashlib.sha256(content).hexdigest()
            (layout / "blobs/sha256" / digest).write_bytes(content)
            kind = f"application/vnd.oci.image.{kind}"
            return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(content)}

        described = [put(layer, "layer.v1.tar") for layer in layers]
        diff_ids = [layer["digest"] for layer in described]
        config = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": put(json.dumps(config).encode(), "config.v1+json"),
            "layers": described,
        }
        entry = put(json.dumps(manifest).encode(), "manifest.v1+json")
        entry["annotations"] = {"org.opencontainers.image.ref.name": name}
        (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
        return layout

    def push(self, name: str, layers: list[bytes]) -> str:
        """The image in the registry, under the name that is returned."""
        told = f"{name}-{time.monotonic_ns()}"
        source, target = f"oci:{self.layout(told, layers)}:{told}", f"docker://{self.registry}/{name}"
        options = ["-q", "--preserve-digests", "--dest-tls-verify=false"]
        subprocess.run(["skopeo", "copy", *options, source, target], check=True)
        return f"{self.registry}/{name}"

    def transfer(self, *arguments: str, hosts: str = "nodes", failing: bool = False, **options: Any) -> Played:
        task = {"stowage.engine.image_transfer": {"cache": str(self.cache), "insecure": True, **options}}
        return self.play([{**task, "register": "told"}], *arguments, hosts=hosts, failing=failing)

    def sign(self, name: str, key: Key, **options: Any) -> str:
        """Sign an image of the registry, on the controller; its digest."""
        signing = {"name": name, "private_key": key.private, "insecure": True, **options}
        task = {"stowage.engine.image_sign": signing, "delegate_to": "localhost", "run_once": True}
        digest: str = self.play([{**task, "register": "told"}]).told["node-a"]["signature"]["digest"]
        return digest

    @contextlib.contextmanager
    def demanding(self, **keys: Key) -> Iterator[None]:
        """While this lasts, each of these hosts takes nothing that its key has not signed."""
        named = {host.replace("_", "-"): key.public for host, key in keys.items()}
        rule = {"scope": self.registry, "require": "signed", "keys": ["{{ keys[inventory_hostname] }}"]}

        def have(**policy: Any) -> None:
            task = {"stowage.engine.image_policy": policy, "vars": {"keys": named}}
            self.play([{**task, "register": "told"}], hosts=":".join(named))

        have(default="reject", rules=[rule])
        try:
            yield
        finally:
            have(state="absent")

    def refused(self, why: str, **options: Any) -> None:
        """By both hosts, in check mode and really, with nothing sent and nothing stored."""
        transfer = {"stowage.engine.image_transfer": {"cache": str(self.cache), "insecure": True, **options}}
        checked = {**transfer, "check_mode": True, "ignore_errors": True, "register": "checked"}
        real = {**transfer, "ignore_errors": True, "register": "real"}
        played = self.play([checked, real, {"ansible.builtin.set_fact": {"told": ["{{ checked }}", "{{ real }}"]}}])
        assert "] sending " not in played.output
        for node in self.hosts.nodes:
            for told in played.told[node.name]:
                assert told["failed"] and why in told["msg"], told
            assert blobs_of(node) == set() and incoming(node) == ""

    def play(self, tasks: list[Any], *arguments: str, hosts: str = "nodes", failing: bool = False) -> Played:
        self.write([*tasks, {"ansible.builtin.debug": {"msg": "TOLD {{ told | to_json }}"}}], hosts)
        process = self.start(*arguments)
        output = process.communicate(timeout=300)[0]
        assert bool(process.returncode) == failing, output
        return Played(output)

    def write(self, tasks: list[Any], hosts: str) -> None:
        plays = [{"hosts": hosts, "gather_facts": False, "tasks": tasks}]
        (self.directory / "play.yml").write_text(json.dumps(plays))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        env = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(story.ROOT / "build/collections"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCALHOST_WARNING": "false",
        }
        program = Path(sys.executable).with_name("ansible-playbook")
        argv = [str(program), "-i", str(self.hosts.inventory), str(self.directory / "play.yml"), *arguments]
        return subprocess.Popen(
            argv, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )

    def kept(self) -> set[str]:
        return {path.name for path in self.cache.glob("images/blobs/sha256/*")}


class Key:
    """A pair of keys, in PEM."""

    def __init__(self) -> None:
        private, pem = ec.generate_private_key(ec.SECP256R1()), serialization.Encoding.PEM
        kind, public = serialization.PrivateFormat.PKCS8, serialization.PublicFormat.SubjectPublicKeyInfo
        self.private = private.private_bytes(pem, kind, serialization.NoEncryption()).decode()
        self.public = private.public_key().public_bytes(pem, public).decode()


class Played:
    """What a play said, and the result on each host."""

    def __init__(self, output: str) -> None:
        self.output = output
        found = re.findall(r'^ok: \[([^\]]+)\] => \{\s*"msg": "TOLD (.*)"\s*\}$', output, re.M)
        self.told = {host: json.loads(json.loads(f'"{text}"')) for host, text in found}


def layer(number: int, size: int = _SIZE) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo(f"file{number}")
        info.size = size
        archive.addfile(info, io.BytesIO(hashlib.shake_256(str(number).encode()).digest(size)))
    return buffer.getvalue()


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@contextlib.contextmanager
def serving(directory: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = {
        "version": "0.1",
        "log": {"accesslog": {"disabled": False}},
        "storage": {"filesystem": {"rootdirectory": str(directory / "storage")}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    (directory / "config.yml").write_text(json.dumps(config))
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(directory / "config.yml")], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        for _attempt in range(200):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def blobs_of(node: fleet.Node) -> set[str]:
    return set(node.run(["sh", "-c", "ls /var/lib/stowage/images/blobs/sha256 2>/dev/null || true"]).stdout.split())


def incoming(node: fleet.Node) -> str:
    """What a transfer left in the node's temporary directory; a killed Ansible's own ansible-tmp-* stay, as always."""
    return node.run(["sh", "-c", "ls -A -I 'ansible-tmp-*' ~/.ansible/tmp 2>/dev/null || true"]).stdout


LAYERS = [layer(number) for number in range(10)]
