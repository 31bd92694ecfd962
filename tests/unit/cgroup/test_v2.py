# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cgroup v2 on a fake root: which files get which words."""

from __future__ import annotations

import os
import signal

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.cgroup.v2.manager import V2
from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import (
    Conflict,
    InvalidOption,
    NotFound,
    Unsupported,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.cgroup import UNLIMITED, Cgroup, Limits

FRESH = {
    "cgroup.controllers": "cpuset cpu io memory pids",
    "cgroup.subtree_control": "cpuset cpu io memory pids",
    "cgroup.procs": "",
    "cgroup.freeze": "0",
    "cgroup.events": "populated 0\nfrozen 0",
    "memory.max": "max",
    "memory.low": "0",
    "memory.swap.max": "max",
    "cpu.max": "max 100000",
    "cpu.weight": "100",
    "pids.max": "max",
    "cpuset.cpus": "",
    "cpuset.mems": "",
}


def make_cgroup(tree, relative, **files):
    directory = tree / relative
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in {**FRESH, **{name.replace("__", "."): text for name, text in files.items()}}.items():
        (directory / name).write_text(text + "\n")
    return directory


@pytest.fixture
def tree(tmp_path):
    for relative in (".", "stowage", "stowage/a"):
        make_cgroup(tmp_path, relative)
    return tmp_path


@pytest.fixture
def cgroups(tree):
    return V2("stowage", str(tree))


def content(directory, *names):
    return [(directory / name).read_text().strip() for name in names]


def test_a_fresh_cgroup_has_no_limits(cgroups):
    unlimited = Limits(UNLIMITED, UNLIMITED, UNLIMITED, UNLIMITED, 100, UNLIMITED, "", "")
    assert cgroups.observe() == {"a": Cgroup("a", unlimited)}


def test_limits_are_written_in_the_words_of_v2(cgroups, tree):
    limits = Limits(memory=8192, memory_reservation=4096, memory_swap=12288, cpu_quota=50_000, cpu_weight=7, pids=9,
                    cpuset_cpus="1,0", cpuset_mems="0")  # fmt: skip
    cgroups.set_limits("a", limits)
    names = (
        "memory.max", "memory.low", "memory.swap.max", "cpu.max", "cpu.weight", "pids.max", "cpuset.cpus",
        "cpuset.mems",
    )  # fmt: skip
    assert content(tree / "stowage/a", *names) == ["8192", "4096", "4096", "50000 100000", "7", "9", "0-1", "0"]
    assert cgroups.observe()["a"].limits == Limits(8192, 4096, 12288, 50_000, 7, 9, "0-1", "0")


def test_limits_are_taken_away(cgroups, tree):
    make_cgroup(tree, "stowage/a", memory__max="8192", memory__low="4096", memory__swap__max="0", cpu__max="1000 50000",
                pids__max="9", cpuset__cpus="0")  # fmt: skip
    unlimited = Limits(UNLIMITED, UNLIMITED, UNLIMITED, UNLIMITED, 100, UNLIMITED, "", "")
    cgroups.set_limits("a", unlimited)
    assert cgroups.observe()["a"].limits == unlimited


def test_another_period_is_seen_as_the_share_it_is(cgroups, tree):
    make_cgroup(tree, "stowage/a", cpu__max="10000 20000")
    assert cgroups.observe()["a"].limits.cpu_quota == 50_000


def test_only_what_is_managed_is_written(cgroups, tree):
    make_cgroup(tree, "stowage/a", memory__max="8192", pids__max="9")
    cgroups.set_limits("a", Limits(pids=5))
    assert content(tree / "stowage/a", "memory.max", "pids.max", "cpu.max") == ["8192", "5", "max 100000"]


@pytest.mark.parametrize(
    ("limits", "memory", "swap"),
    [
        (Limits(memory=8192), "8192", "8192"),  # memory + swap stays 16384
        (Limits(memory_swap=12288), "4096", "8192"),
        (Limits(memory=8192, memory_swap=8192), "8192", "0"),
        (Limits(memory=8192, memory_swap=UNLIMITED), "8192", "max"),
        (Limits(memory=UNLIMITED), "max", "12288"),
    ],
)
def test_swap_is_what_the_sum_leaves(cgroups, tree, limits, memory, swap):
    directory = make_cgroup(tree, "stowage/a", memory__max="4096", memory__swap__max="12288")
    cgroups.set_limits("a", limits)
    assert content(directory, "memory.max", "memory.swap.max") == [memory, swap]


def test_memory_above_the_sum_in_force_is_refused(cgroups, tree):
    make_cgroup(tree, "stowage/a", memory__max="4096", memory__swap__max="4096")
    with pytest.raises(InvalidOption, match=r"^memory_swap: 8192 is not valid; expected at least 'memory' \(16384"):
        cgroups.set_limits("a", Limits(memory=16384))


def test_controllers_are_handed_down_the_path(cgroups, tree):
    for relative in (".", "stowage"):
        (tree / relative / "cgroup.subtree_control").write_text("cpu pids\n")
    cgroups.set_limits("a", Limits(pids=5))
    assert content(tree, "cgroup.subtree_control", "stowage/cgroup.subtree_control") == ["+memory +cpuset +io"] * 2


def test_a_controller_that_the_host_lacks_is_named(cgroups, tree):
    (tree / "cgroup.controllers").write_text("cpu hugetlb\n")
    with pytest.raises(Unsupported, match=r"^memory: this host has no 'memory' .* controller \(.*has: cpu hugetlb\)"):
        cgroups.create(Cgroup("new", Limits(memory=4096, cpu_quota=1000)))
    assert not (tree / "stowage/new").exists()


def test_no_limit_needs_no_controller(cgroups, tree):
    (tree / "cgroup.controllers").write_text("\n")
    for name in ("memory.max", "memory.swap.max", "memory.low", "pids.max"):
        (tree / "stowage/a" / name).unlink()
    cgroups.set_limits("a", Limits(UNLIMITED, UNLIMITED, UNLIMITED, pids=UNLIMITED))


def test_a_kernel_that_does_not_count_swap_is_told(cgroups, tree):
    (tree / "stowage/a/memory.swap.max").unlink()
    with pytest.raises(Unsupported, match=r"memory_swap: .*memory\.swap\.max: swap is not counted"):
        cgroups.set_limits("a", Limits(memory=4096, memory_swap=8192))


def test_a_cgroup_with_something_in_it_is_not_removed(cgroups, tree):
    make_cgroup(tree, "stowage/a/web.scope/payload", cgroup__procs="41\n0\n42")
    with pytest.raises(Conflict, match=r"^cgroup a still holds the cgroups web\.scope and the processes 41, 42;"):
        cgroups.remove("a")


def test_a_cgroup_that_is_gone_is_removed_already(cgroups):
    cgroups.remove("b/c")


def test_containers_and_monitors_are_no_named_cgroups(cgroups, tree):
    make_cgroup(tree, "stowage/_monitors")
    make_cgroup(tree, "stowage/a/web.scope/payload")
    make_cgroup(tree, "stowage/a/b")
    assert list(cgroups.observe()) == ["a", "a/b"]


def test_a_container_has_its_processes_and_limits_in_payload(cgroups, tree):
    path = cgroups.container_path("a", "web")
    assert path == "/stowage/a/web.scope"
    assert cgroups.observe_limits(path) is None
    assert cgroups.processes(path) == []
    with pytest.raises(NotFound):
        cgroups.limit_container(path, Limits(pids=4))
    make_cgroup(tree, "stowage/a/web.scope")
    payload = make_cgroup(tree, "stowage/a/web.scope/payload", cgroup__procs="7")
    make_cgroup(tree, "stowage/a/web.scope/payload/made/inside", cgroup__procs="8")
    assert sorted(cgroups.processes(path)) == [7, 8]
    cgroups.limit_container(path, Limits(pids=4))
    assert content(payload, "pids.max") == ["4"]
    assert cgroups.observe_limits(path).pids == 4
    assert cgroups.payload_directory(path) == str(payload)


def test_kill_is_one_write(cgroups, tree):
    payload = make_cgroup(tree, "stowage/web.scope/payload", cgroup__kill="")
    cgroups.kill("/stowage/web.scope")
    assert (payload / "cgroup.kill").read_text().startswith("1")
    cgroups.kill("/stowage/gone.scope")


def test_a_kernel_before_5_14_gets_a_signal_for_each_process(cgroups, tree):
    child = os.fork()
    if child == 0:
        signal.pause()
        os._exit(0)
    payload = make_cgroup(tree, "stowage/web.scope/payload", cgroup__procs=str(child), cgroup__events="")
    cgroups.kill("/stowage/web.scope")
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert content(payload, "cgroup.freeze") == ["0"]


def test_freezing_waits_for_the_kernels_word(cgroups, tree):
    payload = make_cgroup(tree, "stowage/web.scope/payload", cgroup__events="populated 1\nfrozen 1")
    cgroups.freeze("/stowage/web.scope", True)
    assert (payload / "cgroup.freeze").read_text().startswith("1")


def test_a_cgroup_in_use_is_not_prepared_anew(cgroups, tree):
    make_cgroup(tree, "stowage/web.scope/payload", cgroup__procs="7")
    with pytest.raises(Conflict, match=r"/stowage/web\.scope still holds the processes 7"):
        cgroups.prepare("/stowage/web.scope", Limits())


@pytest.mark.parametrize("path", ["", "/", "/a/../../b", "/..", "/a\nb"])
def test_a_cgroups_path_that_leads_elsewhere_is_refused(cgroups, path):
    with pytest.raises(InvalidOption, match=r"^linux\.cgroupsPath: "):
        cgroups.processes(path)


def test_a_scope_needs_systemd(cgroups):
    with pytest.raises(Unsupported, match=r"a\.slice:b:c: systemd support for managing cgroups is not available"):
        cgroups.processes("a.slice:b:c")


@pytest.mark.parametrize("path", ["tasks", "memory.max", "../a", ""])
def test_a_name_that_is_no_cgroups_is_refused(cgroups, path):
    with pytest.raises(InvalidOption):
        cgroups.create(Cgroup(path))
    with pytest.raises(InvalidOption):
        cgroups.remove(path)
