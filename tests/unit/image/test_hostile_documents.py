# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What others write, in any shape: parsers of documents and headers raise what they promise, and nothing else."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import EngineError, InvalidImage, printable
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.manifest import (
    MANIFESTS,
    OCI_INDEX,
    encode,
    image_of,
    parse_config,
    parse_index,
    parse_manifest,
    parse_platforms,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.platform import choose_platform
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.registry.connections import resolve_location
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.registry.discovery import _NEXT
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.registry.endpoint import retry_after
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.registry.login import (
    merge_scopes,
    parse_answer,
    parse_challenges,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.trust.signatures import parse_signatures

EXAMPLES = int(os.environ.get("STOWAGE_FUZZ", "0"))
DIGEST = "sha256:" + "a" * 64
bounded = settings(max_examples=EXAMPLES or 150, deadline=None, database=None, suppress_health_check=list(HealthCheck))

texts = st.one_of(
    st.text(max_size=20), st.sampled_from(["", "\ud800", "a\0b", "\x1b[2J", "linux", "amd64", DIGEST, "A=b"])
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def some(**fields: Any) -> st.SearchStrategy[dict[str, Any]]:
    """A dictionary with fields that are as they should be, or anything, or not there."""
    return st.fixed_dictionaries({}, optional={key: value | anything for key, value in fields.items()})


platforms = some(os=st.just("linux"), architecture=st.just("amd64"), variant=st.just("v8"))
annotations = some(**{"dev.cosignproject.cosign/signature": st.sampled_from(["", "YQ==", "!"])})
descriptors = some(
    mediaType=st.sampled_from(["x", *MANIFESTS, OCI_INDEX, "application/vnd.dev.cosign.simplesigning.v1+json"]),
    digest=st.just(DIGEST),
    size=st.integers(-1, 1 << 64),
    urls=st.lists(texts, max_size=2),
    platform=platforms,
    annotations=annotations,
)
manifests = some(
    schemaVersion=st.just(2), config=descriptors, layers=st.lists(descriptors, max_size=3), mediaType=texts
)
indexes = some(schemaVersion=st.just(2), manifests=st.lists(descriptors, max_size=3), mediaType=texts)
configs = some(
    os=st.just("linux"),
    architecture=st.just("amd64"),
    created=texts,
    rootfs=some(diff_ids=st.lists(st.just(DIGEST), max_size=3)),
    config=some(
        Env=st.lists(texts, max_size=2),
        Cmd=st.lists(texts, max_size=2),
        Labels=st.dictionaries(texts, texts, max_size=2),
        ExposedPorts=st.dictionaries(texts, st.just({}), max_size=2),
        User=texts,
        WorkingDir=texts,
    ),
)


def broken(document: Any, cut: int) -> bytes:
    content = json.dumps(document).encode()
    return content if cut > 200 else content[:cut]


@bounded
@given(manifests | indexes | anything, st.integers(0, 1000))
def test_documents_of_any_shape(document: Any, cut: int) -> None:
    content = broken(document, cut)
    for parse in (parse_manifest, parse_index, parse_platforms, parse_signatures):
        with contextlib.suppress(InvalidImage):
            parse(content, "it")
    with contextlib.suppress(InvalidImage):
        choose_platform(parse_platforms(content, "it"), "it")
    kinds = []
    for parse in (parse_manifest, parse_index):
        with contextlib.suppress(InvalidImage):
            kinds.append(parse(content, "it"))
    assert len(kinds) < 2, "it is two things at once"


@bounded
@given(manifests, configs, st.integers(0, 1000))
def test_configurations_of_any_shape(manifest: Any, config: Any, cut: int) -> None:
    with contextlib.suppress(InvalidImage):
        found = parse_manifest(json.dumps(manifest).encode(), "it")
        image = image_of("name", DIGEST, 1, found, parse_config(broken(config, cut), found, "it"))
        assert len(image.layers) == len(found.layers)
        encode(image.config.env)


@pytest.mark.parametrize("parse", [parse_manifest, parse_index, parse_platforms, parse_signatures])
@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\xff", b"\0" * 100, b"[" * 500_000, b'{"a":' * 500_000, b"1" * 5000, b"NaN", b"nul"),
        *(b'{"manifests":[{"size":' + b"9" * 5000 + b"}]}", b"\xef\xbb\xbf{}", '{"a":1}'.encode("utf-16")),
    ],
)
def test_documents_that_are_no_documents(parse: Callable[[bytes, str], object], content: bytes) -> None:
    with pytest.raises(InvalidImage):
        parse(content, "it")


def test_no_document_is_an_index_and_a_manifest() -> None:
    descriptor = {"mediaType": "x", "digest": DIGEST, "size": 1}
    manifest = {"schemaVersion": 2, "config": descriptor, "layers": [descriptor]}
    index = {"schemaVersion": 2, "manifests": [descriptor]}
    parse_manifest(encode({**manifest, "mediaType": MANIFESTS[0]}), "it")
    parse_index(encode({**index, "mediaType": OCI_INDEX}), "it")
    for parse, content in (
        (parse_manifest, {**manifest, **index}),
        (parse_index, {**manifest, **index}),
        (parse_manifest, {**manifest, "mediaType": OCI_INDEX}),
        (parse_index, {**index, "mediaType": MANIFESTS[0]}),
    ):
        with pytest.raises(InvalidImage, match=r"it is at once an index and an image's manifest"):
            parse(encode(content), "it")


headers = st.one_of(
    st.text(st.characters(max_codepoint=255), max_size=60),
    st.lists(
        st.sampled_from(
            ["Bearer", "Basic", " ", ",", "=", '"', "\\", "realm", "https://[", "<", ">", ";", "rel", "next", "9"]
        ),
        max_size=25,
    ).map("".join),
)


@bounded
@given(headers)
def test_headers_of_any_shape(header: str) -> None:
    for challenge in parse_challenges(header):
        assert challenge.scheme == challenge.scheme.lower()
        merge_scopes(challenge.fields.get("scope", "").split())
    assert retry_after(header) >= 0
    assert printable(header).isprintable()
    with contextlib.suppress(OSError):
        assert resolve_location("https://host/v2/", header).startswith("https://")
    parse_answer(header.encode())


@pytest.mark.parametrize(
    "piece", ["<", "<a>; ", '<a>; rel="', "a=", 'a="', 'a="\\"', "Bearer ", "a ", ", ", "\\", '"', "rel="]
)
def test_headers_of_any_length_are_read_at_once(piece: str) -> None:
    """http.client takes lines of 64 KiB; a pattern that goes back and forth in them would take minutes."""
    header = piece * (65_000 // len(piece))
    started = time.process_time()
    parse_challenges(header)
    _NEXT.search(header)
    retry_after(header)
    with contextlib.suppress(OSError, EngineError):
        resolve_location("https://host/", header)
    assert time.process_time() - started < 3
