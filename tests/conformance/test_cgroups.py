# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""config-linux.md, Control groups: where a container's cgroup is, whose, and what it limits.

As long as that chapter of the specification, in its order.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.waiting import wait_for

from .box import Refused
from .cgroups import CGROUPS, a_block_device, check, is_v2, is_weighed, missing, needs, no_real_time

item = pytest.mark.item
MIB = 1 << 20


def memberships(box):
    """Each hierarchy's path of the container's init, by its controllers."""
    found = {}
    for line in Path(f"/proc/{box.pid()}/cgroup").read_text().splitlines():
        _number, controllers, path = line.split(":", 2)
        found[controllers] = path
    return found


@item("config-linux/cgroupsPath/absolute")
def test_an_absolute_path_is_below_the_mount_point(box):
    box.linux["cgroupsPath"] = f"/stowage-test-deep/{box.id}"
    box.create()
    found = memberships(box)
    assert all(found[name] == f"/stowage-test-deep/{box.id}" for name in found if name in ("memory", "pids", "cpu"))
    if is_v2():
        assert found[""] == f"/stowage-test-deep/{box.id}"
    box.must("delete", "--force", box.id)
    for directory in CGROUPS.glob("*/stowage-test-deep"):
        shutil.rmtree(directory) if not (directory / "cgroup.procs").exists() else directory.rmdir()


@item("config-linux/cgroupsPath/relative")
def test_a_relative_path_is_somewhere_below(box):
    box.linux["cgroupsPath"] = box.id
    box.create()
    assert any(path.endswith(f"/{box.id}") for path in memberships(box).values())


@item("config-linux/cgroupsPath/same value, same place")
def test_the_same_value_is_the_same_place(box):
    box.linux["cgroupsPath"] = box.id
    box.create()
    first = memberships(box)
    box.must("delete", "--force", box.id)
    box.create()
    assert memberships(box) == first


@item("config-linux/cgroupsPath/created")
def test_a_missing_cgroup_is_created(box):
    assert box.cgroups() == []
    box.create()
    assert box.cgroups() != []


@item("config-linux/cgroupsPath/unset")
def test_a_container_without_a_path(box):
    del box.linux["cgroupsPath"]
    assert box.sh("echo inside") == "inside"


@item("config-linux/cgroupsPath/out of the hierarchy")
def test_a_path_does_not_lead_out_of_the_hierarchy(box):
    box.linux["cgroupsPath"] = f"/../../../../tmp/{box.id}"
    box.run("true")
    outside = Path(f"/tmp/{box.id}")
    found = outside.exists()
    shutil.rmtree(outside, ignore_errors=True)
    assert not found
    assert not (CGROUPS / box.id).exists() or is_v2()


@item("config-linux/cgroup ownership/v1 is left alone")
def test_the_owner_of_a_cgroup_of_v1_stays(box):
    if is_v2():
        pytest.skip("not on this host: it has cgroup v2 alone")
    box.map_users()
    box.namespace("cgroup")
    box.mount("/sys/fs/cgroup", source="cgroup", kind="cgroup")
    box.create()
    owners = {os.stat(os.path.join(path, "cgroup.procs")).st_uid for path in box.cgroups() if "unified" not in path}
    assert owners == {0}


@item("config-linux/resources/none")
def test_a_container_without_resources(box):
    del box.linux["resources"]
    assert box.sh("echo inside") == "inside"


# The list of devices

