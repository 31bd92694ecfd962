# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names complete as docker completes them, and nothing that is not a name gets through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import InvalidReference
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.reference import (
    normalise,
    parse_digest,
    parse_reference,
)

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("quickstart:1", "docker.io/library/quickstart:1"),
        ("nginx", "docker.io/library/nginx:latest"),
        ("index.docker.io/nginx", "docker.io/library/nginx:latest"),
        ("grafana/loki:3", "docker.io/grafana/loki:3"),
        ("localhost/x", "localhost/x:latest"),
        ("localhost:5000/a/b:t", "localhost:5000/a/b:t"),
        ("127.0.0.1:5000/x", "127.0.0.1:5000/x:latest"),
        ("[::1]:5000/x:y", "[::1]:5000/x:y"),
        ("Registry/x", "Registry/x:latest"),
        ("quay.io/a__b/c-d/e.f_g---h", "quay.io/a__b/c-d/e.f_g---h:latest"),
        (f"nginx@{DIGEST}", f"docker.io/library/nginx@{DIGEST}"),
        (f"nginx:1@{DIGEST}", f"docker.io/library/nginx:1@{DIGEST}"),
    ],
)
def test_names_complete_as_docker_does(text: str, name: str) -> None:
    assert normalise("image", text) == name
    assert normalise("image", name) == name


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "/",
            "a/",
            "/a",
            "../x",
            "a/../b",
            "UPPER",
            "a:",
            "a:-t",
            "a:" + "t" * 129,
            "a" * 300,
            "a b",
            "a\n",
            "a:t\n",
        ),
        *("docker.io/", "http://a/b", "a@", "a@sha256:12", "a@md5:" + "0" * 32, f"a@{DIGEST.upper()}", "a._b", "a/é"),
        *("-/x", "[::1/x", "host:port/x", "a//b", f"x@{DIGEST}\n", "docker..io/x"),
    ],
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(InvalidReference, match=r"^image: ") as error:
        parse_reference("image", text)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize("text", ["", "sha256:", DIGEST[:-1], DIGEST + "0", DIGEST.upper(), "sha1:" + "0" * 40, "../x"])
def test_what_is_no_digest_is_refused(text: str) -> None:
    with pytest.raises(InvalidReference, match=r"digest"):
        parse_digest("digest", text)


@given(st.text(max_size=60) | st.from_regex(r"[a-zA-Z0-9.:/@_-]{0,60}", fullmatch=True))
def test_any_text_is_a_name_that_stays_itself_or_is_refused(text: str) -> None:
    try:
        name = normalise("image", text)
    except InvalidReference:
        return
    assert normalise("image", name) == name
    assert ".." not in name.split("/")
