# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""config-linux.md: namespaces new, joined and inherited, mappings of users, and offsets of clocks."""

from __future__ import annotations

import os
import subprocess
import time

import pytest

from tests.waiting import wait_for

item = pytest.mark.item

FILES = {"pid": "pid", "network": "net", "mount": "mnt", "ipc": "ipc", "uts": "uts", "cgroup": "cgroup"}
SHARED = ("pid", "network", "ipc", "uts", "cgroup")


def inside(box, kind):
    return box.sh(f"readlink /proc/self/ns/{FILES.get(kind, kind)}")


@item("config-linux/namespaces/{kind}")
@pytest.mark.parametrize("kind", FILES)
def test_a_new_namespace(box, kind):
    box.namespace(kind)
    assert inside(box, kind) != os.readlink(f"/proc/self/ns/{FILES[kind]}")


@item("config-linux/namespaces/user")
def test_a_new_user_namespace(box):
    box.map_users()
    assert inside(box, "user") != os.readlink("/proc/self/ns/user")


@item("config-linux/namespaces/time")
def test_a_new_time_namespace(box):
    if not os.path.exists("/proc/self/ns/time"):
        box.namespace("time")
        box.refuse_to_run()
        box.note = "not on this kernel: it has no time namespaces (5.6); refused, as it should be"
        return
    box.namespace("time")
    assert inside(box, "time") != os.readlink("/proc/self/ns/time")


@item("config-linux/namespaces/{kind}/path")
@pytest.mark.parametrize("kind", SHARED)
def test_a_namespace_by_its_path_is_joined(boxes, kind):
    other, box = boxes(), boxes()
    other.namespace(kind)
    other.start()
    path = f"/proc/{other.pid()}/ns/{FILES[kind]}"
    box.namespace(kind, path)
    assert inside(box, kind) == os.readlink(path)


@item("config-linux/namespaces/user/path")
def test_a_user_namespace_by_its_path_is_joined(boxes):
    other, box = boxes(), boxes()
    other.map_users()
    other.start()
    path = f"/proc/{other.pid()}/ns/user"
    box.map_users()
    for name in ("uidMappings", "gidMappings"):
        del box.linux[name]
    box.namespace("user", path)
    assert inside(box, "user") == os.readlink(path)


@item("config-linux/namespaces/time/path")
def test_a_time_namespace_by_its_path_is_joined(boxes):
    other, box = boxes(), boxes()
    other.namespace("time")
    other.linux["timeOffsets"] = {"boottime": {"secs": 5000}}
    other.start()
    path = f"/proc/{other.pid()}/ns/time"
    box.namespace("time", path)
    assert inside(box, "time") == os.readlink(path)


@item("config-linux/namespaces/{kind}/inherited")
@pytest.mark.parametrize("kind", SHARED)
def test_a_namespace_that_is_not_named_is_the_runtimes(box, kind):
    box.without_namespace(kind)
    if kind == "network":
        box.spec["mounts"] = [mount for mount in box.spec["mounts"] if mount["type"] != "sysfs"]
    assert inside(box, kind) == os.readlink(f"/proc/self/ns/{FILES[kind]}")


@item("config-linux/namespaces/mount/inherited")
def test_a_container_in_the_mount_namespace_of_the_runtime(box):
    box.without_namespace("mount")
    (box.rootfs / "data/mark").write_text("here")
    box.start()
    assert os.readlink(f"/proc/{box.pid()}/ns/mnt") == os.readlink("/proc/self/ns/mnt")
    assert os.listdir(f"/proc/{box.pid()}/root/data") == ["mark"]
    assert box.exec("cat /data/mark") == "here"


@item("config-linux/namespaces/mount/path")
def test_a_container_in_a_mount_namespace_by_its_path(box):
    other = subprocess.Popen(["unshare", "-m", "sleep", "60"])
    try:
        path = f"/proc/{other.pid}/ns/mnt"
        wait_for(lambda: os.readlink(path) != os.readlink("/proc/self/ns/mnt"), "mount namespace")
        box.namespace("mount", path)
        (box.rootfs / "data/mark").write_text("here")
        box.start()
        assert os.readlink(f"/proc/{box.pid()}/ns/mnt") == os.readlink(path)
        assert box.exec("cat /data/mark") == "here"
        box.must("delete", "--force", box.id)
        with open(f"/proc/{other.pid}/mountinfo", encoding="utf-8") as mounts:
            assert not [line for line in mounts if f"{box.directory}/" in line]
    finally:
        other.kill()
        other.wait()