FUSE = {"type": "c", "major": 10, "minor": 229}
DENY_ALL = {"allow": False, "access": "rwm"}
# Rules, whether /dev/fuse can be read, and whether it can be written.
RULES = {
    "deny all": ([DENY_ALL], False, False),
    "allow one": ([DENY_ALL, {"allow": True, **FUSE, "access": "rwm"}], True, True),
    "access r": ([DENY_ALL, {"allow": True, **FUSE, "access": "r"}], True, False),
    "access w": ([DENY_ALL, {"allow": True, **FUSE, "access": "w"}], False, True),
    "order": (
        [DENY_ALL, {"allow": True, **FUSE, "access": "rwm"}, {"allow": False, **FUSE, "access": "w"}],
        True,
        False,
    ),
    "another device": (
        [DENY_ALL, {"allow": True, "type": "c", "major": 10, "minor": 200, "access": "rwm"}],
        False,
        False,
    ),
    "another type": ([DENY_ALL, {"allow": True, **FUSE, "type": "b", "access": "rwm"}], False, False),
    "every minor": ([DENY_ALL, {"allow": True, "type": "c", "major": 10, "access": "rwm"}], True, True),
    "every major": ([DENY_ALL, {"allow": True, "type": "c", "access": "rwm"}], True, True),
    "type a": ([DENY_ALL, {"allow": True, "type": "a", "access": "rwm"}], True, True),
    "allow all but one": ([{"allow": True, "access": "rwm"}, {"allow": False, **FUSE, "access": "rwm"}], False, False),
}


@item("config-linux/resources/devices/{rules}")
@pytest.mark.parametrize("rules", RULES)
def test_the_list_of_devices(box, rules):
    if not os.path.exists("/dev/fuse"):
        pytest.skip("not on this machine: it has no /dev/fuse to open")
    box.linux["devices"] = [{"path": "/dev/fuse", **FUSE}]
    box.resources["devices"], reads, writes = RULES[rules]
    said = box.sh("(: < /dev/fuse) 2>/dev/null && echo r; (: > /dev/fuse) 2>/dev/null && echo w; true")
    assert said.split() == ["r"] * reads + ["w"] * writes


@item("config-linux/resources/devices/access m")
def test_the_list_of_devices_allows_making_them(box):
    box.resources["devices"] = [DENY_ALL, {"allow": True, **FUSE, "access": "m"}]
    assert box.sh("mknod /data/fuse c 10 229 && (: < /data/fuse) 2>/dev/null || echo made alone") == "made alone"


@item("config-linux/resources/devices/{wrong}")
@pytest.mark.parametrize("wrong", ["unknown type", "unknown access"])
def test_a_wrong_list_of_devices_is_refused(box, wrong):
    entry = {"allow": True, **FUSE, "access": "rwm"}
    entry.update({"type": "x"} if wrong == "unknown type" else {"access": "z"})
    box.resources["devices"] = [entry]
    box.refuse()


# Memory


@item("config-linux/resources/memory/limit")
def test_the_limit_of_memory(box):
    box.resources["memory"] = {"limit": 64 * MIB}
    check(box, "memory", ("memory.limit_in_bytes", str(64 * MIB)), ("memory.max", str(64 * MIB)))


@item("config-linux/resources/memory/limit/enforced")
def test_a_program_over_the_limit_is_killed(box):
    box.resources["memory"] = {"limit": 16 * MIB}
    done = box.run("sh", "-c", "head -c 100000000 /dev/zero | tail -c 90000000 > /dev/null; echo $?")
    assert done.returncode != 0 or done.stdout.split()[-1] != "0"


@item("config-linux/resources/memory/limit/-1")
def test_minus_one_is_no_limit(box):
    box.resources["memory"] = {"limit": -1}
    unlimited = (CGROUPS / "memory/memory.limit_in_bytes").read_text().strip() if not is_v2() else ""
    check(box, "memory", ("memory.limit_in_bytes", unlimited), ("memory.max", "max"))


@item("config-linux/resources/memory/reservation")
def test_the_reservation_of_memory(box):
    box.resources["memory"] = {"reservation": 32 * MIB}
    check(box, "memory", ("memory.soft_limit_in_bytes", str(32 * MIB)), ("memory.low", str(32 * MIB)))


@item("config-linux/resources/memory/swap")
def test_the_limit_of_memory_and_swap(box):
    box.resources["memory"] = {"limit": 32 * MIB, "swap": 64 * MIB}
    check(box, "memory", ("memory.memsw.limit_in_bytes", str(64 * MIB)), ("memory.swap.max", str(32 * MIB)))


