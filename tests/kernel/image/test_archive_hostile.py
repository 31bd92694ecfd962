# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives that are malformed or hostile are refused, and nothing of them is stored, tagged or written anywhere."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import resource
import tarfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import EngineError, InvalidImage
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.archive.load import load_images, resolve_load
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.archive.save import observe_archive
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.manifest import (
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    encode,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.store import REF_NAME, Store
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths

from .conftest import digest_of, layer_of, member
from .hostile import entry

pytestmark = pytest.mark.root

LAYER = layer_of(member("etc/motd"))
Entries = dict[str, bytes]


def blob(content: bytes) -> str:
    return "blobs/" + digest_of(content).replace(":", "/")


def described(media_type: str, content: bytes, **more: object) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content), **more}


def oci(layer: bytes = LAYER, *, layers: int = 1, **changes: object) -> Entries:
    """A good archive, but for ``changes`` of its manifest's layer descriptors."""
    config = encode({"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": [digest_of(layer)] * layers}})
    manifest = encode(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": described(OCI_CONFIG, config),
            "layers": [{**described(OCI_LAYER, layer), **changes}] * layers,
        }
    )
    entry = described(OCI_MANIFEST, manifest, annotations={REF_NAME: "bad:1"})
    return {
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": encode({"schemaVersion": 2, "manifests": [entry]}),
        blob(config): config,
        blob(manifest): manifest,
        blob(layer): layer,
    }


def docker(**changes: object) -> Entries:
    config = encode({"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": [digest_of(LAYER)]}})
    name = f"{digest_of(config)[7:]}.json"
    entry = {"Config": name, "RepoTags": ["bad:1"], "Layers": ["layer.tar"], **changes}
    return {"manifest.json": encode([entry]), name: config, "layer.tar": LAYER}


def tar_of(entries: Entries, *more: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in entries.items():
            info = member(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info, content in more:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def without(entries: Entries, name: str) -> Entries:
    return {key: value for key, value in entries.items() if key != name}


def indexed(descriptor: dict[str, Any], *blobs: bytes) -> Entries:
    index = encode({"manifests": [{**descriptor, "annotations": {REF_NAME: "bad:1"}}]})
    return {"index.json": index, **{blob(content): content for content in blobs}}


def greedy_xz(content: bytes) -> bytes:
    """A stream that says that it needs a dictionary of 4 GiB (The .xz File Format, 3.1 and 5.3.1)."""
    stream = bytearray(lzma.compress(content, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20}]))
    assert bytes(stream[14:16]) == b"\x21\x01", "one filter, LZMA2, with one byte of properties"
    stream[16] = 40
    end = 12 + stream[12] * 4
    stream[end : end + 4] = zlib.crc32(stream[12:end]).to_bytes(4, "little")
    return bytes(stream)


def nested() -> bytes:
    """An index in an index, for this machine: the way to a cycle."""
    platform = {"os": "linux", "architecture": "amd64"}
    inner = encode({"manifests": []})
    outer = encode({"manifests": [described(OCI_INDEX, inner, platform=platform)]})
    return tar_of(indexed(described(OCI_INDEX, outer), outer, inner))


