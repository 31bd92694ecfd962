# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the controller offers out of an archive is for the host that is asked, whatever the controller's own machine."""

from __future__ import annotations

import hashlib
import json
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.depot import Depot, Source
from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import InvalidImage
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.trust.signatures import (
    Signature,
    add_signature,
    signature_tag,
)

NAME = "reg.example.com/shop/web:1"
KIND = "application/vnd.oci.image."


class Layout:
    """An OCI image layout of one image for two machines, with signatures of its index and of one image."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.layers = {machine: f"a layer for {machine}".encode() for machine in ("amd64", "arm64")}
        (place / "blobs/sha256").mkdir(parents=True)
        (place / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        images = {machine: self._image(machine, layer) for machine, layer in self.layers.items()}
        entries = [{**image, "platform": {"os": "linux", "architecture": name}} for name, image in images.items()]
        self.index = self._put({"schemaVersion": 2, "manifests": entries}, "index.v1+json")
        signed = [(digest, self._signatures(digest)) for digest in (self.index["digest"], images["arm64"]["digest"])]
        named = {NAME: self.index, **{f"reg.example.com/shop/web:{signature_tag(key)}": found for key, found in signed}}
        annotation = "org.opencontainers.image.ref.name"
        manifests = [{**entry, "annotations": {annotation: name}} for name, entry in named.items()]
        (place / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": manifests}))

    def _image(self, machine: str, layer: bytes) -> dict[str, Any]:
        described = self._put(layer, "layer.v1.tar")
        rootfs = {"type": "layers", "diff_ids": [described["digest"]]}
        config = self._put({"os": "linux", "architecture": machine, "rootfs": rootfs}, "config.v1+json")
        manifest = {"schemaVersion": 2, "mediaType": f"{KIND}manifest.v1+json", "config": config, "layers": [described]}
        return self._put(manifest, "manifest.v1+json")

    def _signatures(self, digest: str) -> dict[str, Any]:
        text = f"signed: {digest}".encode()
        signed = add_signature(None, Signature(text, b"by somebody"))
        self._put(text, "")
        self._put(signed.config, "")
        return self._put(signed.manifest, "manifest.v1+json")

    def _put(self, content: Any, kind: str) -> dict[str, Any]:
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        digest = hashlib.sha256(content).hexdigest()
        (self.place / "blobs/sha256" / digest).write_bytes(content)
        return {"mediaType": KIND + kind, "digest": f"sha256:{digest}", "size": len(content)}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("machine", "architecture"), [("x86_64", "amd64"), ("aarch64", "arm64")])
def test_an_archive_has_the_host_s_platform(tmp_path: Path, machine: str, architecture: str, packed: bool) -> None:
    layout = Layout(tmp_path / "layout")
    src = layout.place
    if packed:
        src = tmp_path / "layout.tar"
        with tarfile.open(src, "w") as archive:
            archive.add(layout.place, ".")
    depot, source = Depot(str(tmp_path / "cache")), Source(NAME, src=str(src))
    offer = depot.offer(source, lambda: machine)
    assert json.loads(offer.config)["architecture"] == architecture
    assert offer.index == layout.index["digest"]
    layer = json.loads(offer.manifest)["layers"][0]["digest"]
    held = depot.hold(source, offer, [layer])
    assert Path(held[layer]).read_bytes() == layout.layers[architecture]
    signed = {offer.index, offer.digest} if architecture == "arm64" else {offer.index}
    expected = {signature_tag(digest) for digest in signed}
    assert {name for name in depot.signatures(source, offer) if name.endswith(".sig")} == expected


def test_signatures_are_looked_for_once_a_task(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout")
    depot, source = Depot(str(tmp_path / "cache")), Source(NAME, src=str(layout.place), task="first")
    offers = [depot.offer(source, lambda: "x86_64"), depot.offer(source, lambda: "aarch64")]
    found = [depot.signatures(source, offer) for offer in offers]
    assert len(found[1]) == 2 * len(found[0]) > 0
    (layout.place / "index.json").write_text('{"schemaVersion": 2, "manifests": []}')
    again = Depot(str(tmp_path / "cache"))
    assert [again.signatures(source, offer) for offer in offers] == found
    assert again.signatures(replace(source, task="second"), offers[0]) == {}
    assert again.signatures(replace(source, keep=False), offers[0]) == {}


def test_a_machine_that_no_image_is_for(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout")
    with pytest.raises(InvalidImage, match=r"not made for linux/s390x; it is there for linux/amd64, linux/arm64"):
        Depot(str(tmp_path / "cache")).offer(Source(NAME, src=str(layout.place)), lambda: "s390x")
    assert not (tmp_path / "cache").exists()