@item("config-linux/resources/memory/kernel")
def test_the_limit_of_kernel_memory(box):
    """Not recommended, and without effect since Linux 5.16: accepted and ignored, or refused."""
    box.resources["memory"] = {"limit": 64 * MIB, "kernel": 32 * MIB}
    done = box.run("true")
    box.note = "ignored" if done.returncode == 0 else "refused"


@item("config-linux/resources/memory/kernelTCP")
def test_the_limit_of_tcp_buffers(box):
    box.resources["memory"] = {"kernelTCP": 32 * MIB}
    # Where cgroup v1 has no such file, a runtime may ignore what is not recommended.
    if missing("memory", "memory.kmem.tcp.limit_in_bytes") or is_v2():
        done = box.run("true")
        box.note = "not on this kernel: " + ("ignored" if done.returncode == 0 else "refused")
        return
    box.create()
    found = box.cgroup("memory", "memory.kmem.tcp.limit_in_bytes")
    box.note = "" if found == str(32 * MIB) else "ignored, as not recommended"


@item("config-linux/resources/memory/swappiness")
def test_the_swappiness(box):
    box.resources["memory"] = {"swappiness": 17}
    check(box, "memory", ("memory.swappiness", "17"))


@item("config-linux/resources/memory/swappiness/out of range")
def test_a_swappiness_over_a_hundred_is_refused(box):
    box.resources["memory"] = {"swappiness": 500}
    box.refuse_to_run()


@item("config-linux/resources/memory/disableOOMKiller")
def test_the_oom_killer_can_be_disabled(box):
    box.resources["memory"] = {"limit": 64 * MIB, "disableOOMKiller": True}
    if needs("memory", "memory.oom_control", "", box):
        box.create()
        assert "oom_kill_disable 1" in box.cgroup("memory", "memory.oom_control")


@item("config-linux/resources/memory/useHierarchy")
def test_hierarchical_accounting(box):
    box.resources["memory"] = {"useHierarchy": True}
    check(box, "memory", ("memory.use_hierarchy", "1"), ("memory.max", "max"))


@item("config-linux/resources/memory/checkBeforeUpdate")
def test_a_limit_below_the_usage_is_refused(box):
    box.resources["memory"] = {"limit": 256 * MIB}
    # A page cache could be reclaimed; what lies in a tmpfs cannot, without swap.
    box.mount("/data", "size=128m")
    box.start(script="head -c 64000000 /dev/zero > /data/file; echo ready; exec sleep 60")
    ready(box)
    wanted = {"memory": {"limit": 8 * MIB, "checkBeforeUpdate": True}}
    (box.directory / "resources.json").write_text(json.dumps(wanted))
    with pytest.raises(Refused):
        box.must("update", "--resources", str(box.directory / "resources.json"), box.id)
    assert box.status() == "running"
    assert box.cgroup("memory", "memory.limit_in_bytes", "memory.max") == str(256 * MIB)


def ready(box):
    wait_for(lambda: "ready" in box.output(), "word from the container")


# CPU


@item("config-linux/resources/cpu/shares")
def test_shares(box):
    box.resources["cpu"] = {"shares": 512}
    check(box, "cpu", ("cpu.shares", "512"), ("cpu.weight", "20"))


@item("config-linux/resources/cpu/quota and period")
def test_quota_and_period(box):
    box.resources["cpu"] = {"quota": 25000, "period": 50000}
    if is_v2():
        check(box, "cpu", ("", ""), ("cpu.max", "25000 50000"))
        return
    box.create()
    assert box.cgroup("cpu", "cpu.cfs_quota_us") == "25000"
    assert box.cgroup("cpu", "cpu.cfs_period_us") == "50000"


@item("config-linux/resources/cpu/quota/-1")
def test_no_quota(box):
    box.resources["cpu"] = {"quota": -1}
    check(box, "cpu", ("cpu.cfs_quota_us", "-1"), ("cpu.max", "max 100000"))


