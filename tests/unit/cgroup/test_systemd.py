# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names and values as systemd has them."""

from __future__ import annotations

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.cgroup.place import slice_path
from ansible_collections.stowage.engine.plugins.module_utils._engine.cgroup.properties import limit_properties
from ansible_collections.stowage.engine.plugins.module_utils._engine.cgroup.systemd import Systemd
from ansible_collections.stowage.engine.plugins.module_utils._engine.cgroup.units import Units, cpu_mask, unit_name
from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import (
    Conflict,
    InvalidOption,
    NotFound,
    Unsupported,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.cgroup import UNLIMITED, Cgroup, Limits

INFINITY = 2**64 - 1


def open_fake(tree, instance="stowage", controllers="cpuset cpu io memory pids"):
    tree.joinpath("cgroup.controllers").write_text(controllers + "\n")
    return Systemd(instance, str(tree), Units(str(tree / "no-socket")))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("stowage", "stowage.slice"),
        ("stowage/quickstart", "stowage-quickstart.slice"),
        ("stowage/a/b", "stowage-a-b.slice"),
        ("stowage/a-b", "stowage-a\\x2db.slice"),
        ("stowage-1f", "stowage\\x2d1f.slice"),
        ("stowage/a_b.c", "stowage-a_b.c.slice"),
    ],
)
def test_a_dash_in_a_name_nests_no_slice(path, name):
    assert unit_name(path, "slice") == name


def test_a_unit_name_that_is_too_long_is_refused():
    with pytest.raises(InvalidOption, match=r"nest less"):
        unit_name("stowage/" + "/".join(["a" * 63] * 4), "slice")


def test_slices_nest_in_the_tree():
    assert slice_path("stowage-a-b\\x2dc.slice") == "stowage.slice/stowage-a.slice/stowage-a-b\\x2dc.slice"


def test_limits_become_properties(tmp_path):
    limits = Limits(memory=64 << 20, memory_swap=96 << 20, memory_reservation=32 << 20, cpu_quota=50_000, cpu_weight=7,
                    pids=9, cpuset_cpus="0,9", cpuset_mems="")  # fmt: skip
    assert limit_properties(limits, str(tmp_path)) == [
        ("MemoryMax", "t", 64 << 20),
        ("MemoryLow", "t", 32 << 20),
        ("MemorySwapMax", "t", 32 << 20),
        ("CPUQuotaPerSecUSec", "t", 500_000),
        ("CPUWeight", "t", 7),
        ("TasksMax", "t", 9),
        ("AllowedCPUs", "ay", b"\x01\x02"),
        ("AllowedMemoryNodes", "ay", b""),
    ]


def test_no_limit_is_infinity(tmp_path):
    limits = Limits(memory=UNLIMITED, memory_swap=UNLIMITED, memory_reservation=UNLIMITED, cpu_quota=UNLIMITED,
                    pids=UNLIMITED)  # fmt: skip
    properties = {name: value for name, _rest, value in limit_properties(limits, str(tmp_path))}
    assert properties == {
        "MemoryMax": INFINITY, "MemorySwapMax": INFINITY, "MemoryLow": 0, "CPUQuotaPerSecUSec": INFINITY,
        "TasksMax": INFINITY,
    }  # fmt: skip


def test_limits_that_are_not_managed_are_left_alone(tmp_path):
    assert limit_properties(Limits(pids=5), str(tmp_path)) == [("TasksMax", "t", 5)]


def test_a_mask_has_one_bit_for_each_cpu():
    assert cpu_mask("") == b""
    assert cpu_mask("8-11") == b"\x00\x0f"


def test_container_paths_name_slice_prefix_and_name(tmp_path):
    cgroups = open_fake(tmp_path)
    assert cgroups.container_path("", "web") == "stowage.slice:stowage:web"
    assert cgroups.container_path("shop/front-end", "web") == "stowage-shop-front\\x2dend.slice:stowage:web"


def test_named_cgroups_are_the_slices_below_ours(tmp_path):
    inner = tmp_path / "stowage.slice/stowage-a\\x2db.slice/stowage-a\\x2db-c.slice"
    inner.mkdir(parents=True)
    (tmp_path / "stowage.slice/stowage-web.scope/payload").mkdir(parents=True)
    (tmp_path / "stowage.slice/other.slice").mkdir()
    (inner / "memory.max").write_text("4096\n")
    (inner / "cpu.max").write_text("5000 50000\n")
    assert open_fake(tmp_path).observe() == {
        path: Cgroup(path, Limits(memory, UNLIMITED, UNLIMITED, quota, 100, UNLIMITED, "", ""))
        for path, memory, quota in (("a-b", UNLIMITED, UNLIMITED), ("a-b/c", 4096, 10_000))
    }


@pytest.mark.parametrize("path", ["web.slice:x", "a:b:c", "a.slice:b:", "../a.slice:b:c", "a.slice:b:c/d"])
def test_a_cgroups_path_that_names_no_scope_is_refused(tmp_path, path):
    with pytest.raises(InvalidOption, match=r"slice:prefix:name"):
        open_fake(tmp_path).processes(path)


def test_a_plain_path_is_a_plain_path(tmp_path):
    (tmp_path / "pods/x/payload").mkdir(parents=True)
    (tmp_path / "pods/x/payload/cgroup.procs").write_text("77\n")
    assert open_fake(tmp_path).processes("/pods/x") == [77]


def test_a_missing_controller_is_told_before_systemd_is_asked(tmp_path):
    with pytest.raises(Unsupported, match=r"^pids: this host has no 'pids' cgroup controller .* has: cpu"):
        open_fake(tmp_path, controllers="cpu").create(Cgroup("a", Limits(pids=5)))


def test_a_systemd_that_does_not_answer_is_told(tmp_path):
    with pytest.raises(Unsupported, match=r"systemd does not answer at .*no-socket"):
        open_fake(tmp_path).create(Cgroup("a"))


def test_a_slice_with_a_container_is_not_removed(tmp_path):
    scope = tmp_path / "stowage.slice/stowage-a.slice/stowage-web.scope"
    scope.mkdir(parents=True)
    (scope / "cgroup.procs").write_text("123\n")
    with pytest.raises(Conflict, match=r"a still holds the cgroups stowage-web\.scope and the processes 123"):
        open_fake(tmp_path).remove("a")


def test_a_container_without_a_cgroup_has_no_limits(tmp_path):
    cgroups = open_fake(tmp_path)
    path = cgroups.container_path("", "web")
    assert cgroups.observe_limits(path) is None
    with pytest.raises(NotFound):
        cgroups.limit_container(path, Limits(pids=1))
