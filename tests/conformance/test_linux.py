# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""config-linux.md: sysctl, paths, propagation, personality, memory policy, labels and Intel RDT."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from .mounts import host_tmpfs, mounts_inside, share

item = pytest.mark.item


@item("config-linux/sysctl/network")
def test_a_setting_of_the_network_namespace(box):
    box.linux["sysctl"] = {"net.ipv4.ip_forward": "1", "net.core.somaxconn": "256"}
    assert box.sh("cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/core/somaxconn").split() == ["1", "256"]


@item("config-linux/sysctl/ipc")
def test_a_setting_of_the_ipc_namespace(box):
    box.linux["sysctl"] = {"kernel.msgmax": "4096", "fs.mqueue.msg_max": "11"}
    assert box.sh("cat /proc/sys/kernel/msgmax /proc/sys/fs/mqueue/msg_max").split() == ["4096", "11"]


@item("config-linux/sysctl/slashes")
def test_a_name_with_slashes(box):
    box.linux["sysctl"] = {"net/ipv4/conf/lo/log_martians": "1"}
    assert box.sh("cat /proc/sys/net/ipv4/conf/lo/log_martians") == "1"


@item("config-linux/sysctl/of the host")
def test_a_setting_of_the_host_is_refused(box):
    box.linux["sysctl"] = {"kernel.panic": Path("/proc/sys/kernel/panic").read_text().strip()}
    box.refuse_to_run()


@item("config-linux/sysctl/without its namespace")
def test_a_setting_without_its_namespace_is_refused(box):
    box.without_namespace("ipc")
    box.linux["sysctl"] = {"kernel.msgmax": Path("/proc/sys/kernel/msgmax").read_text().strip()}
    box.refuse_to_run()


@item("config-linux/sysctl/unknown")
def test_an_unknown_setting_is_refused(box):
    box.linux["sysctl"] = {"net.nothing": "1"}
    box.refuse_to_run()


@item("config-linux/sysctl/invalid value")
def test_a_value_that_the_kernel_refuses(box):
    box.linux["sysctl"] = {"net.core.somaxconn": "many"}
    box.refuse_to_run()


# Paths


@item("config-linux/maskedPaths/file")
def test_a_masked_file_cannot_be_read(box):
    (box.rootfs / "data/secret").write_text("secret")
    box.linux["maskedPaths"] = ["/data/secret"]
    assert "secret" not in box.sh("cat /data/secret")
    assert (box.rootfs / "data/secret").read_text() == "secret"


@item("config-linux/maskedPaths/directory")
def test_a_masked_directory_is_empty(box):
    (box.rootfs / "data/inner").mkdir()
    (box.rootfs / "data/inner/secret").write_text("secret")
    box.linux["maskedPaths"] = ["/data/inner"]
    assert box.sh("ls -A /data/inner; touch /data/inner/new 2>/dev/null && echo written; true") == ""


@item("config-linux/maskedPaths/of proc")
def test_a_masked_file_of_proc(box):
    box.linux["maskedPaths"] = ["/proc/interrupts"]
    assert box.sh("stat -c %t:%T /proc/interrupts") == "1:3"


@item("config-linux/maskedPaths/missing")
def test_a_masked_path_that_is_not_there_is_left_out(box):
    box.linux["maskedPaths"] = ["/nowhere", "/proc/nothing"]
    assert box.sh("test -e /nowhere || echo none") == "none"


@item("config-linux/maskedPaths/relative")
def test_a_masked_path_is_absolute(box):
    box.linux["maskedPaths"] = ["proc/kcore"]
    box.refuse_to_run()


@item("config-linux/readonlyPaths/file")
def test_a_read_only_file(box):
    (box.rootfs / "data/file").write_text("text\n")
    box.linux["readonlyPaths"] = ["/data/file"]
    assert box.sh("cat /data/file; echo new > /data/file || echo refused").split() == ["text", "refused"]
    assert (box.rootfs / "data/file").read_text() == "text\n"