@item("config-linux/resources/cpu/period")
def test_a_period_alone(box):
    box.resources["cpu"] = {"period": 50000}
    check(box, "cpu", ("cpu.cfs_period_us", "50000"), ("cpu.max", "max 50000"))


@item("config-linux/resources/cpu/burst")
def test_burst(box):
    box.resources["cpu"] = {"quota": 50000, "burst": 20000}
    check(box, "cpu", ("cpu.cfs_burst_us", "20000"), ("cpu.max.burst", "20000"))


@item("config-linux/resources/cpu/burst/above the quota")
def test_a_burst_above_the_quota_is_refused(box):
    box.resources["cpu"] = {"quota": 50000, "burst": 60000}
    box.refuse_to_run()


@item("config-linux/resources/cpu/realtimeRuntime and realtimePeriod")
def test_real_time(box):
    box.resources["cpu"] = {"realtimeRuntime": 1000, "realtimePeriod": 500000}
    if needs("cpu", "cpu.rt_runtime_us", "", box, wrong=no_real_time()):
        box.create()
        assert box.cgroup("cpu", "cpu.rt_runtime_us") == "1000"
        assert box.cgroup("cpu", "cpu.rt_period_us") == "500000"


@item("config-linux/resources/cpu/cpus")
def test_cpus(box):
    cpu = str(max(os.sched_getaffinity(0)))
    box.resources["cpu"] = {"cpus": cpu}
    check(box, "cpuset", ("cpuset.cpus", cpu), ("cpuset.cpus", cpu))


@item("config-linux/resources/cpu/cpus/not there")
def test_a_cpu_that_is_not_there_is_refused(box):
    box.resources["cpu"] = {"cpus": "4000"}
    box.refuse_to_run()


@item("config-linux/resources/cpu/mems")
def test_mems(box):
    box.resources["cpu"] = {"mems": "0"}
    check(box, "cpuset", ("cpuset.mems", "0"), ("cpuset.mems", "0"))


@item("config-linux/resources/cpu/idle")
def test_idle(box):
    box.resources["cpu"] = {"idle": 1}
    check(box, "cpu", ("cpu.idle", "1"), ("cpu.idle", "1"))


# Block IO


@item("config-linux/resources/blockIO/weight")
def test_the_weight_of_block_io(box):
    box.resources["blockIO"] = {"weight": 300}
    if not missing("blkio", "blkio.bfq.weight") or not missing("blkio", "blkio.weight", "io.weight"):
        box.create()
        assert "300" in box.cgroup("blkio", "blkio.bfq.weight", "io.bfq.weight")
        return
    needs("blkio", "", "", box, wrong="its blkio controller has neither blkio.weight nor blkio.bfq.weight")


@item("config-linux/resources/blockIO/leafWeight")
def test_the_leaf_weight_of_block_io(box):
    box.resources["blockIO"] = {"leafWeight": 300}
    check(box, "blkio", ("blkio.leaf_weight", "300"))


@item("config-linux/resources/blockIO/weightDevice")
def test_the_weight_of_block_io_for_a_device(box):
    major, minor = a_block_device()
    box.resources["blockIO"] = {"weightDevice": [{"major": major, "minor": minor, "weight": 400}]}
    wrong = "" if any(map(is_weighed, Path("/sys/block").iterdir())) else "bfq schedules none of its block devices"
    if needs("blkio", "blkio.bfq.weight_device", "io.bfq.weight", box, wrong=wrong):
        box.create()
        assert f"{major}:{minor} 400" in box.cgroup("blkio", "blkio.bfq.weight_device", "io.bfq.weight")


THROTTLES = {
    "throttleReadBpsDevice": ("blkio.throttle.read_bps_device", "rbps"),
    "throttleWriteBpsDevice": ("blkio.throttle.write_bps_device", "wbps"),
    "throttleReadIOPSDevice": ("blkio.throttle.read_iops_device", "riops"),
    "throttleWriteIOPSDevice": ("blkio.throttle.write_iops_device", "wiops"),
}