BAD: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "not an archive": lambda: b"hello" * 1000,
    "no image": lambda: tar_of({"index.json": encode({"manifests": []})}),
    "other files": lambda: tar_of({"a": b"b"}),
    "cut in a header": lambda: tar_of(oci())[:700],
    "cut in a blob": lambda: tar_of(oci())[: -(len(LAYER) + 5000)],
    "cut gzip": lambda: gzip.compress(tar_of(oci()))[:-300],
    "gzip of nothing": lambda: gzip.compress(b""),
    "cut bzip2": lambda: bz2.compress(tar_of(oci()))[:-300],
    "bzip2 of nothing": lambda: bz2.compress(b""),
    "bzip2 of gzip": lambda: bz2.compress(gzip.compress(tar_of(oci()))),
    "cut xz": lambda: lzma.compress(tar_of(oci()))[:-300],
    "xz of nothing": lambda: lzma.compress(b""),
    "not xz from the middle on": lambda: lzma.compress(tar_of(oci()))[:200] + bytes(1000),
    "xz that takes 4 GiB": lambda: greedy_xz(tar_of(oci())),
    "name with ..": lambda: tar_of(oci(), (member("../../etc/cron.d/x"), b"*")),
    "absolute name": lambda: tar_of(oci(), (member("/etc/cron.d/x"), b"*")),
    "a name twice": lambda: tar_of(oci(), (member("index.json"), b"{}")),
    "a huge document": lambda: tar_of({"index.json": b"[" + b" " * (5 << 20) + b"]"}),
    "index is no JSON": lambda: tar_of({"index.json": b"{" * 100}),
    "index nested too deeply": lambda: tar_of({"index.json": b'{"a":' + b"[" * 100_000}),
    "index of a list": lambda: tar_of({"index.json": b"[]"}),
    "a hundred thousand images": lambda: tar_of({"index.json": encode({"manifests": [{}] * 100_000})}),
    "an index in an index": nested,
    "no manifest": lambda: tar_of(indexed(described(OCI_MANIFEST, b"x"))),
    "digest that leaves": lambda: tar_of(indexed({"mediaType": OCI_MANIFEST, "digest": "sha256:../../x", "size": 1})),
    "no layer": lambda: tar_of(without(oci(), blob(LAYER))),
    "a layer of another digest": lambda: tar_of({**oci(), blob(LAYER): LAYER[:-1] + b"x"}),
    "a layer of another size": lambda: tar_of({**oci(), blob(LAYER): LAYER + b"x"}),
    "a size that cannot be": lambda: tar_of(oci(size=-1)),
    "a size of 8 EB": lambda: tar_of(oci(size=2**63)),
    "ten thousand layers": lambda: tar_of(oci(layers=10_000)),
    "a layer that is no tar": lambda: tar_of(oci(b"y" * 5000)),
    "a layer that leaves": lambda: tar_of(oci(layer_of(member("../x")))),
    "docker: no config": lambda: tar_of(docker(Config="x.json")),
    "docker: config of another digest": lambda: tar_of(
        {**docker(Config="0" * 64 + ".json"), "0" * 64 + ".json": b"{}"}
    ),
    "docker: config out of the archive": lambda: tar_of(docker(Config="/etc/passwd")),
    "docker: no layer": lambda: tar_of(without(docker(), "layer.tar")),
    "docker: layer out of the archive": lambda: tar_of(docker(Layers=["/etc/passwd"])),
    "docker: layers too many": lambda: tar_of(docker(Layers=["layer.tar"] * 2)),
    "docker: a layer of another digest": lambda: tar_of({**docker(), "layer.tar": LAYER + bytes(512)}),
    "docker: ten thousand names": lambda: tar_of(docker(RepoTags=[f"x:{number}" for number in range(10_000)])),
    "docker: fields of other types": lambda: tar_of(docker(Layers={"layer.tar": 1})),
    "docker: a link out of the archive": lambda: tar_of(
        without(docker(), "layer.tar"), (member("layer.tar", tarfile.SYMTYPE, linkname="../../etc/passwd"), b"")
    ),
    "docker: a link in a circle": lambda: tar_of(
        without(docker(), "layer.tar"),
        (member("layer.tar", tarfile.SYMTYPE, linkname="b"), b""),
        (member("b", tarfile.SYMTYPE, linkname="layer.tar"), b""),
    ),
}


@pytest.mark.parametrize("make", [oci, docker])
def test_the_good_ones_are_good(paths: Paths, tmp_path: Path, make: Callable[[], Entries]) -> None:
    (tmp_path / "good.tar").write_bytes(tar_of(make()))
    assert [image.name for image in load_images(paths, str(tmp_path / "good.tar"))] == ["docker.io/library/bad:1"]


