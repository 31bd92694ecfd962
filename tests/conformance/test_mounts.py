# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""config.md, Mounts: what is mounted where, in which order, and with which mapping of users."""

from __future__ import annotations

import os

import pytest

from .mounts import host_tmpfs, mounts_inside

item = pytest.mark.item


@item("config/mounts/order")
def test_mounts_are_made_in_the_listed_order(box):
    for name in ("one", "two"):
        (box.directory / name).mkdir()
        (box.directory / name / "mark").write_text(name)
        box.bind(box.directory / name, "/data")
    assert box.sh("cat /data/mark") == "two"


@item("config/mounts/order/nested")
def test_a_mount_lies_inside_an_earlier_one(box):
    box.mount("/data")
    box.mount("/data/inner/deep", "size=1m")
    mounts = mounts_inside(box)
    assert {"/data", "/data/inner/deep"} <= set(mounts)


@item("config/mounts/destination/created")
def test_a_missing_destination_is_made(box):
    box.mount("/not/yet/there")
    assert "/not/yet/there" in mounts_inside(box)


@item("config/mounts/destination/relative")
def test_a_relative_destination_is_relative_to_the_root(box):
    box.mount("data")
    assert "/data" in mounts_inside(box)


@item("config/mounts/destination/link out of the root")
def test_a_link_in_the_root_leads_nowhere_else(box):
    outside = box.directory / "outside"
    outside.mkdir()
    (box.rootfs / "link").symlink_to(f"../../../../..{outside}")
    box.mount("/link", "size=1m")
    done = box.run("true")
    assert done.returncode in (0, 1), done.stderr
    assert not os.path.ismount(outside)
    assert os.listdir(outside) == []


@item("config/mounts/destination/missing")
def test_a_destination_is_required(box):
    box.spec["mounts"].append({"type": "tmpfs", "source": "tmpfs"})
    box.refuse()


@item("config/mounts/source/absolute")
def test_a_bind_of_a_directory(box):
    (box.directory / "source").mkdir()
    (box.directory / "source/mark").write_text("here")
    box.bind(box.directory / "source", "/data")
    assert box.sh("cat /data/mark; touch /data/new") == "here"
    assert (box.directory / "source/new").exists()


@item("config/mounts/source/relative")
def test_a_relative_source_is_in_the_bundle(box):
    (box.directory / "source").mkdir()
    (box.directory / "source/mark").write_text("here")
    box.bind("source", "/data")
    assert box.sh("cat /data/mark") == "here"


@item("config/mounts/source/file")
def test_a_bind_of_a_file_makes_a_file(box):
    (box.directory / "source").write_text("here")
    box.bind(box.directory / "source", "/new/place/file")
    assert box.sh("cat /new/place/file") == "here"


@item("config/mounts/source/missing")
def test_a_bind_of_nothing_is_refused(box):
    box.bind(box.directory / "nowhere", "/data")
    box.refuse()


@item("config/mounts/type/{kind}")
@pytest.mark.parametrize("kind", ["tmpfs", "proc", "sysfs", "devpts", "mqueue", "ramfs"])
def test_file_systems_of_the_kernel(box, kind):
    box.mount("/data", source=kind, kind=kind)
    assert mounts_inside(box)["/data"].kind == kind


@item("config/mounts/type/cgroup")
def test_the_cgroup_file_system(box):
    box.namespace("cgroup")
    box.mount("/sys", "ro", source="sysfs", kind="sysfs")
    box.mount("/sys/fs/cgroup", "ro", source="cgroup", kind="cgroup")
    kinds = {mount.kind for path, mount in mounts_inside(box).items() if path.startswith("/sys/fs/cgroup")}
    assert kinds & {"cgroup", "cgroup2"}, kinds


@item("config/mounts/type/cgroup/read-only")
def test_a_read_only_cgroup_file_system(box):
    box.namespace("cgroup")
    box.mount("/sys", "ro", source="sysfs", kind="sysfs")
    box.mount("/sys/fs/cgroup", "ro", source="cgroup", kind="cgroup")
    found = [mount for mount in mounts_inside(box).values() if mount.kind in ("cgroup", "cgroup2")]
    assert found
    assert all("ro" in mount.flags for mount in found)


@item("config/mounts/type/unknown")
def test_an_unknown_file_system_is_refused(box):
    box.mount("/data", kind="nothingfs", source="nothingfs")
    box.refuse()


@item("config/mounts/type/dummy for a bind")
def test_the_type_of_a_bind_is_a_dummy(box):
    (box.rootfs / "data/mark").write_text("here")
    box.mount("/tmp", "bind", source=str(box.rootfs / "data"), kind="whatever")
    assert box.sh("cat /tmp/mark") == "here"


# Mappings of users

MAPPINGS = [{"containerID": 0, "hostID": 1234, "size": 10}]


def owner_inside(box, *options, **more):
    """Whom a file of the host's root belongs to, seen through a mount."""
    source = host_tmpfs(box, "source")
    (source / "mark").write_text("")
    (source / "inner").mkdir()
    box.bind(source, "/data", *options, **more)
    return box.sh("stat -c %u:%g /data/mark")


@item("config/mounts/options/idmap")
def test_idmap_takes_the_mappings_of_the_mount(box):
    mappings = {"uidMappings": MAPPINGS, "gidMappings": MAPPINGS}
    assert owner_inside(box, "idmap", **mappings) == "1234:1234"


@item("config/mounts/options/ridmap")
def test_ridmap_maps_what_is_mounted_below(box):
    source = host_tmpfs(box, "source")
    (source / "inner").mkdir()
    inner = host_tmpfs(box, "source/inner")
    (inner / "mark").write_text("")
    box.bind(source, "/data", "rbind", "ridmap", uidMappings=MAPPINGS, gidMappings=MAPPINGS)
    assert box.sh("stat -c %u:%g /data/inner/mark") == "1234:1234"


@item("config/mounts/uidMappings and gidMappings")
def test_mappings_without_the_option_are_applied_too(box):
    assert owner_inside(box, uidMappings=MAPPINGS, gidMappings=MAPPINGS) == "1234:1234"


@item("config/mounts/options/idmap/of the user namespace")
def test_idmap_without_mappings_is_the_user_namespaces_or_refused(box):
    source = host_tmpfs(box, "source")
    (source / "mark").write_text("")
    box.map_users()
    box.bind(source, "/data", "idmap")
    done = box.run("stat", "-c", "%u:%g", "/data/mark")
    assert done.returncode != 0 or done.stdout.strip() == "0:0"
    box.note = "" if done.returncode == 0 else "refused, which the specification allows"


@item("config/mounts/options/{option}/without a mapping")
@pytest.mark.parametrize("option", ["idmap", "ridmap"])
def test_idmap_without_mappings_or_user_namespace_is_refused(box, option):
    (box.directory / "source").mkdir()
    box.bind(box.directory / "source", "/data", "rbind", option)
    box.refuse()


@item("config/mounts/{one} alone")
@pytest.mark.parametrize("one", ["uidMappings", "gidMappings"])
def test_mappings_come_in_pairs(box, one):
    (box.directory / "source").mkdir()
    box.bind(box.directory / "source", "/data", "idmap", **{one: MAPPINGS})
    box.refuse()
