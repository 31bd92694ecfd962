# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cgroup v1 on a fake root: which trees get a directory, which files get which words."""

from __future__ import annotations

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.cgroup.v1.manager import V1
from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import Conflict, NotFound, Unsupported
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.cgroupfs import Hierarchy
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.cgroup import UNLIMITED, Cgroup, Limits

NO_LIMIT = "9223372036854771712"
TREES = {
    "memory": {
        "memory.limit_in_bytes": NO_LIMIT, "memory.memsw.limit_in_bytes": NO_LIMIT,
        "memory.soft_limit_in_bytes": NO_LIMIT, "memory.usage_in_bytes": "0",
    },
    "cpu,cpuacct": {"cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000", "cpu.shares": "1024"},
    "cpuset": {"cpuset.cpus": "0-3", "cpuset.mems": "0"},
    "pids": {"pids.max": "max"},
    "freezer": {"freezer.state": "THAWED"},
}  # fmt: skip


def make_cgroup(tmp_path, relative):
    for tree, files in TREES.items():
        directory = tmp_path / tree / relative
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in {"cgroup.procs": "", "tasks": "", **files}.items():
            (directory / name).write_text(text + "\n")


@pytest.fixture
def cgroups(tmp_path):
    for relative in (".", "stowage", "stowage/a"):
        make_cgroup(tmp_path, relative)
    return V1("stowage", [Hierarchy(str(tmp_path / tree), 1, frozenset(tree.split(","))) for tree in TREES])


def test_a_fresh_cgroup_has_no_limits_but_the_hosts_cpus(cgroups):
    unlimited = Limits(UNLIMITED, UNLIMITED, UNLIMITED, UNLIMITED, 100, UNLIMITED, "0-3", "0")
    assert cgroups.observe() == {"a": Cgroup("a", unlimited)}


def test_limits_are_written_in_the_words_of_v1_and_read_back(cgroups, tmp_path):
    limits = Limits(memory=8192, memory_reservation=4096, memory_swap=12288, cpu_quota=50_000, cpu_weight=200, pids=9,
                    cpuset_cpus="1,0", cpuset_mems="0")  # fmt: skip
    cgroups.set_limits("a", limits)
    files = [(name, tmp_path / tree / "stowage/a" / name) for tree, names in TREES.items() for name in names]
    written = {name: path.read_text().strip() for name, path in files}
    assert written == {
        "memory.limit_in_bytes": "8192", "memory.memsw.limit_in_bytes": "12288", "memory.soft_limit_in_bytes": "4096",
        "memory.usage_in_bytes": "0", "cpu.cfs_quota_us": "50000", "cpu.cfs_period_us": "100000", "cpu.shares": "2451",
        "cpuset.cpus": "0-1", "cpuset.mems": "0", "pids.max": "9", "freezer.state": "THAWED",
    }  # fmt: skip
    assert cgroups.observe()["a"].limits == Limits(8192, 4096, 12288, 50_000, 200, 9, "0-1", "0")


def test_another_period_is_seen_and_replaced(cgroups, tmp_path):
    directory = tmp_path / "cpu,cpuacct/stowage/a"
    (directory / "cpu.cfs_period_us").write_text("50000")
    (directory / "cpu.cfs_quota_us").write_text("10000")
    assert cgroups.observe()["a"].limits.cpu_quota == 20_000
    cgroups.set_limits("a", Limits(cpu_quota=30_000))
    assert (directory / "cpu.cfs_period_us").read_text() == "100000"
    assert cgroups.observe()["a"].limits.cpu_quota == 30_000


def test_each_tree_is_used_once(cgroups, tmp_path):
    cgroups.join("/stowage/a")
    written = {tree: (tmp_path / tree / "stowage/a/tasks").read_text().strip() for tree in TREES}
    assert written == dict.fromkeys(TREES, "0")


def test_a_directory_that_was_removed_from_one_tree_limits_nothing(cgroups, tmp_path):
    directory = tmp_path / "pids/stowage/a"
    for file in directory.iterdir():
        file.unlink()
    directory.rmdir()
    assert cgroups.observe()["a"].limits.pids == UNLIMITED


def test_cpu_lists_that_were_inherited_follow_their_parent(cgroups, tmp_path):
    for child in ("stowage/a/web.scope", "stowage/a/own.scope"):
        make_cgroup(tmp_path, child)
    own = tmp_path / "cpuset/stowage/a/own.scope/cpuset.cpus"
    own.write_text("1")
    cgroups.set_limits("a", Limits(cpuset_cpus="0-1"))
    assert (tmp_path / "cpuset/stowage/a/web.scope/cpuset.cpus").read_text().strip() == "0-1"
    assert own.read_text() == "1"


def test_a_controller_that_is_not_mounted_is_named(tmp_path):
    (tmp_path / "pids").mkdir()
    cgroups = V1("stowage", [Hierarchy(str(tmp_path / "pids"), 1, frozenset(["pids"]))])
    with pytest.raises(Unsupported, match=r"^cpu_quota: this host has no 'cpu' cgroup controller"):
        cgroups.create(Cgroup("a", Limits(cpu_quota=1000)))
    with pytest.raises(Unsupported, match=r"^cpuset_cpus: this host has no 'cpuset' cgroup controller"):
        cgroups.create(Cgroup("a", Limits(cpuset_cpus="0")))
    with pytest.raises(Unsupported, match=r"no v1 'freezer' hierarchy"):
        cgroups.freeze("/stowage/a", True)
    assert cgroups.observe() == {}


def test_a_kernel_that_does_not_count_swap_is_told(cgroups, tmp_path):
    (tmp_path / "memory/stowage/a/memory.memsw.limit_in_bytes").unlink()
    assert cgroups.observe()["a"].limits.memory_swap == UNLIMITED
    cgroups.set_limits("a", Limits(memory=4096, memory_swap=UNLIMITED))
    with pytest.raises(Unsupported, match=r"swapaccount=1"):
        cgroups.set_limits("a", Limits(memory=4096, memory_swap=8192))


def test_a_cgroup_with_something_in_one_tree_alone_is_not_removed(cgroups, tmp_path):
    (tmp_path / "pids/stowage/a/web.scope").mkdir()
    (tmp_path / "freezer/stowage/a/cgroup.procs").write_text("41\n")
    with pytest.raises(Conflict, match=r"^cgroup a still holds the cgroups web\.scope and the processes 41;"):
        cgroups.remove("a")


def test_a_container_that_has_no_cgroup(cgroups):
    path = cgroups.container_path("", "web")
    assert path == "/stowage/web.scope"
    assert (cgroups.observe_limits(path), cgroups.processes(path), cgroups.payload_directory(path)) == (None, [], "")
    with pytest.raises(NotFound):
        cgroups.limit_container(path, Limits(pids=1))
    cgroups.kill(path)
    cgroups.destroy(path)