@pytest.mark.parametrize("make", BAD.values(), ids=BAD.keys())
def test_a_bad_archive_stores_nothing(paths: Paths, tmp_path: Path, make: Callable[[], bytes]) -> None:
    path = tmp_path / "bad.tar"
    path.write_bytes(make())
    observe_archive(str(path))  # an export replaces it, whatever it is
    with pytest.raises(EngineError) as raised:
        load_images(paths, str(path))
    assert "bad.tar" in str(raised.value) or "layer" in str(raised.value)
    store = Store(paths.images)
    assert (store.blobs(), store.names()) == ([], {})
    assert not os.path.exists(paths.layers) or os.listdir(paths.layers) == []
    assert sorted(os.listdir(tmp_path)) in (["bad.tar"], ["bad.tar", "lib", "run"])


def test_a_directory_is_believed_as_little(paths: Paths, tmp_path: Path) -> None:
    for name, content in oci().items():
        (tmp_path / "layout" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "layout" / name).write_bytes(content)
    layer = tmp_path / "layout" / blob(LAYER)
    layer.unlink()
    for make in (lambda: layer.symlink_to("/etc/shadow"), lambda: os.mkfifo(layer), layer.mkdir, lambda: None):
        make()
        with pytest.raises(InvalidImage, match="has no 'blobs/"):
            load_images(paths, str(tmp_path / "layout"))
        run_away = layer.rmdir if layer.is_dir() and not layer.is_symlink() else layer.unlink
        run_away() if os.path.lexists(layer) else None
    assert Store(paths.images).blobs() == []


def test_ten_gigabytes_of_zeros_in_ten_megabytes(paths: Paths, tmp_path: Path) -> None:
    """It is read past, in little memory, and refused for what it lacks: nothing of it is on the disk."""
    header = tarfile.TarInfo("blobs/sha256/" + "0" * 64)
    header.size = 10 << 30
    zeros = gzip.compress(bytes(64 << 20), 9)
    with (tmp_path / "bomb.tar.gz").open("wb") as file:
        file.write(gzip.compress(header.tobuf()))
        for _number in range(16):  # of the 10 GiB it has one
            file.write(zeros)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(InvalidImage, match="cut short"):
        resolve_load(paths, str(tmp_path / "bomb.tar.gz"))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30 << 10
    assert time.process_time() - start < 60
    assert not os.path.exists(paths.root)


def test_a_thousand_tags_are_one_image(paths: Paths, tmp_path: Path) -> None:
    (tmp_path / "tags.tar").write_bytes(tar_of(docker(RepoTags=[f"x:{number}" for number in range(100)])))
    images = load_images(paths, str(tmp_path / "tags.tar"))
    assert len(images) == len(Store(paths.images).names()) == 100
    assert len(Store(paths.images).blobs()) == 3
    assert json.loads(Path(f"{paths.images}/index.json").read_bytes())["schemaVersion"] == 2


def test_a_layer_that_many_images_have_is_read_once(paths: Paths, tmp_path: Path) -> None:
    """20 images of the same 500 layers of 8 MB as they come: 80 GB, if each were read for each."""
    noise = os.urandom(1 << 20) * 8
    layer = gzip.compress(layer_of(member("noise"), content=noise), 1)
    config = encode({"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": [digest_of(b"")] * 500}})
    image = {"Config": "c.json", "RepoTags": [], "Layers": ["layer.tar"] * 500}
    content = tar_of({"manifest.json": encode([image] * 20), "c.json": config, "layer.tar": layer})
    (tmp_path / "many.tar").write_bytes(content)
    start = time.process_time()
    with pytest.raises(EngineError):
        resolve_load(paths, str(tmp_path / "many.tar"))
    assert time.process_time() - start < 20


def test_many_small_documents_of_a_compressed_archive_are_read_at_once(paths: Paths, tmp_path: Path) -> None:
    entries = b"".join(entry(b"%d" % number, content=b"{") for number in range(60_000))
    (tmp_path / "small.tar.gz").write_bytes(gzip.compress(entries, 1))
    start = time.process_time()
    with pytest.raises(InvalidImage, match=r"neither index.json nor manifest.json"):
        resolve_load(paths, str(tmp_path / "small.tar.gz"))
    assert time.process_time() - start < 15
