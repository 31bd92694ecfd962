# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Debian root file system of some 450 MB as an image, in as many layers as wanted, at a registry on loopback."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.bench import peers
from tests.kernel.image.conftest import Registry

_CACHE = Path(__file__).parents[2] / "build" / "bench" / "debian.tar"
_PACKAGES = "git,gcc,python3,vim-tiny"
_OCI = "application/vnd.oci.image"


def debian_archive() -> Path:
    """The root file system as a tar archive, made once by mmdebstrap."""
    if not _CACHE.exists():
        _CACHE.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="stowage-bench-", dir="/dev/shm") as directory:
            made = Path(directory, "root.tar")
            peers.run_quietly(
                [
                    *(peers.program("mmdebstrap"), "--mode=root", "--variant=minbase", f"--include={_PACKAGES}"),
                    *('--aptopt=APT::Sandbox::User "root"', "bookworm", str(made)),
                ],
                {**os.environ, "TMPDIR": directory},
            )
            partial = _CACHE.with_suffix(".partial")
            shutil.copyfile(made, partial)
            partial.rename(_CACHE)
    return _CACHE


@contextlib.contextmanager
def debian_registry(directory: Path, counts: Sequence[int]) -> Iterator[str]:
    """A registry that has the image in ``count`` gzip layers, as ``<host>/debian:<count>``; gives its host."""
    registry = Registry(directory)
    try:
        for count in counts:
            layout = directory / f"layout-{count}"
            _write_layout(layout, _split(debian_archive(), count, directory))
            peers.run_quietly(
                [
                    *(peers.program("skopeo"), "copy", "--dest-tls-verify=false"),
                    *(f"oci:{layout}:x", f"docker://{registry.host}/debian:{count}"),
                ]
            )
            shutil.rmtree(layout)
        yield registry.host
    finally:
        registry.close()


def _split(archive: Path, count: int, directory: Path) -> Iterator[Path]:
    """The archive in parts of about the same size, one at a time; a hard link is where its target is."""
    if count == 1:
        yield archive
        return
    with tarfile.open(archive) as whole:
        members = whole.getmembers()
        total, done = sum(member.size for member in members), 0
        parts: list[list[tarfile.TarInfo]] = [[] for _number in range(count)]
        place: dict[str, int] = {}
        for member in members:
            part = place.get(member.linkname, 0) if member.islnk() else min(count - 1, done * count // total)
            place[member.name] = part
            parts[part].append(member)
            done += member.size
        path = directory / "part.tar"
        for part in parts:
            with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as out:
                for member in part:
                    out.addfile(member, whole.extractfile(member) if member.isreg() else None)
            yield path
        path.unlink()


def _write_layout(layout: Path, layers: Iterator[Path]) -> None:
    (layout / "blobs/sha256").mkdir(parents=True)

    def put(media_type: str, content: bytes) -> dict[str, object]:
        digest = hashlib.sha256(content).hexdigest()
        (layout / "blobs/sha256" / digest).write_bytes(content)
        return {"mediaType": f"{_OCI}.{media_type}", "digest": f"sha256:{digest}", "size": len(content)}

    blobs, diff_ids = [], []
    for path in layers:
        content = path.read_bytes()
        diff_ids.append(f"sha256:{hashlib.sha256(content).hexdigest()}")
        blobs.append(put("layer.v1.tar+gzip", gzip.compress(content, 6, mtime=0)))
    rootfs = {"type": "layers", "diff_ids": diff_ids}
    config = {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["sh"]}, "rootfs": rootfs}
    manifest = {"schemaVersion": 2, "config": put("config.v1+json", json.dumps(config).encode()), "layers": blobs}
    entry = put("manifest.v1+json", json.dumps({**manifest, "mediaType": f"{_OCI}.manifest.v1+json"}).encode())
    entry["annotations"] = {"org.opencontainers.image.ref.name": "x"}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
