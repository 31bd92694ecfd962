# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cgroup v1 on the kernel of this machine, in cgroups of our own that are removed again."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import replace

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.cgroup.manager import open_cgroups
from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import (
    Conflict,
    KernelError,
    NotFound,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.cgroupfs import (
    observe_hierarchies,
    remove_tree,
    walk_cgroups,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.cgroup import UNLIMITED, Cgroup, Limits

INSTANCE = f"stowage-test-{os.getpid()}"
MOUNTS = {name: h.mount for h in observe_hierarchies() for name in h.controllers}

pytestmark = pytest.mark.skipif(
    not {"memory", "cpu", "cpuset", "pids", "freezer"} <= MOUNTS.keys(), reason="the machine has no v1 hierarchies"
)

MEBI = 1 << 20
UNLIMITED_HERE = Limits(UNLIMITED, UNLIMITED, UNLIMITED, UNLIMITED, 100, UNLIMITED)
ALL = Limits(memory=64 * MEBI, memory_reservation=32 * MEBI, memory_swap=96 * MEBI, cpu_quota=50_000, cpu_weight=50,
             pids=100, cpuset_cpus="0", cpuset_mems="0")  # fmt: skip


@pytest.fixture
def cgroups():
    """The engine's cgroups, and nothing of them left when the test is over."""
    yield open_cgroups(INSTANCE)
    for mount in {hierarchy.mount for hierarchy in observe_hierarchies()}:
        for directory in walk_cgroups(f"{mount}/{INSTANCE}"):
            with open(f"{directory}/cgroup.procs", encoding="ascii") as procs:
                for pid in procs.read().split():
                    os.kill(int(pid), signal.SIGKILL)
        remove_tree(f"{mount}/{INSTANCE}")


def file_of(controller, relative, name):
    return f"{MOUNTS[controller]}/{INSTANCE}/{relative}/{name}"


def read(path):
    with open(path, encoding="ascii") as file:
        return file.read().strip()


def write(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


@contextlib.contextmanager
def member(cgroups, path, work=lambda: None):
    """A process in the container's cgroup, after it did ``work``; its pid."""
    ready, done = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            cgroups.join(path)
            work()
            os.write(done, b"x")
            while True:
                signal.pause()
        finally:
            os._exit(1)
    os.close(done)
    try:
        assert os.read(ready, 1) == b"x", "the member did not join"
        yield pid
    finally:
        os.close(ready)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def leftovers():
    mounts = {hierarchy.mount for hierarchy in observe_hierarchies()}
    return [d for mount in mounts for d in walk_cgroups(f"{mount}/{INSTANCE}")]


def test_the_host_is_v1(cgroups):
    assert cgroups.kind == "v1"
    assert cgroups.observe() == {}
    assert leftovers() == []


def test_limits_are_in_the_kernel_and_read_back(cgroups):
    cgroups.create(Cgroup("quickstart", ALL))
    assert cgroups.observe() == {"quickstart": Cgroup("quickstart", ALL)}
    assert read(file_of("memory", "quickstart", "memory.limit_in_bytes")) == str(64 * MEBI)
    assert read(file_of("memory", "quickstart", "memory.memsw.limit_in_bytes")) == str(96 * MEBI)
    assert read(file_of("cpu", "quickstart", "cpu.cfs_quota_us")) == "50000"
    assert read(file_of("pids", "quickstart", "pids.max")) == "100"
    cgroups.create(Cgroup("quickstart", ALL))
    assert cgroups.observe()["quickstart"].limits == ALL


def test_a_new_cgroup_has_the_hosts_cpus_and_no_limits(cgroups):
    cgroups.create(Cgroup("a/b"))
    observed = cgroups.observe()
    assert list(observed) == ["a", "a/b"]
    cpus, mems = (read(f"{MOUNTS['cpuset']}/cpuset.{kind}") for kind in ("cpus", "mems"))
    assert observed["a/b"].limits == replace(UNLIMITED_HERE, cpuset_cpus=cpus, cpuset_mems=mems)


@pytest.mark.parametrize(
    ("controller", "name", "text", "field"),
    [
        ("memory", "memory.limit_in_bytes", "33554432", "memory"),
        ("memory", "memory.memsw.limit_in_bytes", "83886080", "memory_swap"),
        ("memory", "memory.soft_limit_in_bytes", "4096", "memory_reservation"),
        ("cpu", "cpu.cfs_quota_us", "-1", "cpu_quota"),
        ("cpu", "cpu.cfs_period_us", "200000", "cpu_quota"),
        ("cpu", "cpu.shares", "2000", "cpu_weight"),
        ("pids", "pids.max", "max", "pids"),
        ("cpuset", "cpuset.cpus", "0-1", "cpuset_cpus"),
    ],
)
def test_drift_by_hand_is_seen_in_that_field_and_repaired(cgroups, controller, name, text, field):
    if name == "cpuset.cpus" and os.sysconf("SC_NPROCESSORS_ONLN") < 2:
        pytest.skip("one processor has no other list")
    cgroups.create(Cgroup("q", ALL))
    write(file_of(controller, "q", name), text)
    seen = cgroups.observe()["q"].limits.wanted()
    assert [key for key, value in ALL.wanted().items() if seen[key] != value] == [field]
    cgroups.set_limits("q", ALL)
    assert cgroups.observe()["q"].limits == ALL


def test_memory_and_swap_go_up_and_down_together(cgroups):
    for memory, total in ((64, 64), (256, 512), (16, 16), (512, UNLIMITED), (32, 48)):
        limits = Limits(memory=memory * MEBI, memory_swap=total if total == UNLIMITED else total * MEBI)
        cgroups.create(Cgroup("q", limits))
        observed = cgroups.observe()["q"].limits
        assert (observed.memory, observed.memory_swap) == (limits.memory, limits.memory_swap)
    cgroups.set_limits("q", Limits(memory=UNLIMITED, memory_swap=UNLIMITED))
    assert cgroups.observe()["q"].limits.memory == UNLIMITED


def test_memory_above_the_sum_is_told_with_file_and_value(cgroups):
    cgroups.create(Cgroup("q", Limits(memory=MEBI, memory_swap=2 * MEBI)))
    with pytest.raises(KernelError, match=r"to '4194304': .*memory\.limit_in_bytes Invalid .*: .*set memory_swap"):
        cgroups.set_limits("q", Limits(memory=4 * MEBI))


def test_memory_in_use_is_told_with_file_and_value(cgroups):
    path = cgroups.container_path("", "web")
    cgroups.prepare(path, Limits(memory=64 * MEBI, memory_swap=64 * MEBI))

    def use_memory():
        globals()["_kept"] = bytearray(os.urandom(1 << 16)) * 256

    with member(cgroups, path, use_memory):
        with pytest.raises(KernelError, match=r"to '65536': .*limit_in_bytes Device .* busy: \d{8} bytes of it"):
            cgroups.limit_container(path, Limits(memory=65536))
        assert cgroups.observe_limits(path).memory == 64 * MEBI


def test_a_value_that_the_kernel_rounds_does_not_drift(cgroups):
    cgroups.create(Cgroup("q", Limits(memory=5_000_001)))
    assert cgroups.observe()["q"].limits.memory == 5_000_001 // 4096 * 4096


def test_cpus_that_the_host_lacks_are_told(cgroups):
    with pytest.raises(KernelError, match=r"to '4000': .*/cpuset\.cpus .*: this host does not have all of them"):
        cgroups.create(Cgroup("q", Limits(cpuset_cpus="4000")))


def test_a_cgroup_that_shrinks_takes_its_containers_along(cgroups):
    cgroups.create(Cgroup("q", Limits(cpuset_cpus="0-1")))
    path = cgroups.container_path("q", "web")
    cgroups.prepare(path, Limits())
    with member(cgroups, path):
        for cpus in ("0", "1", "0-1"):
            cgroups.set_limits("q", Limits(cpuset_cpus=cpus))
            assert cgroups.observe_limits(path).cpuset_cpus == cpus


def test_a_container_joins_every_tree(cgroups):
    cgroups.create(Cgroup("q", ALL))
    path = cgroups.container_path("q", "web")
    assert path == f"/{INSTANCE}/q/web.scope"
    cgroups.prepare(path, Limits(pids=7))
    assert cgroups.observe_limits(path).pids == 7
    assert list(cgroups.observe()) == ["q"]
    with member(cgroups, path) as pid:
        memberships = dict(line.split(":")[1:] for line in read(f"/proc/{pid}/cgroup").splitlines())
        for name in ("memory", "cpu", "cpuset", "pids", "freezer"):
            assert next(where for names, where in memberships.items() if name in names.split(",")).endswith(path)
        assert cgroups.processes(path) == [pid]
        cgroups.limit_container(path, Limits(pids=8))
        assert cgroups.observe_limits(path).pids == 8


def test_an_occupied_cgroup_is_neither_removed_nor_prepared_anew(cgroups):
    path = cgroups.container_path("q", "web")
    cgroups.prepare(path, Limits())
    with member(cgroups, path) as pid:
        with pytest.raises(Conflict, match=rf"^cgroup q still holds the cgroups web\.scope and the processes {pid};"):
            cgroups.remove("q")
        with pytest.raises(Conflict, match=rf"still holds the processes {pid};"):
            cgroups.prepare(path, Limits())
    cgroups.destroy(path)
    cgroups.remove("q")
    assert leftovers() == []


def test_a_frozen_process_does_nothing_until_it_is_thawed(cgroups):
    path = cgroups.container_path("", "web")
    cgroups.prepare(path, Limits())
    with member(cgroups, path) as pid:
        cgroups.freeze(path, True)
        os.kill(pid, signal.SIGTERM)
        time.sleep(0.05)
        assert os.waitpid(pid, os.WNOHANG) == (0, 0)
        cgroups.freeze(path, False)
        assert os.waitpid(pid, 0)[1] == signal.SIGTERM


def test_a_fork_bomb_is_killed_and_what_it_made_removed(cgroups):
    path = cgroups.container_path("", "bomb")
    cgroups.prepare(path, Limits(pids=60))

    def explode():
        for tree in ("memory", "freezer", "pids"):
            os.mkdir(f"{MOUNTS[tree]}{path}/made-inside")
        if os.fork() == 0:
            os.setsid()
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            while True:
                with contextlib.suppress(OSError):
                    os.fork()

    with member(cgroups, path, explode):
        end = time.monotonic() + 5
        while len(cgroups.processes(path)) < 50 and time.monotonic() < end:
            time.sleep(0.01)
        assert len(cgroups.processes(path)) >= 50
        cgroups.kill(path)
    cgroups.destroy(path)
    assert leftovers() == []
    cgroups.destroy(path)


def test_without_a_cgroup(cgroups):
    path = cgroups.container_path("", "gone")
    assert (cgroups.processes(path), cgroups.observe_limits(path), cgroups.payload_directory(path)) == ([], None, "")
    cgroups.kill(path)
    cgroups.destroy(path)
    cgroups.remove("gone/too")
    with pytest.raises(NotFound):
        cgroups.limit_container(path, Limits(pids=1))
    with pytest.raises(KernelError, match=r"joining a cgroup: .*/tasks No such file"):
        cgroups.join(path)
    assert leftovers() == []


def test_preparing_and_joining_takes_a_few_milliseconds(cgroups):
    times = []
    for number in range(10):
        path = cgroups.container_path("", f"c{number}")
        start = time.perf_counter()
        cgroups.prepare(path, Limits(memory=64 * MEBI, pids=10))
        times.append(time.perf_counter() - start)
        cgroups.destroy(path)
    assert sorted(times)[5] < 0.01
