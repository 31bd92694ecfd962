# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``linux.resources`` in the files of a fake v2 tree, and as properties of systemd's."""

from __future__ import annotations

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.cgroup.properties import (
    INFINITY,
    legacy_properties,
    resource_properties,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.cgroup.resources import Resources
from ansible_collections.stowage.engine.plugins.module_utils._engine.cgroup.scope import parse_properties
from ansible_collections.stowage.engine.plugins.module_utils._engine.cgroup.units import cpu_mask
from ansible_collections.stowage.engine.plugins.module_utils._engine.cgroup.v1.cpu import write_cpu as write_cpu_v1
from ansible_collections.stowage.engine.plugins.module_utils._engine.cgroup.v1.network import (
    write_class,
    write_priorities,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.cgroup.v2.ownership import find_owner
from ansible_collections.stowage.engine.plugins.module_utils._engine.cgroup.v2.resources import (
    check_resources,
    required_controllers,
    write_resources,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import (
    Conflict,
    InvalidOption,
    Unsupported,
)

MEBI = 1 << 20
ALL = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma")
FILES = {
    "memory.max": "max",
    "memory.swap.max": "max",
    "memory.low": "0",
    "memory.current": "1000000",
    "cpu.max": "max 100000",
    "cpu.max.burst": "0",
    "cpu.weight": "100",
    "cpu.idle": "0",
    "cpuset.cpus": "",
    "cpuset.mems": "",
    "pids.max": "max",
    "io.max": "",
    "hugetlb.2MB.max": "max",
    "hugetlb.2MB.rsvd.max": "max",
    "hugetlb.1GB.max": "max",
    "rdma.max": "",
    "memory.high": "max",
}


@pytest.fixture
def cgroup(tmp_path):
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    return tmp_path


def changed(cgroup):
    """What is in the files now that differs from the start."""
    found = {path.name: path.read_text() for path in cgroup.iterdir()}
    return {name: text for name, text in found.items() if text != FILES.get(name)}


def write(cgroup, values):
    resources = Resources(values)
    check_resources(resources, ALL, "/sys/fs/cgroup")
    write_resources(str(cgroup), resources)
    return changed(cgroup)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, {}),
        ({"memory": None, "cpu": {}, "pids": {"limit": None}, "blockIO": {"weight": 0}, "unified": {}}, {}),
        ({"memory": {"limit": 0, "swap": 0, "kernel": 1, "kernelTCP": -1, "checkBeforeUpdate": True}}, {}),
        ({"memory": {"limit": 64 * MEBI}}, {"memory.max": str(64 * MEBI)}),
        ({"memory": {"limit": 64, "swap": 96}}, {"memory.max": "64", "memory.swap.max": "32"}),
        ({"memory": {"limit": 64, "swap": 64}}, {"memory.max": "64", "memory.swap.max": "0"}),
        ({"memory": {"limit": 64, "swap": -1, "reservation": 5}}, {"memory.max": "64", "memory.low": "5"}),
        ({"memory": {"disableOOMKiller": False, "useHierarchy": True}}, {}),
        ({"cpu": {"shares": 1024}}, {}),
        ({"cpu": {"shares": 1}}, {"cpu.weight": "1"}),
        ({"cpu": {"shares": 2048}}, {"cpu.weight": "174"}),
        ({"cpu": {"quota": 5000}}, {"cpu.max": "5000 100000"}),
        ({"cpu": {"period": 50_000}}, {"cpu.max": "max 50000"}),
        ({"cpu": {"quota": -1, "period": 50_000}}, {"cpu.max": "max 50000"}),
        ({"cpu": {"quota": 5000, "period": 50_000, "burst": 4}}, {"cpu.max": "5000 50000", "cpu.max.burst": "4"}),
        ({"cpu": {"idle": 1}}, {"cpu.idle": "1"}),
        ({"cpu": {"cpus": "0-1,3", "mems": "0"}}, {"cpuset.cpus": "0-1,3", "cpuset.mems": "0"}),
        ({"pids": {"limit": 7}}, {"pids.max": "7"}),
        ({"pids": {"limit": 0}}, {"pids.max": "1"}),
        ({"pids": {"limit": -1}}, {}),
        (
            {"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 5}]}},
            {"io.max": "8:0 rbps=5"},
        ),
        (
            {"blockIO": {"throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 0}]}},
            {"io.max": "8:0 wiops=max"},
        ),
        (
            {"hugepageLimits": [{"pageSize": "2MB", "limit": 5}, {"pageSize": "1GB", "limit": 6}]},
            {"hugetlb.2MB.max": "5", "hugetlb.2MB.rsvd.max": "5", "hugetlb.1GB.max": "6"},
        ),
        ({"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 9}}}, {"rdma.max": "mlx5_1 hca_handle=3 hca_object=9"}),
        ({"rdma": {"rxe3": {"hcaObjects": 9}}}, {"rdma.max": "rxe3 hca_object=9"}),
        (
            {"memory": {"limit": 64}, "unified": {"memory.max": "99", "memory.high": "70"}},
            {"memory.max": "99", "memory.high": "70"},
        ),
        ({"unified": {"cpu.weight": "5", "cpu.idle": "1"}}, {"cpu.idle": "1"}),
    ],
)
def test_what_is_asked_for_is_written_and_no_more(cgroup, values, expected):
    assert write(cgroup, values) == expected


def test_a_new_limit_of_memory_keeps_the_sum_in_force(cgroup):
    (cgroup / "memory.max").write_text("64")
    (cgroup / "memory.swap.max").write_text("32")
    assert write(cgroup, {"memory": {"limit": 80}})["memory.swap.max"] == "16"
    with pytest.raises(InvalidOption, match=r"^linux\.resources\.memory\.swap: 96 is not valid"):
        write(cgroup, {"memory": {"limit": 97}})
    assert write(cgroup, {"memory": {"swap": 100}})["memory.swap.max"] == "20"
    assert changed(cgroup)["memory.max"] == "80"
    write(cgroup, {"memory": {"limit": -1}})
    assert changed(cgroup) == {}


def test_a_quota_alone_keeps_the_period_and_the_other_way_round(cgroup):
    (cgroup / "cpu.max").write_text("500000 1000000")
    assert write(cgroup, {"cpu": {"period": 900_000}})["cpu.max"] == "500000 900000"
    assert write(cgroup, {"cpu": {"quota": 600_000}})["cpu.max"] == "600000 900000"
    assert write(cgroup, {"cpu": {"quota": -1}})["cpu.max"] == "max 900000"


def test_what_is_idle_gets_its_weight_back(cgroup):
    (cgroup / "cpu.idle").write_text("1")
    assert write(cgroup, {"cpu": {"shares": 2048}}) == {"cpu.weight": "174"}
    (cgroup / "cpu.idle").write_text("1")
    assert write(cgroup, {"unified": {"cpu.weight": "8"}}) == {"cpu.weight": "8"}


@pytest.mark.parametrize(
    ("bfq", "expected"),
    [
        (True, {"io.bfq.weight": "8:0 20"}),
        (False, {"io.weight": "8:0 102"}),
    ],
)
def test_weights_of_devices_go_to_the_scheduler_that_has_them(cgroup, bfq, expected):
    (cgroup / ("io.bfq.weight" if bfq else "io.weight")).write_text("")
    block_io = {"weight": 1000, "weightDevice": [{"major": 8, "minor": 0, "weight": 20}]}
    assert write(cgroup, {"blockIO": block_io}) == expected


def test_a_weight_of_a_device_that_is_0_asks_for_nothing(cgroup):
    """So go's programs write what is not there; ``leafWeight`` of v1 too."""
    (cgroup / "io.weight").write_text("")
    for given in ({"leafWeight": 0}, {"weight": 0}):
        assert write(cgroup, {"blockIO": {"weightDevice": [{"major": 8, "minor": 0, **given}]}}) == {"io.weight": ""}


@pytest.mark.parametrize(
    ("limit", "told"), [({"limit": 1000}, "rejecting memory limit"), ({"swap": 2000}, r"rejecting memory\+swap limit")]
)
def test_a_limit_below_what_is_used_is_rejected_where_that_is_asked_for(cgroup, limit, told):
    with pytest.raises(Conflict, match=told):
        write(cgroup, {"memory": {"limit": 1000, **limit, "checkBeforeUpdate": True}})
    assert changed(cgroup) == {}
    write(cgroup, {"memory": {"limit": 2 * MEBI, "checkBeforeUpdate": True}})
    assert changed(cgroup) == {"memory.max": str(2 * MEBI)}


@pytest.mark.parametrize(
    ("values", "option"),
    [
        ({"memory": {"swappiness": 5}}, "memory.swappiness"),
        ({"memory": {"disableOOMKiller": True}}, "memory.disableOOMKiller"),
        ({"memory": {"useHierarchy": False}}, "memory.useHierarchy"),
        ({"cpu": {"realtimeRuntime": 5}}, "cpu.realtimeRuntime"),
        ({"cpu": {"realtimePeriod": 5}}, "cpu.realtimePeriod"),
        ({"blockIO": {"leafWeight": 5}}, "blockIO.leafWeight"),
        (
            {"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "leafWeight": 5}]}},
            "blockIO.weightDevice[0].leafWeight",
        ),
        ({"network": {"classID": 5}}, "network.classID"),
        ({"network": {"priorities": [{"name": "lo", "priority": 1}]}}, "network.priorities"),
    ],
)
def test_what_v2_lacks_is_told(cgroup, values, option):
    with pytest.raises(Unsupported) as caught:
        write(cgroup, values)
    assert str(caught.value).startswith(f"linux.resources.{option}: cgroup v2 has nothing like it")
    assert changed(cgroup) == {}


def test_a_size_of_page_that_is_not_there_is_told_with_those_that_are(cgroup):
    with pytest.raises(InvalidOption, match=r"^linux\.resources\.hugepageLimits\[0\]\.pageSize: '64KB' .*1GB, 2MB"):
        write(cgroup, {"hugepageLimits": [{"pageSize": "64KB", "limit": 5}]})


@pytest.mark.parametrize("name", ["../x", "memory.max/..", "memory", ".max", "memory.", "a..b", ""])
def test_a_file_of_unified_stays_in_the_cgroup(cgroup, name):
    with pytest.raises(InvalidOption, match=r"^linux\.resources\.unified: "):
        write(cgroup, {"unified": {name: "1"}})


def test_a_controller_that_is_not_there_is_told():
    for values, told in [
        ({"unified": {"misc.max": "1"}}, r"^linux\.resources\.unified\.misc\.max: this host has no 'misc'"),
        ({"rdma": {"a": {"hcaHandles": 1}}}, r"^linux\.resources\.rdma: this host has no 'rdma' .*has: cpu memory\)"),
        ({"cpu": {"mems": "0"}}, r"^linux\.resources\.cpu\.mems: this host has no 'cpuset'"),
    ]:
        with pytest.raises(Unsupported, match=told):
            check_resources(Resources(values), ["cpu", "memory"], "/sys/fs/cgroup")
    assert required_controllers(Resources({"unified": {"cgroup.max.depth": "5"}})) == {}


def test_lines_of_unified_are_written_one_by_one(cgroup):
    """The kernel takes a device at a time (io.max): so the last is what stands in a plain file."""
    assert write(cgroup, {"unified": {"io.max": "8:0 rbps=1\n8:16 wiops=2\n"}}) == {"io.max": "8:16 wiops=2"}


def test_realtime_and_network_on_v1(tmp_path):
    for name in ("cpu.rt_runtime_us", "cpu.rt_period_us", "net_cls.classid", "net_prio.ifpriomap"):
        (tmp_path / name).write_text("0")
    write_cpu_v1(str(tmp_path), {"realtimeRuntime": 5, "realtimePeriod": 7})
    network = {"classID": 1048577, "priorities": [{"name": "eth0", "priority": 500}]}
    write_class(str(tmp_path), network)
    write_priorities(str(tmp_path), network)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "cpu.rt_runtime_us": "5",
        "cpu.rt_period_us": "7",
        "net_cls.classid": "1048577",
        "net_prio.ifpriomap": "eth0 500",
    }


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            {"memory": {"limit": 64, "swap": 96, "reservation": -1}},
            {"MemoryMax": 64, "MemoryLow": INFINITY, "MemorySwapMax": 32},
        ),
        ({"memory": {"limit": -1}}, {"MemoryMax": INFINITY, "MemorySwapMax": INFINITY}),
        ({"cpu": {"shares": 2048}}, {"CPUWeight": 174}),
        ({"cpu": {"idle": 1, "shares": 5}}, {"CPUWeight": 0}),
        ({"cpu": {"quota": 33_333}}, {"CPUQuotaPeriodUSec": 100_000, "CPUQuotaPerSecUSec": 340_000}),
        ({"cpu": {"quota": -1, "period": 7000}}, {"CPUQuotaPeriodUSec": 7000, "CPUQuotaPerSecUSec": INFINITY}),
        ({"cpu": {"cpus": "0,8", "mems": "0"}}, {"AllowedCPUs": cpu_mask("0,8"), "AllowedMemoryNodes": cpu_mask("0")}),
        ({"pids": {"limit": 0}}, {"TasksMax": 1}),
        ({"pids": {"limit": -1}}, {"TasksMax": INFINITY}),
        ({"blockIO": {"weight": 1000}}, {"IOWeight": 10_000}),
        (
            {"memory": {"limit": 5}, "unified": {"memory.max": "max", "memory.min": "7", "pids.max": "0"}},
            {"MemoryMax": INFINITY, "MemoryMin": 7, "TasksMax": 1},
        ),
        (
            {"unified": {"cpu.max": "5000 50000", "cpuset.cpus": "1", "cpu.weight": "9", "cpu.idle": "1"}},
            {"CPUQuotaPeriodUSec": 50_000, "CPUQuotaPerSecUSec": 100_000, "AllowedCPUs": b"\x02", "CPUWeight": 0},
        ),
        (
            {"unified": {"cpu.max": "max", "io.max": "8:0 rbps=1"}},
            {"CPUQuotaPeriodUSec": 100_000, "CPUQuotaPerSecUSec": INFINITY},
        ),
    ],
)  # fmt: skip
def test_limits_are_properties_of_a_scope(cgroup, values, expected):
    assert {name: value for name, _kind, value in resource_properties(Resources(values), str(cgroup))} == expected


def test_limits_are_properties_of_a_scope_on_v1():
    values = {"memory": {"limit": 64}, "cpu": {"shares": 5, "quota": 1000, "period": 10_000}, "pids": {"limit": 3}}
    found = {name: value for name, _kind, value in legacy_properties(Resources(values), "/nowhere")}
    cpu = {"CPUShares": 5, "CPUQuotaPeriodUSec": 10_000, "CPUQuotaPerSecUSec": 100_000}
    assert found == {"MemoryLimit": 64, "TasksMax": 3, **cpu}


def test_a_quota_alone_keeps_the_period_of_a_scope_on_v1(tmp_path):
    (tmp_path / "cpu.cfs_period_us").write_text("200000\n")
    (tmp_path / "cpu.cfs_quota_us").write_text("50000\n")
    for cpu, expected in [({"quota": 70_000}, (200_000, 350_000)), ({"period": 100_000}, (100_000, 500_000))]:
        found = {name: value for name, _kind, value in legacy_properties(Resources({"cpu": cpu}), str(tmp_path))}
        assert (found["CPUQuotaPeriodUSec"], found["CPUQuotaPerSecUSec"]) == expected


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("TimeoutStopUSec", "uint64 123", ("TimeoutStopUSec", "t", 123)),
        ("TimeoutStopSec", "7", ("TimeoutStopUSec", "t", 7_000_000)),
        ("TimeoutStopSec", "double 0.5", ("TimeoutStopUSec", "t", 500_000)),
        ("CollectMode", "'inactive-or-failed'", ("CollectMode", "s", "inactive-or-failed")),
        ("Description", "'it\\'s'", ("Description", "s", "it's")),
        ("SendSIGHUP", "true", ("SendSIGHUP", "b", True)),
        ("After", "['a.service', 'b,c.service']", ("After", "as", ["a.service", "b,c.service"])),
        ("CPUWeight", "uint64 0x10", ("CPUWeight", "t", 16)),
        ("Nice", "int32 -5", ("Nice", "i", -5)),
    ],
)
def test_annotations_are_properties(name, text, expected):
    assert parse_properties({"x": "y", f"org.systemd.property.{name}": text}) == [expected]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("A", "1"),
        ("Bad-Name", "1"),
        ("After", "['a', 5]"),
        ("Description", "plain"),
        ("TimeoutStopSec", "'x'"),
        ("Empty", ""),
    ],
)
def test_annotations_that_are_no_properties_are_told(name, text):
    with pytest.raises(InvalidOption, match=r"^annotations\.org\.systemd\.property\."):
        parse_properties({f"org.systemd.property.{name}": text})


