# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""OCI image layouts that carry an image with its signatures, as skopeo copies them out of a registry; forged ones."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from ansible_collections.stowage.engine.plugins.module_utils._engine.image.trust.signatures import signature_tag

from .conftest import run

REF_NAME = "org.opencontainers.image.ref.name"


def carry(name: str, layout: Path, digest: str = "", *, every: bool = False) -> None:
    """Copy an image into a layout, and the signatures of ``digest``; ``every``: of an index all images."""
    copy = ["skopeo", "copy", "-q", "--preserve-digests", "--src-tls-verify=false", *(["--all"] if every else [])]
    run(*copy, f"docker://{name}", f"oci:{layout}:{name}")
    if digest:
        signatures = f"{name.rpartition(':')[0]}:{signature_tag(digest)}"
        run(*copy, f"docker://{signatures}", f"oci:{layout}:{signatures}")


def entries(layout: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((layout / "index.json").read_text())["manifests"]
    return found


def write_entries(layout: Path, manifests: list[dict[str, Any]]) -> None:
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": manifests}))


def blob(layout: Path, digest: str) -> Path:
    return layout / "blobs" / digest.replace(":", "/")


def forge(layout: Path, *, digests: bool) -> None:
    """Alter the signed text that a layout carries last; ``digests``: so that all digests are right again."""
    *others, entry = entries(layout)
    manifest = json.loads(blob(layout, entry["digest"]).read_bytes())
    text = blob(layout, manifest["layers"][0]["digest"]).read_bytes().replace(b'"optional":null', b'"optional":{"a":1}')
    assert b'{"a":1}' in text
    if not digests:
        blob(layout, manifest["layers"][0]["digest"]).write_bytes(text)
        return
    manifest["layers"][0].update(_put(layout, text))
    entry.update(_put(layout, json.dumps(manifest).encode()))
    write_entries(layout, [*others, entry])


def _put(layout: Path, content: bytes) -> dict[str, Any]:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    blob(layout, digest).write_bytes(content)
    return {"digest": digest, "size": len(content)}
