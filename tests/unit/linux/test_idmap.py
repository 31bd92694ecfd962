# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ranges of ids: where one is outside, and what of a range is given by none."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.idmap import (
    find_missing,
    find_outside,
    read_id_map,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.process import in_user_namespace

RANGES = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=6)


@given(st.tuples(st.integers(0, 60), st.integers(1, 20)), RANGES)
def test_what_is_missing_is_what_no_range_has(wanted, given_ranges):
    has = {number for first, size in given_ranges for number in range(first, first + size)}
    missing = find_missing(wanted, given_ranges)
    told = [number for first, size in missing for number in range(first, first + size)]
    assert told == [number for number in range(wanted[0], sum(wanted)) if number not in has]
    assert all(second[0] > sum(first) for first, second in zip(missing, missing[1:])), "not in one piece"


@pytest.mark.parametrize(
    ("inside", "outside"), [(0, 1000), (1, None), (10, 500), (14, 504), (15, None), (4294967295, None)]
)
def test_an_id_is_outside_where_its_range_says(inside, outside):
    assert find_outside([(10, 500, 5), (0, 1000, 1)], inside) == outside


def test_the_maps_of_this_process_are_read():
    ranges = read_id_map("/proc/self/uid_map")
    assert find_outside(ranges, os.getuid()) is not None
    # The first user namespace maps every id but the last, which means "none", to itself.
    assert in_user_namespace() == (ranges != [(0, 0, 4294967295)])