CGROUP_MOUNT = {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid"]}
MAPPED = {
    "uidMappings": [{"containerID": 0, "hostID": 100_000, "size": 10}, {"containerID": 50, "hostID": 7, "size": 1}]
}


@pytest.mark.parametrize(
    ("uid", "kinds", "options", "owner"),
    [
        (0, ["cgroup", "user"], ["rw"], 100_000),
        (9, ["cgroup", "user"], [], 100_009),
        (50, ["cgroup", "user"], None, 7),
        (10, ["cgroup", "user"], [], None),
        (5, ["cgroup"], [], 5),
        (0, ["cgroup", "user"], ["ro"], None),
        (0, ["user"], [], None),
    ],
)
def test_the_owner_of_a_cgroup_is_whom_the_container_runs_as(uid, kinds, options, owner):
    mounts = [{**CGROUP_MOUNT, "options": options}]
    linux = {"namespaces": [{"type": kind} for kind in kinds], **MAPPED}
    assert find_owner({"process": {"user": {"uid": uid, "gid": 0}}, "mounts": mounts, "linux": linux}) == owner
    linux["namespaces"] = [{"type": "cgroup", "path": "/proc/1/ns/cgroup"}]
    assert find_owner({"process": {"user": {"uid": uid, "gid": 0}}, "mounts": mounts, "linux": linux}) is None
    assert find_owner({"mounts": [], "linux": linux}) is None
