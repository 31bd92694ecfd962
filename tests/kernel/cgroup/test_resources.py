# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``linux.resources`` on the real kernel of a v1 or hybrid host: what is asked for is in the files, or told why not."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import time
import uuid
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.cgroup.manager import open_cgroups
from ansible_collections.stowage.engine.plugins.module_utils._engine.cgroup.resources import Resources
from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import (
    Conflict,
    EngineError,
    InvalidOption,
    KernelError,
    NotFound,
    Unsupported,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.cgroupfs import (
    make_cgroups,
    observe_hierarchies,
    walk_cgroups,
)

MEBI = 1 << 20
HIERARCHIES = observe_hierarchies()
MOUNTS = {name: hierarchy.mount for hierarchy in HIERARCHIES for name in hierarchy.controllers}
UNIFIED = next((hierarchy.mount for hierarchy in HIERARCHIES if hierarchy.version == 2), "")
NAMED = [hierarchy.mount for hierarchy in HIERARCHIES if hierarchy.name]
# What a limit needs, as v1 has it.
NEEDED = {"memory", "cpu", "cpuset", "pids", "blkio", "freezer"}

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: cgroups are made"),
    pytest.mark.skipif(not MOUNTS.keys() >= NEEDED, reason="needs the hierarchies of v1; v2 is tested in a machine"),
]


def values(controller: str, path: str, *names: str) -> list[str]:
    return [Path(f"{MOUNTS[controller]}{path}/{name}").read_text().strip() for name in names]


def left(path: str) -> list[str]:
    mounts = [hierarchy.mount for hierarchy in HIERARCHIES]
    return [directory for mount in mounts for directory in walk_cgroups(f"{mount}{path}")]


@pytest.fixture
def cgroups():
    return open_cgroups("stowage-test")


@pytest.fixture
def path(cgroups):
    path = f"/stowage-test-{uuid.uuid4().hex[:10]}"
    yield path
    cgroups.kill(path)
    cgroups.destroy(path)
    assert left(path) == []


@contextlib.contextmanager
def member(cgroups, path: str):
    """A process in the container's cgroup."""
    joiner = "for file; do echo 0 > $file; done; exec sleep 60"
    child = subprocess.Popen(["sh", "-c", joiner, "joiner", *cgroups.task_files(path)])
    end = time.monotonic() + 5
    while cgroups.processes(path) != [child.pid]:
        assert time.monotonic() < end
        time.sleep(0.005)
    try:
        yield child.pid
    finally:
        child.kill()
        child.wait()