@item("config-linux/resources/blockIO/{name}")
@pytest.mark.parametrize("name", THROTTLES)
def test_the_rate_of_block_io(box, name):
    major, minor = a_block_device()
    box.resources["blockIO"] = {name: [{"major": major, "minor": minor, "rate": 102400}]}
    v1, v2 = THROTTLES[name]
    if needs("blkio", v1, "io.max", box):
        box.create()
        found = box.cgroup("blkio", v1, "io.max")
        assert f"{major}:{minor} 102400" in found or f"{v2}=102400" in found


# The others


@item("config-linux/resources/hugepageLimits")
def test_limits_of_huge_pages(box):
    sizes = os.listdir("/sys/kernel/mm/hugepages") if os.path.isdir("/sys/kernel/mm/hugepages") else []
    if not sizes:
        pytest.skip("not on this kernel: it has no huge pages")
    box.resources["hugepageLimits"] = [{"pageSize": "2MB", "limit": 4 * MIB}]
    try:
        box.create()
    except Refused:
        assert not (CGROUPS / "hugetlb").is_mount()
        assert not is_v2()
        box.note = "not on this host: the hugetlb controller is on no hierarchy of v1; refused, as it should be"
        return
    names = ("hugetlb.2MB.rsvd.limit_in_bytes", "hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.rsvd.max", "hugetlb.2MB.max")
    found = [Path(path, name) for path in box.cgroups() for name in names]
    assert str(4 * MIB) in {path.read_text().strip() for path in found if path.exists()}


@item("config-linux/resources/hugepageLimits/unknown size")
def test_a_size_of_pages_that_the_kernel_does_not_have_is_refused(box):
    box.resources["hugepageLimits"] = [{"pageSize": "3MB", "limit": 4 * MIB}]
    box.refuse_to_run()


@item("config-linux/resources/network/classID")
def test_the_class_of_packets(box):
    box.resources["network"] = {"classID": 1048577}
    check(box, "net_cls", ("net_cls.classid", "1048577"))


@item("config-linux/resources/network/priorities")
def test_the_priorities_of_packets(box):
    box.resources["network"] = {"priorities": [{"name": "lo", "priority": 5}]}
    if needs("net_prio", "net_prio.ifpriomap", "", box):
        box.create()
        assert "lo 5" in box.cgroup("net_prio", "net_prio.ifpriomap")


@item("config-linux/resources/pids/limit")
def test_the_number_of_processes(box):
    box.resources["pids"] = {"limit": 37}
    check(box, "pids", ("pids.max", "37"), ("pids.max", "37"))


@item("config-linux/resources/pids/limit/enforced")
def test_more_processes_than_allowed_cannot_be(box):
    box.resources["pids"] = {"limit": 5}
    said = box.run("sh", "-c", "for n in 1 2 3 4 5 6 7 8; do sleep 5 & done; echo never").stdout
    assert "never" not in said


@item("config-linux/resources/pids/limit/-1")
def test_minus_one_is_any_number_of_processes(box):
    box.resources["pids"] = {"limit": -1}
    check(box, "pids", ("pids.max", "max"), ("pids.max", "max"))


@item("config-linux/resources/rdma")
def test_limits_of_rdma(box):
    box.resources["rdma"] = {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}}
    device = os.path.isdir("/sys/class/infiniband/mlx5_1")
    needs("rdma", "rdma.max", "rdma.max", box, wrong="" if device else "it has no RDMA device mlx5_1")


@item("config-linux/resources/unified")
def test_parameters_of_v2(box):
    box.resources["unified"] = {"memory.high": str(64 * MIB)}
    wrong = "" if is_v2() else "the memory controller is not on cgroup v2"
    if needs("memory", "", "memory.high", box, wrong=wrong):
        box.create()
        assert box.cgroup("memory", "", "memory.high") == str(64 * MIB)


@item("config-linux/resources/unified/unknown controller")
def test_parameters_of_a_controller_that_is_not_there_are_refused(box):
    box.resources["unified"] = {"nothing.max": "1"}
    box.refuse_to_run()