@item("config-linux/readonlyPaths/directory")
def test_a_read_only_directory(box):
    box.linux["readonlyPaths"] = ["/data", "/proc/sys"]
    assert box.sh(
        "touch /data/new || echo refused; (echo x > /proc/sys/kernel/domainname) 2>&1 | grep -c Read"
    ).split() == [
        "refused",
        "1",
    ]


@item("config-linux/readonlyPaths/missing")
def test_a_read_only_path_that_is_not_there_is_left_out(box):
    box.linux["readonlyPaths"] = ["/nowhere"]
    assert box.sh("echo inside") == "inside"


@item("config-linux/readonlyPaths/relative")
def test_a_read_only_path_is_absolute(box):
    box.linux["readonlyPaths"] = ["proc/sys"]
    box.refuse_to_run()


# Propagation of the root


def propagated(box, propagation):
    """Whether a mount that the host makes below the root after the start is seen inside."""
    ground = host_tmpfs(box, "ground")
    share(ground)
    shutil.copytree(box.rootfs, ground / "rootfs", symlinks=True)
    box.spec["root"]["path"] = "ground/rootfs"
    box.linux["rootfsPropagation"] = propagation
    box.start()
    later = host_tmpfs(box, "ground/rootfs/data")
    (later / "mark").write_text("here")
    seen = box.exec("cat /data/mark 2>/dev/null; true") == "here"
    box.must("delete", "--force", box.id)
    return seen


@item("config-linux/rootfsPropagation/{name}")
@pytest.mark.parametrize("name", ["private", "slave", "shared", "unbindable"])
def test_the_propagation_of_the_root(box, name):
    box.linux["rootfsPropagation"] = name
    root = mounts_inside(box)["/"]
    wanted = {"private": set(), "slave": set(), "shared": {"shared"}, "unbindable": {"unbindable"}}[name]
    assert {peer.partition(":")[0] for peer in root.peers} - {"master"} == wanted, root


@item("config-linux/rootfsPropagation/slave/mounts of the host are seen")
def test_a_slave_sees_mounts_of_the_host(box):
    assert propagated(box, "slave")


@item("config-linux/rootfsPropagation/slave/mounts of the host in what is bound are seen")
def test_a_slave_sees_mounts_of_the_host_in_a_volume(box):
    source = host_tmpfs(box, "source")
    share(source)
    (source / "inner").mkdir()
    box.linux["rootfsPropagation"] = "slave"
    box.bind(source, "/data", "rbind")
    box.start()
    (host_tmpfs(box, "source/inner") / "mark").write_text("here")
    assert box.exec("cat /data/inner/mark") == "here"
    box.must("delete", "--force", box.id)


@item("config-linux/rootfsPropagation/private/mounts of the host are not seen")
def test_a_private_root_does_not_see_mounts_of_the_host(box):
    assert not propagated(box, "private")


@item("config-linux/rootfsPropagation/{name}/mounts inside do not reach the host")
@pytest.mark.parametrize("name", ["private", "slave", "shared"])
def test_mounts_of_the_container_stay_in_it(box, name):
    box.linux["rootfsPropagation"] = name
    box.grant("CAP_SYS_ADMIN")
    box.start()
    box.exec("mount -t tmpfs tmpfs /data && touch /data/mark")
    assert os.listdir(box.rootfs / "data") == []


# Personality


@item("config-linux/personality/domain/LINUX32")
def test_a_32_bit_personality(box):
    box.linux["personality"] = {"domain": "LINUX32"}
    assert box.sh("uname -m") in ("i686", "armv8l", os.uname().machine if os.uname().machine == "riscv64" else "i686")


@item("config-linux/personality/domain/LINUX")
def test_the_usual_personality(box):
    box.linux["personality"] = {"domain": "LINUX"}
    assert box.sh("uname -m") == os.uname().machine


@item("config-linux/personality/domain/unknown")
def test_an_unknown_personality_is_refused(box):
    box.linux["personality"] = {"domain": "BSD"}
    box.refuse_to_run()