@item("config-linux/namespaces/path/of another type")
def test_a_path_of_another_type_is_refused(box):
    box.namespace("network", "/proc/self/ns/ipc")
    box.refuse()


@item("config-linux/namespaces/path/not a namespace")
def test_a_path_of_no_namespace_is_refused(box):
    box.namespace("network", "/etc/hostname")
    box.refuse()


@item("config-linux/namespaces/path/missing")
def test_a_path_that_is_not_there_is_refused(box):
    box.namespace("network", "/run/netns/there-is-none")
    box.refuse()


@item("config-linux/namespaces/path/relative")
def test_a_relative_path_is_refused(box):
    box.namespace("network", "proc/self/ns/net")
    box.refuse()


@item("config-linux/namespaces/type/twice")
def test_a_type_is_given_once(box):
    box.linux["namespaces"].append({"type": "pid"})
    box.refuse()


@item("config-linux/namespaces/type/unknown")
def test_an_unknown_type_is_refused(box):
    box.linux["namespaces"].append({"type": "nothing"})
    box.refuse()


@item("config-linux/namespaces/pid/processes are hidden")
def test_other_processes_are_not_seen(box):
    assert set(filter(str.isdigit, box.sh("ls /proc").split())) <= {"1", "2"}


@item("config-linux/namespaces/network/own devices")
def test_a_new_network_has_a_loopback_alone(box):
    names = [line.split(":")[0].strip() for line in box.sh("cat /proc/net/dev").splitlines()[2:]]
    assert "lo" in names
    assert not {"eth0", "ens3", "enp1s0"} & set(names)


# User namespace mappings


@item("config-linux/{name}")
@pytest.mark.parametrize("name", ["uidMappings", "gidMappings"])
def test_mappings_of_users(box, name):
    box.map_users(200000)
    box.linux[name] = [
        {"containerID": 0, "hostID": 200000, "size": 1000},
        {"containerID": 1000, "hostID": 300000, "size": 5},
    ]
    kind = name[:3]
    assert box.sh(f"cat /proc/self/{kind}_map").split() == ["0", "200000", "1000", "1000", "300000", "5"]


@item("config-linux/uidMappings/the user's host id")
def test_the_containers_root_is_a_user_of_the_host(box):
    box.map_users(200000)
    box.start()
    assert os.stat(f"/proc/{box.pid()}").st_uid == 200000


@item("config-linux/uidMappings/ownership of files")
def test_the_owners_of_files_are_left_alone(box):
    box.map_users(200000)
    (box.rootfs / "data/mark").write_text("")
    os.chown(box.rootfs / "data/mark", 200007, 200008)
    assert box.sh("stat -c %u:%g /data/mark") == "7:8"
    found = (box.rootfs / "data/mark").stat()
    assert (found.st_uid, found.st_gid) == (200007, 200008)


@item("config-linux/uidMappings/without a user namespace")
def test_mappings_without_a_user_namespace_are_an_error(box):
    box.linux["uidMappings"] = box.linux["gidMappings"] = [{"containerID": 0, "hostID": 1000, "size": 10}]
    box.refuse()


@item("config-linux/uidMappings/missing")
def test_a_user_namespace_without_mappings_is_an_error(box):
    box.namespace("user")
    box.refuse_to_run()


@item("config-linux/namespaces/user/process.user is the container's")
def test_ids_are_the_containers(box):
    box.map_users(200000)
    box.process["user"] = {"uid": 5, "gid": 6, "additionalGids": [7]}
    assert box.sh("id -u; id -g; id -G").split() == ["5", "6", "6", "7"]


# Offsets of clocks


@item("config-linux/timeOffsets/{clock}")
@pytest.mark.parametrize("clock", ["monotonic", "boottime"])
def test_an_offset_of_a_clock(box, clock):
    if not os.path.exists("/proc/self/ns/time"):
        pytest.skip("not on this kernel: it has no time namespaces (5.6)")
    box.namespace("time")
    box.linux["timeOffsets"] = {clock: {"secs": 500000, "nanosecs": 7}}
    told = {line.split()[0]: line.split()[1:] for line in box.sh("cat /proc/self/timens_offsets").splitlines()}
    assert told[clock] == ["500000", "7"]
    if clock == "boottime":
        uptime = float(box.sh("cat /proc/uptime").split()[0])
        assert uptime - time.clock_gettime(time.CLOCK_BOOTTIME) > 400000


@item("config-linux/timeOffsets/without a time namespace")
def test_offsets_without_a_time_namespace_are_an_error(box):
    box.linux["timeOffsets"] = {"boottime": {"secs": 5000}}
    box.refuse_to_run()
