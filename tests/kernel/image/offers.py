# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images that the tests' own registry offers, of any documents, true or not; and what a pull of one comes to."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import EngineError
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.gc import sweep
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.observe import observe_images
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.platform import host_platform
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.pull import pull_image
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.store import Store
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.image import Image
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.registry import Access
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths

from .conftest import digest_of, layer_of, member
from .faulty import INDEX, MANIFEST, FaultyRegistry

GOOD = layer_of(member("fine"))
ACCESS = Access(insecure=True, timeout=3)
PLATFORM = {"os": "linux", "architecture": host_platform().architecture, "variant": host_platform().variant}
Document = dict[str, Any]


def put(faulty: FaultyRegistry, manifest: Any, config: Any = None, *, media_type: str = MANIFEST) -> Image:
    """An image whose manifest is ``manifest``, of the documents or as it is; it has the good layer."""
    faulty.put("app", "blobs", GOOD)
    content = config if isinstance(config, bytes) else json.dumps(config or good_config()).encode()
    digest = faulty.put("app", "blobs", content)
    document = manifest({"mediaType": "c", "digest": digest, "size": len(content)}) if callable(manifest) else manifest
    faulty.put(
        "app", "manifests", document if isinstance(document, bytes) else json.dumps(document).encode(), "1", media_type
    )
    return Image(name=f"{faulty.host}/app:1", access=ACCESS)


def good_config(**changes: Any) -> Document:
    return {**PLATFORM, "rootfs": {"type": "layers", "diff_ids": [digest_of(GOOD)]}, **changes}


def layer(**changes: Any) -> Document:
    return {"mediaType": "l", "digest": digest_of(GOOD), "size": len(GOOD), **changes}


def with_layers(*layers: Any, **changes: Any) -> Callable[[Document], Document]:
    return lambda config: {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config,
        "layers": list(layers),
        **changes,
    }


def index_of(*entries: Any, **changes: Any) -> Callable[[Document], Document]:
    return lambda _config: {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(entries), **changes}


def is_clean(paths: Paths, *coming: bytes) -> None:
    """No image, partial file, lock or pin is there, and nothing at all after a sweep.

    The next pull goes on with layers that were ``coming``, whose processes ended with the one that met a bad layer.
    """
    assert observe_images(paths) == {}
    partial = os.path.join(paths.images, ".partial")
    for place in (partial, paths.content_locks, paths.pins):
        allowed = {digest_of(layer).replace(":", "-") for layer in coming if place == partial}
        assert not os.path.exists(place) or set(os.listdir(place)) <= allowed
    assert not os.path.exists(paths.layers) or not any("partial" in name for name in os.listdir(paths.layers))
    if os.path.exists(paths.images):
        sweep(paths)
        assert os.listdir(paths.layers) == []
    assert Store(paths.images).blobs() == []


NESTED = b'{"a":' + b"[" * 200_000


def refused(paths: Paths, wanted: Image) -> str:
    started = time.monotonic()
    with pytest.raises(EngineError) as raised:
        pull_image(paths, wanted)
    assert time.monotonic() - started < 20
    is_clean(paths)
    told = str(raised.value)
    assert len(told) < 4000 and told.isprintable(), told[:200]
    return told