@item("config-linux/personality/flags")
def test_no_flags_of_a_personality_are_supported(box):
    box.linux["personality"] = {"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}
    box.refuse_to_run()


# Memory policy: what /proc/<pid>/numa_maps says of the stack of the container's program

MODES = {
    "MPOL_DEFAULT": ("", "default"),
    "MPOL_BIND": ("0", "bind:0"),
    "MPOL_INTERLEAVE": ("0", "interleave:0"),
    "MPOL_WEIGHTED_INTERLEAVE": ("0", "weighted interleave:0"),
    "MPOL_PREFERRED": ("0", "prefer:0"),
    "MPOL_PREFERRED_MANY": ("0", "prefer (many):0"),
    "MPOL_LOCAL": ("", "local"),
}


def has_numa():
    return os.path.exists("/proc/self/numa_maps")


def policy_inside(box, mode, nodes, **more):
    box.linux["memoryPolicy"] = {"mode": mode, **({"nodes": nodes} if nodes else {}), **more}
    return box.sh("cat /proc/self/numa_maps")


@item("config-linux/memoryPolicy/mode/{mode}")
@pytest.mark.parametrize("mode", MODES)
def test_a_memory_policy(box, mode):
    if not has_numa():
        pytest.skip("not on this kernel: it has no NUMA")
    nodes, told = MODES[mode]
    said = policy_inside(box, mode, nodes)
    assert told.replace(" ", "") in said.replace(" ", ""), said.splitlines()[0]


@item("config-linux/memoryPolicy/flags")
def test_the_flags_of_a_memory_policy(box):
    if not has_numa():
        pytest.skip("not on this kernel: it has no NUMA")
    assert "bind=static:0" in policy_inside(box, "MPOL_BIND", "0", flags=["MPOL_F_STATIC_NODES"])


@item("config-linux/memoryPolicy/{wrong}")
@pytest.mark.parametrize("wrong", ["unknown mode", "unknown flag", "nodes for MPOL_DEFAULT", "no nodes for MPOL_BIND"])
def test_a_wrong_memory_policy_is_refused(box, wrong):
    box.linux["memoryPolicy"] = {
        "unknown mode": {"mode": "MPOL_NOTHING"},
        "unknown flag": {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NOTHING"]},
        "nodes for MPOL_DEFAULT": {"mode": "MPOL_DEFAULT", "nodes": "0"},
        "no nodes for MPOL_BIND": {"mode": "MPOL_BIND"},
    }[wrong]
    box.refuse_to_run()


# What this kernel may not have


@item("config-linux/mountLabel")
def test_the_label_of_mounts(box):
    box.linux["mountLabel"] = "system_u:object_r:svirt_sandbox_file_t:s0:c715,c811"
    if Path("/sys/fs/selinux/enforce").exists():
        box.mount("/data")
        assert box.linux["mountLabel"] in box.sh("grep ' /data ' /proc/mounts")
        return
    box.mount("/data")
    done = box.run("true")
    box.note = "not on this kernel: it has no SELinux; " + ("ignored" if done.returncode == 0 else "refused")


RDT = {
    "closID": {"closID": "guaranteed"},
    "closID of the root": {"closID": "/"},
    "l3CacheSchema": {"l3CacheSchema": "L3:0=f"},
    "memBwSchema": {"memBwSchema": "MB:0=70"},
    "schemata": {"closID": "guaranteed", "schemata": ["L3:0=f"]},
    "enableMonitoring": {"closID": "guaranteed", "enableMonitoring": True},
}


@item("config-linux/intelRdt/{name}")
@pytest.mark.parametrize("name", RDT)
def test_resource_director_technology(box, name):
    mounted = subprocess.run(["grep", "-q", " resctrl ", "/proc/mounts"], check=False).returncode == 0
    if mounted:
        pytest.skip("on this machine resctrl is mounted: it is somebody's, and the test leaves it alone")
    box.linux["intelRdt"] = RDT[name]
    box.refuse_to_run()
    box.note = "not on this machine: no resctrl file system is mounted; refused, as it should be"


@item("config-linux/intelRdt/unset")
def test_without_it_resctrl_is_left_alone(box):
    assert box.sh("echo inside") == "inside"
    assert not Path(f"/sys/fs/resctrl/{box.id}").exists()
