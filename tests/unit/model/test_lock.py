# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lock files are the same bytes for the same names, and what is no lock file is refused; pieces of blobs add up."""

from __future__ import annotations

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import InvalidOption, StateCorrupt
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.lock import (
    encode_lock,
    parse_lock,
    pinned_name,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.transfer import (
    Offer,
    arrived,
    encode_offer,
    parse_offer,
    parse_piece_name,
    piece_name,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.lock import plan_lock

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64
NAME = "docker.io/library/a:1"


def test_a_lock_file_does_not_depend_on_the_order() -> None:
    one = encode_lock({NAME: DIGEST, "example.com/b:2": OTHER})
    assert one == encode_lock({"example.com/b:2": OTHER, NAME: DIGEST})
    assert parse_lock(one, "f") == {NAME: DIGEST, "example.com/b:2": OTHER}
    assert one.endswith(b"}\n") and len(one.splitlines()) == 7


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"version": 2, "images": {}}',
        b'{"version": 1, "images": []}',
        b'{"version": 1, "images": {"a": "sha256:1"}}',
        b'{"version": 1, "images": {"A b": "sha256:' + b"a" * 64 + b'"}}',
        b'{"version": 1, "images": {"a": ["b"]}}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_lock_file_is_refused(content: bytes) -> None:
    with pytest.raises(StateCorrupt, match=r"images\.lock"):
        parse_lock(content, "images.lock")


def test_a_pinned_name_has_no_tag() -> None:
    assert pinned_name("a:1", DIGEST) == f"docker.io/library/a@{DIGEST}"
    assert pinned_name("localhost:5000/x/y:1.2", DIGEST) == f"localhost:5000/x/y@{DIGEST}"


def test_the_plan_leaves_other_names_alone() -> None:
    current = {NAME: DIGEST, "example.com/b:2": OTHER}
    assert list(plan_lock({NAME: DIGEST}, current)) == []
    assert [str(change) for change in plan_lock({NAME: OTHER}, current)] == [
        f"lock image {NAME} (digest: {'a' * 12} -> {'b' * 12})"
    ]
    assert [str(change) for change in plan_lock({NAME: None, "c:1": None}, current)] == [
        f"unlock image {NAME} (digest: {'a' * 12})"
    ]


@pytest.mark.parametrize("locked", ["", DIGEST])
def test_a_digest_that_nobody_knows_yet_is_a_change(locked: str) -> None:
    (change,) = plan_lock({NAME: ""}, {NAME: locked} if locked else {})
    assert change.before == ({"digest": DIGEST} if locked else {})
    assert change.after == {"digest": "as the registry has it"}


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ({}, []),
        ({0: 10}, [0]),
        ({0: 4, 4: 6}, [0, 4]),
        ({0: 4, 5: 5}, [0]),  # a gap
        ({4: 6}, []),
        ({0: 0}, []),
        ({0: 4, 4: 0}, [0]),
        ({0: 12}, [0]),  # too much of it: its digest will tell
        ({0: 4, 2: 8, 4: 6}, [0, 4]),  # one that a run with other pieces left
    ],
)
def test_pieces_add_up_from_the_beginning(pieces: dict[int, int], expected: list[int]) -> None:
    assert arrived(pieces, 10) == expected


def test_names_of_pieces() -> None:
    assert parse_piece_name(piece_name(DIGEST, 64)) == (DIGEST, 64)
    for name in ("x", "sha256-" + "a" * 64, "sha256-" + "a" * 64 + ".x", "sha256-zz.0", "sha256-" + "a" * 64 + ".-1"):
        assert parse_piece_name(name) is None


def test_an_offer_travels_as_it_is() -> None:
    offer = Offer(NAME, "m", DIGEST, b"\0\xff{}", b"{}", OTHER, {"tag": b"\1"}, DIGEST)
    assert parse_offer("offer", encode_offer(offer)) == offer


@pytest.mark.parametrize(
    "change",
    [
        {"name": "A b"},
        {"digest": "x"},
        {"manifest": "%"},
        {"config": None},
        {"signatures": [1]},
        {"index": 3},
        {"verified": "x"},
    ],
)
def test_an_offer_that_is_none_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(InvalidOption):
        parse_offer("offer", {**encode_offer(Offer(NAME, "m", DIGEST, b"", b"")), **change})
