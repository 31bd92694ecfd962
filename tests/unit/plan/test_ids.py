# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Host ids for containers that want some of their own: the same again, never twice, never anybody else's."""

from __future__ import annotations

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import Conflict
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.subordinate_ids import read_subordinate_ids
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.ids import RANGE_SIZE, assign_ids

FIRST, LAST = 0x70000000, 0x7F9FFFFF


def start(ids):
    ((inside, outside, size),) = ids
    assert (inside, size) == (0, RANGE_SIZE)
    return outside


def test_ids_are_those_that_nobody_assigns():
    found = {start(assign_ids(f"web{n}", (), ())) for n in range(200)}
    assert len(found) > 190
    assert all(one >= FIRST and one + RANGE_SIZE - 1 <= LAST and one % RANGE_SIZE == 0 for one in found)


def test_the_same_name_gets_the_same_ids():
    assert assign_ids("web", (), ()) == assign_ids("web", (), ())


def test_what_is_taken_is_left_alone():
    first = assign_ids("web", (), ())
    second = assign_ids("web", (), (first,))
    third = assign_ids("web", (), (first, ((0, start(second) + RANGE_SIZE - 1, 1),)))
    assert len({start(first), start(second), start(third)}) == 3


def test_ids_that_others_are_given_are_left_alone():
    first = assign_ids("web", (), ())
    assert start(assign_ids("web", (("alice", start(first) + 7, 1),), ())) != start(first)


def test_ids_that_stowage_is_given_are_used():
    given = (("alice", 100000, 65536), ("stowage", 300000, 2 * RANGE_SIZE + 5), ("stowage", 900000, 10))
    found: list = []
    for _number in range(2):
        found.append(assign_ids("web", given, found))
    assert {start(ids) for ids in found} == {300000, 300000 + RANGE_SIZE}
    with pytest.raises(Conflict, match="no range of 65536 ids is left for container 'web'"):
        assign_ids("web", given, found)


def test_subordinate_ids_are_read_strictly(tmp_path):
    path = tmp_path / "subuid"
    path.write_text("alice:100000:65536\n\n# stowage:1:2\nbob:x:1\ncarol:5\nstowage:300000:65536\ndave:1:2:3\n")
    assert read_subordinate_ids(str(path)) == [("alice", 100000, 65536), ("stowage", 300000, 65536)]
    assert read_subordinate_ids(str(tmp_path / "none")) == []
