# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages to criu: protobuf's encoding guide has these bytes."""

from __future__ import annotations

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import Unsupported
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.criu import decode, encode, request


@pytest.mark.parametrize(
    ("message", "encoded"),
    [
        ({1: 150}, "089601"),
        ({2: "testing"}, "120774657374696e67"),
        ({3: {1: 150}}, "1a03089601"),
        ({4: [3, 270]}, "2003208e02"),
        ({23: [{1: "/a", 2: "/b"}]}, "ba01080a022f6112022f62"),
        ({}, ""),
    ],
)
def test_messages_as_bytes(message: dict[int, object], encoded: str) -> None:
    assert encode(message).hex() == encoded


def test_a_message_is_read() -> None:
    fields = decode(encode({1: 6, 2: 1, 5: {1: "post-dump", 2: 4711}}))
    assert (fields[1], fields[2]) == (6, 1)
    assert decode(fields[5]) == {1: b"post-dump", 2: 4711}


@pytest.mark.parametrize("content", [b"\x08", b"\x08\xff", b"\x0d\x00\x00\x00\x00"])
def test_what_is_no_message_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"number|kind"):
        decode(content)


def test_a_host_without_criu_is_told() -> None:
    with pytest.raises(Unsupported, match="'/no/criu' is not installed on this host; install"):
        request("/no/criu", 1, lambda _pid: {}, lambda *_stage: None, log="/nowhere")
