# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel makes of a limit is known beforehand, so that a second run finds nothing to do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.stowage.engine.plugins.module_utils._engine.cgroup.shares import (
    shares_of_weight,
    weight_of_shares,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import InvalidOption
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.cgroup import (
    UNLIMITED,
    Limits,
    normalise,
    parse_cgroup_path,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.quantities import (
    format_cpu_list,
    parse_cpu_list,
)


def test_every_weight_comes_back_from_its_shares():
    assert [w for w in range(1, 10_001) if weight_of_shares(shares_of_weight(w)) != w] == []


@pytest.mark.parametrize(("shares", "weight"), [(2, 1), (1024, 100), (262144, 10_000), (512, 59), (2048, 174)])
def test_shares_and_weight_meet_at_both_ends_and_both_defaults(shares, weight):
    assert weight_of_shares(shares) == weight


def test_more_shares_never_make_less_weight():
    weights = [weight_of_shares(shares) for shares in range(2, 262145, 7)]
    assert weights == sorted(weights)
    assert (shares_of_weight(1), shares_of_weight(100), shares_of_weight(10_000)) == (2, 1024, 262144)


@pytest.mark.parametrize(
    ("given_limits", "expected"),
    [
        (Limits(memory=5000), Limits(memory=4096)),
        (Limits(memory=0), Limits(memory=UNLIMITED)),
        (Limits(memory=2**63), Limits(memory=UNLIMITED)),
        (Limits(memory=9223372036854771712), Limits(memory=UNLIMITED)),
        (Limits(memory=8192, memory_swap=12287), Limits(memory=8192, memory_swap=8192)),
        (Limits(memory_reservation=0), Limits(memory_reservation=UNLIMITED)),
        (Limits(pids=0, cpu_quota=-5), Limits(pids=UNLIMITED, cpu_quota=UNLIMITED)),
        (Limits(cpuset_cpus="3,0,1", cpuset_mems=""), Limits(cpuset_cpus="0-1,3", cpuset_mems="")),
        (Limits(), Limits()),
    ],
)
def test_limits_are_normalised_as_the_kernel_shows_them(given_limits, expected):
    assert normalise(given_limits, page_size=4096) == expected


def test_large_pages_round_further_down():
    assert normalise(Limits(memory=100_000), page_size=65536) == Limits(memory=65536)


@given(
    st.builds(
        Limits,
        memory=st.none() | st.integers(-1, 2**64),
        memory_reservation=st.none() | st.integers(-1, 2**64),
        pids=st.none() | st.integers(-1, 4_000_000),
        cpuset_cpus=st.none() | st.frozensets(st.integers(0, 300), max_size=9).map(format_cpu_list),
    )
)
def test_normalising_twice_changes_nothing(limits):
    once = normalise(limits)
    assert normalise(once) == once


@pytest.mark.parametrize("swap", [4096, 8191])
def test_memory_plus_swap_below_memory_is_refused(swap):
    with pytest.raises(InvalidOption, match=r"^memory_swap: .*at least 'memory' \(8192 bytes\)"):
        normalise(Limits(memory=8192, memory_swap=swap))


def test_swap_without_a_limit_on_memory_is_refused():
    with pytest.raises(InvalidOption, match=r"memory_swap: .*no limit"):
        normalise(Limits(memory=UNLIMITED, memory_swap=8192))


@pytest.mark.parametrize("text", ["a", "1-", "-1", "3-1", "1,,2", "0-99999999", "²", "1:2", "0-3/2", ","])
def test_a_list_that_is_none_is_refused(text):
    with pytest.raises(InvalidOption, match=r"^cpuset_cpus: "):
        normalise(Limits(cpuset_cpus=text))


@given(st.frozensets(st.integers(0, 5000)))
def test_a_formatted_list_reads_back(numbers):
    assert parse_cpu_list("cpus", format_cpu_list(numbers)) == numbers


@pytest.mark.parametrize("path", ["quickstart", "shop/front.end", "a/b/c", "Memory", "cpux.max", "my.scoped"])
def test_cgroup_paths(path):
    assert parse_cgroup_path("name", path) == path


@pytest.mark.parametrize(
    "path", ["", "/a", "a//b", "../x", "a/..", "x" * 64, "tasks", "a/tasks", "memory.max", "cgroup.procs", "web.scope",
             "a.slice/b", "cpu.x", "notify_on_release", "_monitors", "a\n"],
)  # fmt: skip
def test_cgroup_paths_that_the_kernel_or_systemd_has_are_refused(path):
    with pytest.raises(InvalidOption, match=r"^name: "):
        parse_cgroup_path("name", path)
