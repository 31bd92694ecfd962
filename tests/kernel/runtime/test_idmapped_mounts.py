"""Mounts that show other owners (config.md, uidMappings and gidMappings): with and without a user namespace."""

from __future__ import annotations

import os
import subprocess

import pytest

NOBODY = "65534:65534"


def ids(*ranges):
    """(in the file system, as it is shown on the host, how many)."""
    return [{"containerID": first, "hostID": shown, "size": size} for first, shown, size in ranges]


def mapped(*ranges):
    return {"uidMappings": ids(*ranges), "gidMappings": ids(*ranges)}


@pytest.fixture
def tree(box):
    """A directory with a file of 100, and a mount of the host's below with a file of 200."""
    tree = box.directory / "tree"
    (tree / "below").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", tree / "below"], check=True)
    for path, owner in (("file", 100), ("below/file", 200)):
        (tree / path).touch()
        os.chown(tree / path, owner, owner)
    yield tree
    subprocess.run(["umount", tree / "below"], check=True)


def owners(box, *paths):
    return box.sh(f"stat -c %u:%g {' '.join(paths)}").split()


@pytest.fixture
def user_namespace(box):
    box.map_users()
    box.spec["mounts"] = [entry for entry in box.spec["mounts"] if entry["type"] != "sysfs"]


def test_the_mounts_own_mapping(box, tree):
    box.bind(tree, "/mnt", **mapped((100, 5000, 1)))
    assert owners(box, "/mnt/file", "/mnt/below") == ["5000:5000", NOBODY]


@pytest.mark.usefixtures("user_namespace")
def test_the_mounts_own_mapping_in_a_user_namespace(box, tree):
    """What is shown on the host as the owner of 100007 is 7 in there."""
    box.bind(tree, "/mnt", **mapped((100, 100007, 1)))
    box.bind(tree, "/plain")
    assert owners(box, "/mnt/file", "/plain/file") == ["7:7", NOBODY]


@pytest.mark.parametrize(("option", "below"), [("idmap", NOBODY), ("ridmap", "8:8")])
@pytest.mark.usefixtures("user_namespace")
def test_what_is_mounted_below_is_mapped_on_demand(box, tree, option, below):
    box.bind(tree, "/mnt", "rbind", option, **mapped((100, 100007, 1), (200, 100008, 1)))
    assert owners(box, "/mnt/file", "/mnt/below/file") == ["7:7", below]


@pytest.mark.parametrize(("option", "below"), [("idmap", "200:200"), ("ridmap", "8:8")])
def test_the_same_without_a_user_namespace(box, tree, option, below):
    box.bind(tree, "/mnt", "rbind", option, **mapped((100, 7, 1), (200, 8, 1)))
    assert owners(box, "/mnt/file", "/mnt/below/file") == ["7:7", below]


@pytest.mark.usefixtures("user_namespace")
def test_the_mapping_of_the_containers_user_namespace(box, tree):
    box.bind(tree, "/mnt", "idmap")
    assert owners(box, "/mnt/file") == ["100:100"]


def test_the_mapping_of_a_user_namespace_that_is_joined(box, tree, user_namespace):
    holder = subprocess.Popen(["unshare", "--user", "sleep", "60"])
    try:
        while os.readlink(f"/proc/{holder.pid}/ns/user") == os.readlink("/proc/self/ns/user"):
            pass
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/{holder.pid}/{name}", "w", encoding="ascii") as file:
                file.write("0 100000 65536\n")
        for entry in box.linux["namespaces"]:
            if entry["type"] == "user":
                entry["path"] = f"/proc/{holder.pid}/ns/user"
        del box.linux["uidMappings"], box.linux["gidMappings"]
        box.bind(tree, "/mnt", "idmap")
        assert owners(box, "/mnt/file") == ["100:100"]
    finally:
        holder.kill()
        holder.wait()


@pytest.mark.usefixtures("user_namespace")
def test_what_is_written_belongs_to_who_it_is_mapped_from(box, tree):
    os.chown(tree, 0, 0)
    box.bind(tree, "/mnt", **mapped((0, 100000, 1000)))
    assert box.sh("touch /mnt/new && stat -c %u:%g /mnt/new") == "0:0"
    assert (tree / "new").stat().st_uid == 0


def test_nobody_that_is_not_mapped_writes(box, tree):
    box.bind(tree, "/mnt", **mapped((0, 100000, 1000)))
    done = box.run("touch /mnt/new")
    assert done.returncode == 1
    assert "Value too large for defined data type" in done.stderr
    assert not (tree / "new").exists()


@pytest.mark.usefixtures("user_namespace")
def test_one_source_by_several_mappings_and_a_link(box, tree):
    (box.directory / "link").symlink_to(tree)
    for number, source in enumerate((tree, tree, box.directory / "link")):
        box.bind(source, f"/mnt/{number}", **mapped((100, 100001 + number, 1)))
    assert owners(box, *(f"/mnt/{number}/file" for number in range(3))) == ["1:1", "2:2", "3:3"]


def test_a_source_that_an_earlier_mount_has_made(box, tree):
    box.bind(tree, "/first")
    box.bind(box.rootfs / "first", "/second", **mapped((100, 7, 1)))
    (box.rootfs / "first").mkdir()
    assert owners(box, "/second/file") == ["7:7"]


@pytest.mark.parametrize(("option", "below"), [("idmap", NOBODY), ("ridmap", "8:8")])
@pytest.mark.usefixtures("user_namespace")
def test_the_same_in_a_user_namespace(box, tree, option, below):
    """Also where there is something by that name before, which the earlier mount covers."""
    for name in ("first", "third"):
        (box.rootfs / name).mkdir()
    (box.rootfs / "link").symlink_to("/first")
    box.bind(tree, "/first", "rbind")
    mapping = mapped((100, 100007, 1), (200, 100008, 1))
    box.bind(box.rootfs / "first", "/second", "rbind", option, **mapping)
    box.bind("rootfs/link/below", "/third", "rbind", option, **mapping)
    assert owners(box, "/second/file", "/second/below/file", "/third/file") == ["7:7", below, "8:8"]


@pytest.mark.usefixtures("user_namespace")
def test_a_link_in_the_root_leads_to_nothing_outside(box, tree):
    """What the image has at the source is looked up with the host's rights: it stays in the container's root."""
    (box.rootfs / "link").symlink_to(tree)
    box.bind(box.rootfs / "link", "/mnt", **mapped((100, 100007, 1)))
    assert f"mounts[{len(box.spec['mounts']) - 1}]: map /link: no such file or directory" in box.refuse()


@pytest.mark.usefixtures("user_namespace")
def test_with_propagation_and_attributes(box, tree):
    box.bind(tree, "/mnt", "shared", "ro", "nosuid", **mapped((100, 100007, 1)))
    line = next(line.split() for line in box.sh("cat /proc/self/mountinfo").splitlines() if line.split()[4] == "/mnt")
    assert {"ro", "nosuid", "idmapped"} <= set(line[5].split(","))
    assert line[6].startswith("shared:")