def loop_device(tmp_path) -> str:
    image = tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(MEBI)
    return subprocess.run(["losetup", "-f", "--show", image], capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def device(tmp_path):
    """A loop device that has a scheduler with weights: its path, major and minor."""
    name = loop_device(tmp_path)
    Path(f"/sys/block/{os.path.basename(name)}/queue/scheduler").write_text("bfq")
    number = os.stat(name).st_rdev
    yield name, os.major(number), os.minor(number)
    Path(f"/sys/block/{os.path.basename(name)}/queue/scheduler").write_text("none")
    subprocess.run(["losetup", "-d", name], check=True)


def test_memory(cgroups, path):
    memory = {"limit": 64 * MEBI, "swap": 96 * MEBI, "reservation": 32 * MEBI, "swappiness": 7, "kernel": 5}
    cgroups.prepare_resources(path, Resources({"memory": {**memory, "disableOOMKiller": True, "useHierarchy": True}}))
    files = ("limit_in_bytes", "memsw.limit_in_bytes", "soft_limit_in_bytes", "swappiness")
    found = values("memory", path, *(f"memory.{file}" for file in files))
    assert found == [str(64 * MEBI), str(96 * MEBI), str(32 * MEBI), "7"]
    assert "oom_kill_disable 1" in values("memory", path, "memory.oom_control")[0]


@pytest.mark.skipif(
    not os.path.exists(f"{MOUNTS.get('memory')}/memory.kmem.tcp.limit_in_bytes"), reason="this kernel has no such limit"
)
def test_buffers_of_tcp_are_limited_and_the_limit_is_lifted(cgroups, path):
    cgroups.prepare_resources(path, Resources({"memory": {"kernelTCP": 32 * MEBI}}))
    assert values("memory", path, "memory.kmem.tcp.limit_in_bytes") == [str(32 * MEBI)]
    cgroups.update_resources(path, Resources({"memory": {"kernelTCP": -1}}))
    assert values("memory", path, "memory.kmem.tcp.limit_in_bytes") == ["9223372036854771712"]


@pytest.mark.parametrize(
    ("limit", "swap"), [(16, 16), (256, 512), (512, -1), (32, 48), (-1, -1), (8, None), (-1, None), (64, 64)]
)
def test_memory_and_swap_go_up_and_down_together(cgroups, path, limit, swap):
    cgroups.prepare_resources(path, Resources({"memory": {"limit": 100 * MEBI, "swap": 200 * MEBI}}))
    memory = {"limit": limit if limit < 0 else limit * MEBI}
    if swap is not None:
        memory["swap"] = swap if swap < 0 else swap * MEBI
    cgroups.update_resources(path, Resources({"memory": memory}))
    unlimited = 9223372036854771712
    wanted_swap = {None: 200 * MEBI if limit > 0 else unlimited, -1: unlimited}.get(swap, (swap or 0) * MEBI)
    found = values("memory", path, "memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
    assert found == [str(unlimited if limit < 0 else limit * MEBI), str(wanted_swap)]


def test_accounting_without_hierarchy_is_told_to_be_gone(cgroups, path):
    with pytest.raises(KernelError, match=r"^linux\.resources\.memory\.useHierarchy: .*knows hierarchies alone"):
        cgroups.prepare_resources(path, Resources({"memory": {"useHierarchy": False}}))
    assert left(path) == []


def test_memory_above_memory_plus_swap_is_told(cgroups, path):
    cgroups.prepare_resources(path, Resources({"memory": {"limit": MEBI, "swap": 2 * MEBI}}))
    with pytest.raises(KernelError, match=r"^linux\.resources\.memory\.limit: .*limit_in_bytes Invalid .*; set both"):
        cgroups.update_resources(path, Resources({"memory": {"limit": 4 * MEBI}}))
    with pytest.raises(InvalidOption, match=r"^linux\.resources\.memory\.swap: "):
        cgroups.update_resources(path, Resources({"memory": {"limit": 4 * MEBI, "swap": MEBI}}))


def test_cpu(cgroups, path):
    cpu = {"shares": 333, "quota": 20_000, "period": 50_000, "burst": 1000, "cpus": "0", "mems": "0", "idle": 0}
    cgroups.prepare_resources(path, Resources({"cpu": cpu}))
    assert values("cpu", path, "cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.cfs_burst_us") == [
        *("333", "20000", "50000", "1000")
    ]
    assert values("cpuset", path, "cpuset.cpus", "cpuset.mems") == ["0", "0"]
    for cpu, expected in [
        ({"quota": 10_000}, ["10000", "50000", "1000"]),
        ({"period": 100_000}, ["10000", "100000", "1000"]),
        ({"quota": 90_000, "burst": 50_000}, ["90000", "100000", "50000"]),
        ({"quota": 5_000, "burst": 0}, ["5000", "100000", "0"]),
        ({"quota": -1}, ["-1", "100000", "0"]),
        ({"shares": 0, "quota": 0, "period": 0}, ["-1", "100000", "0"]),
    ]:
        cgroups.update_resources(path, Resources({"cpu": cpu}))
        assert values("cpu", path, "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.cfs_burst_us") == expected, cpu


def test_a_share_of_a_parents_time_may_have_another_period(cgroups, path):
    """Quota and period go in the order that the kernel takes."""
    os.mkdir(f"{MOUNTS['cpu']}{path}")
    Path(f"{MOUNTS['cpu']}{path}/cpu.cfs_quota_us").write_text("50000")
    inner = f"{path}/inner"
    cgroups.prepare_resources(inner, Resources({"cpu": {"quota": 40_000}}))
    for quota, period in ((3000, 10_000), (400_000, 1_000_000), (3000, 10_000)):
        cgroups.update_resources(inner, Resources({"cpu": {"quota": quota, "period": period}}))
        assert values("cpu", inner, "cpu.cfs_quota_us", "cpu.cfs_period_us") == [str(quota), str(period)]
    with pytest.raises(KernelError, match=r"^linux\.resources\.cpu\.quota: .*no greater part of the time"):
        cgroups.update_resources(inner, Resources({"cpu": {"quota": 9000}}))
    cgroups.destroy(inner)


def test_what_is_idle_has_no_shares(cgroups, path):
    cgroups.prepare_resources(path, Resources({"cpu": {"shares": 500, "idle": 1}}))
    assert values("cpu", path, "cpu.idle") == ["1"]
    cgroups.update_resources(path, Resources({"cpu": {"shares": 600}}))
    assert values("cpu", path, "cpu.idle", "cpu.shares") == ["0", "600"]
    cgroups.update_resources(path, Resources({"cpu": {"idle": 1}}))
    cgroups.update_resources(path, Resources({"cpu": {"idle": 0}}))
    assert values("cpu", path, "cpu.idle", "cpu.shares") == ["0", "1024"]


@pytest.mark.parametrize(("shares", "bound"), [(1, "minimum allowed, 2"), (1 << 20, "maximum allowed, 262144")])
def test_shares_that_the_kernel_clamps_are_told(cgroups, path, shares, bound):
    with pytest.raises(InvalidOption, match=rf"^linux\.resources\.cpu\.shares: {shares} .*{bound}"):
        cgroups.prepare_resources(path, Resources({"cpu": {"shares": shares}}))
    assert left(path) == []


def test_realtime(cgroups, path):
    if not os.path.exists(f"{MOUNTS['cpu']}/cpu.rt_runtime_us"):
        pytest.skip("this kernel has no realtime groups (CONFIG_RT_GROUP_SCHED)")
    os.mkdir(f"{MOUNTS['cpu']}{path}")
    try:
        Path(f"{MOUNTS['cpu']}{path}/cpu.rt_runtime_us").write_text("10000")
    except OSError:
        pytest.skip("other cgroups of this host have been given all its realtime")
    cpu = {"realtimeRuntime": 5000, "realtimePeriod": 500_000}
    cgroups.prepare_resources(path, Resources({"cpu": cpu}))
    assert values("cpu", path, "cpu.rt_runtime_us", "cpu.rt_period_us") == ["5000", "500000"]
    cgroups.update_resources(path, Resources({"cpu": {"realtimeRuntime": 900, "realtimePeriod": 100_000}}))
    assert values("cpu", path, "cpu.rt_runtime_us", "cpu.rt_period_us") == ["900", "100000"]
    with pytest.raises(KernelError, match=r"^linux\.resources\.cpu\.realtimeRuntime: .*the parent cgroup has less"):
        cgroups.update_resources(path, Resources({"cpu": {"realtimeRuntime": 100_001}}))


@pytest.mark.parametrize(
    ("cpu", "told"),
    [
        ({"cpus": "4000"}, r"linux\.resources\.cpu\.cpus: writing '4000': .*this host does not have all of them"),
        ({"mems": "77"}, r"linux\.resources\.cpu\.mems: writing '77': .*this host does not have all of them"),
        ({"period": 100}, r"linux\.resources\.cpu\.period: writing 100: .*a period is 1000 to 1000000 us"),
        ({"quota": 10}, r"linux\.resources\.cpu\.quota: writing 10: .*a quota at least 1000 us"),
    ],
)
def test_what_the_kernel_refuses_is_told_by_its_json_path(cgroups, path, cpu, told):
    with pytest.raises(KernelError, match=told):
        cgroups.prepare_resources(path, Resources({"cpu": cpu}))
    assert left(path) == []


@pytest.mark.parametrize(("limit", "found"), [(7, "7"), (0, "1"), (-1, "max"), (4_194_304, "max")])
def test_pids(cgroups, path, limit, found):
    if limit > 4_000_000:
        with pytest.raises(KernelError, match=r"^linux\.resources\.pids\.limit: .*more than a kernel can have"):
            cgroups.prepare_resources(path, Resources({"pids": {"limit": limit + 1}}))
        return
    cgroups.prepare_resources(path, Resources({"pids": {"limit": limit}}))
    assert values("pids", path, "pids.max") == [found]
    cgroups.update_resources(path, Resources({"pids": {"limit": None}}))
    assert values("pids", path, "pids.max") == [found]


def test_block_io_by_device(cgroups, path, device):
    _name, major, minor = device
    where = {"major": major, "minor": minor}
    throttles = {"throttleReadBpsDevice": 1000, "throttleWriteBpsDevice": 2000, "throttleReadIOPSDevice": 30}
    throttles["throttleWriteIOPSDevice"] = 40
    block_io = {name: [{**where, "rate": rate}] for name, rate in throttles.items()}
    weights = {"weight": 333, "weightDevice": [{**where, "weight": 444}]}
    cgroups.prepare_resources(path, Resources({"blockIO": {**block_io, **weights}}))
    files = ("read_bps", "write_bps", "read_iops", "write_iops")
    found = values("blkio", path, *(f"blkio.throttle.{file}_device" for file in files))
    assert found == [f"{major}:{minor} {rate}" for rate in (1000, 2000, 30, 40)]
    assert values("blkio", path, "blkio.bfq.weight_device")[0].splitlines() == ["default 333", f"{major}:{minor} 444"]
    off = {"throttleReadBpsDevice": [{**where, "rate": 0}], "weight": 111}
    cgroups.update_resources(path, Resources({"blockIO": off}))
    assert values("blkio", path, "blkio.throttle.read_bps_device", "blkio.bfq.weight") == ["", "111"]


def test_block_io_that_cannot_be_is_told(cgroups, path):
    gone = {"throttleReadBpsDevice": [{"major": 250, "minor": 77, "rate": 1}]}
    told = r"^linux\.resources\.blockIO\.throttleReadBpsDevice\[0\]: writing '250:77 1': .*there is no such"
    with pytest.raises(KernelError, match=told):
        cgroups.prepare_resources(path, Resources({"blockIO": gone}))
    with pytest.raises(Unsupported, match=r"^linux\.resources\.blockIO\.leafWeight: this kernel has no blkio\.leaf_"):
        cgroups.prepare_resources(path, Resources({"blockIO": {"leafWeight": 500}}))
    with pytest.raises(KernelError, match=r"^linux\.resources\.blockIO\.weight: .*takes no such"):
        cgroups.prepare_resources(path, Resources({"blockIO": {"weight": 5000}}))
    assert left(path) == []


def test_huge_pages_of_a_hybrid_host_are_in_its_v2_tree(cgroups, path):
    available = (Path(UNIFIED) / "cgroup.controllers").read_text().split() if UNIFIED else []
    if "hugetlb" in MOUNTS or "hugetlb" not in available:
        pytest.skip("hugetlb is not in the v2 tree of this host")
    cgroups.prepare_resources(path, Resources({"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MEBI}]}))
    directory = Path(UNIFIED + path)
    assert (directory / "hugetlb.2MB.max").read_text().strip() == str(4 * MEBI)
    assert (directory / "hugetlb.2MB.rsvd.max").read_text().strip() == str(4 * MEBI)
    with pytest.raises(InvalidOption, match=r"^linux\.resources\.hugepageLimits\[0\]\.pageSize: '3MB' .*2MB"):
        cgroups.update_resources(path, Resources({"hugepageLimits": [{"pageSize": "3MB", "limit": 1}]}))
    cgroups.update_resources(path, Resources({"unified": {"hugetlb.2MB.max": "2097152"}}))
    assert (directory / "hugetlb.2MB.max").read_text().strip() == str(2 * MEBI)


@pytest.mark.parametrize(
    ("resources", "controller", "told"),
    [
        (
            {"network": {"classID": 1048577}},
            "net_cls",
            r"linux\.resources\.network\.classID: .* no 'net_cls'",
        ),
        (
            {"network": {"priorities": [{"name": "lo", "priority": 3}]}},
            "net_prio",
            r"linux\.resources\.network\.priorities: this host has no 'net_prio'",
        ),
        ({"rdma": {"mlx5_1": {"hcaHandles": 3}}}, "rdma", r"linux\.resources\.rdma: this host has no 'rdma'"),
        ({"unified": {"memory.min": "1"}}, "", r"linux\.resources\.unified: invalid configuration: memory\.min is"),
    ],
)
def test_a_controller_that_the_host_lacks_is_told(cgroups, path, resources, controller, told):
    if controller in MOUNTS:
        pytest.skip(f"this host has {controller}")
    with pytest.raises(Unsupported, match=told):
        cgroups.prepare_resources(path, Resources(resources))
    assert left(path) == []


def test_a_container_is_at_the_root_of_no_hierarchy(cgroups, path):
    """Else it would reach release_agent, and cgroups that are not its own."""
    cgroups.prepare_resources(path, Resources({}))
    trees = {os.path.dirname(file)[: -len(path)] for file in cgroups.task_files(path)}
    assert trees == {*MOUNTS.values(), *NAMED}
    assert cgroups.payload_directory(path) == (UNIFIED + path if UNIFIED else "")
    with member(cgroups, path) as pid:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
        assert {line.split(":", 2)[2] for line in lines if not line.startswith("0:")} == {path}


def test_a_cgroup_that_is_taken_or_frozen_is_refused(cgroups, path):
    cgroups.prepare_resources(path, Resources({}))
    told = f"container's cgroup is not empty: {path} still holds the processes "
    with member(cgroups, path) as pid, pytest.raises(Conflict, match=f"{told}{pid}"):
        cgroups.prepare_resources(path, Resources({}))
    cgroups.destroy(path)
    os.mkdir(f"{MOUNTS['freezer']}{path}")
    Path(f"{MOUNTS['freezer']}{path}/freezer.state").write_text("FROZEN")
    with pytest.raises(Conflict, match="container's cgroup unexpectedly frozen"):
        cgroups.prepare_resources(path, Resources({}))
    assert left(path) == [f"{MOUNTS['freezer']}{path}"]


def test_a_frozen_container_is_seen_updated_and_killed(cgroups, path):
    cgroups.prepare_resources(path, Resources({}))
    assert not cgroups.is_frozen(path)
    with member(cgroups, path) as pid:
        cgroups.freeze(path, True)
        assert cgroups.is_frozen(path)
        cgroups.update_resources(path, Resources({"pids": {"limit": 5}, "cpu": {"shares": 77}}))
        assert cgroups.is_frozen(path)
        cgroups.kill(path)
        assert os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT).si_status == 9


def test_an_update_of_what_is_gone_is_told(cgroups, path):
    with pytest.raises(NotFound):
        cgroups.update_resources(path, Resources({"pids": {"limit": 5}}))
    assert left(path) == []


def test_what_was_there_before_a_failure_stays(cgroups, path):
    os.mkdir(f"{MOUNTS['cpu']}{path}")
    with pytest.raises(EngineError):
        cgroups.prepare_resources(path, Resources({"cpu": {"quota": 1}}))
    assert left(path) == [f"{MOUNTS['cpu']}{path}"]


def test_a_parent_that_comes_and_goes_is_made_again():
    """Another runtime's last container may take the parent along at any moment."""
    mount, parent = MOUNTS["pids"], f"stowage-test-{uuid.uuid4().hex[:10]}"
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writer)
        while not select.select([reader], [], [], 0)[0]:
            for _time in range(100):
                with contextlib.suppress(OSError):
                    os.rmdir(f"{mount}/{parent}")
        os._exit(0)
    try:
        for number in range(2000):
            make_cgroups(mount, f"{parent}/{number}")
            os.rmdir(f"{mount}/{parent}/{number}")
    finally:
        os.close(writer)
        os.waitpid(pid, 0)
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(f"{mount}/{parent}")
