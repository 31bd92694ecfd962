# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host whose systemd has the hierarchies of v1 and a v2 tree beside them: the machine, booted so."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import pytest

from tests import fleet
from tests.fleet import qemu

from .test_vm_cgroup import PROLOGUE, install_engine
from .test_vm_resources import BUNDLE

pytestmark = [pytest.mark.root, pytest.mark.vm]

HYBRID = " systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=0"
# On this host the container's scope is a directory of every hierarchy.
CHANGES = """
def tree(controller):
    return f"/sys/fs/cgroup/{controller}/test.slice/test-a.slice/run-c.scope"
"""


def argv_of(node: fleet.Node, *words: str) -> list[str]:
    """A connection of its own: one that is shared does not outlive the reboot."""
    argv = node.argv(list(words))
    argv[1:1] = ["-o", "ControlPath=none", "-o", "ConnectTimeout=5"]
    return argv


@pytest.fixture(scope="module")
def machine() -> Iterator[fleet.Node]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(qemu, "KERNEL_OPTIONS", qemu.KERNEL_OPTIONS + HYBRID)
        with fleet.up("tf-hybrid", ["node-a"], backend="vm") as hosts:
            node = hosts.node("node-a")
            node.run(["systemctl", "reboot"], check=False)
            end = time.monotonic() + 180
            ready = ["grep", "-q", "/sys/fs/cgroup/pids cgroup", "/proc/mounts"]
            while subprocess.run(argv_of(node, *ready), capture_output=True, check=False).returncode:
                assert time.monotonic() < end, "the machine does not come up again with the hierarchies of v1"
                time.sleep(1)
            node.run(["true"], check=False)  # renews the shared connection
            install_engine(node)
            yield node


def test_resources_are_in_every_hierarchy_and_in_the_unit(machine: fleet.Node) -> None:
    script = (
        f"KIND = 'systemd'\n{PROLOGUE.replace('systemd = open_cgroups', 'legacy = systemd = open_cgroups')}\n{BUNDLE}\n"
        f"{CHANGES}\n"
        """
mebi = 1 << 20
assert legacy.kind == "v1"
cpu = {"shares": 512, "quota": 50000, "period": 200000, "cpus": "0", "mems": "0"}
resources = {"memory": {"limit": 64 * mebi, "reservation": 32 * mebi}, "cpu": cpu, "pids": {"limit": 1},
             "hugepageLimits": [{"pageSize": "2MB", "limit": 4 * mebi}], "network": {"classID": 1048577}}
scope, pid = start(resources)
paths = {line.split(":", 2)[2] for line in open(f"/proc/{pid}/cgroup").read().splitlines()}
assert paths == {"/test.slice/test-a.slice/run-c.scope"}, paths
wanted = {"memory": {"memory.limit_in_bytes": 64 * mebi, "memory.soft_limit_in_bytes": 32 * mebi},
          "cpu": {"cpu.shares": 512, "cpu.cfs_quota_us": 50000, "cpu.cfs_period_us": 200000},
          "cpuset": {"cpuset.cpus": 0}, "pids": {"pids.max": 1}, "net_cls": {"net_cls.classid": 1048577},
          "hugetlb": {"hugetlb.2MB.limit_in_bytes": 4 * mebi, "hugetlb.2MB.rsvd.limit_in_bytes": 4 * mebi}}
for controller, files in wanted.items():
    assert held(tree(controller), *files) == [str(value) for value in files.values()], controller
found = shown("MemoryLimit", "CPUShares", "CPUQuotaPerSecUSec", "TasksMax", "Delegate", "Slice")
assert found == {"MemoryLimit": str(64 * mebi), "CPUShares": "512", "CPUQuotaPerSecUSec": "250ms", "TasksMax": "1",
                 "Delegate": "yes", "Slice": "test-a.slice"}, found
allowed = held(tree("devices"), "devices.list")
assert "c 1:3 rwm" in allowed[0] and "a *:* rwm" not in allowed[0], allowed
runtime("update", "--memory", "50M", "--pids-limit", "30", "--cpu-quota", "70000", "c")
assert held(tree("devices"), "devices.list") == allowed, (allowed, held(tree("devices"), "devices.list"))
subprocess.run(["systemctl", "daemon-reload"], check=True)
subprocess.run(["systemctl", "set-property", "--runtime", "run-c.scope", "CPUShares=600"], check=True)
assert held(tree("devices"), "devices.list") == allowed, (allowed, held(tree("devices"), "devices.list"))
assert held(tree("memory"), "memory.limit_in_bytes") + held(tree("pids"), "pids.max") == [str(50 * mebi), "30"]
assert held(tree("cpu"), "cpu.cfs_quota_us", "cpu.cfs_period_us") == ["70000", "200000"]
runtime("update", "-r", "-", "c", input='{"unified": {"memory.high": "5"}}', told="invalid configuration")
runtime("pause", "c")
runtime("delete", "-f", "c")
left = [root for root, _, _ in os.walk("/sys/fs/cgroup") if root.endswith("run-c.scope")]
assert left == [] and shown("ActiveState") == {"ActiveState": "inactive"}, left
subprocess.run(["systemctl", "stop", "test-a.slice", "test.slice"], check=True)
"""
    )
    machine.run(["/usr/bin/python3", "-I", "-S", "-"], stdin=script, timeout=120)
