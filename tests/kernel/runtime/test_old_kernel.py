"""What mounts do on a kernel without openat2(2), mount_setattr(2) and the calls that came between (RHEL 8 has 4.18)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def box(box, app):
    """The same, under a filter."""
    box.wrapper = ["/usr/bin/python3", "-I", "-S", str(Path(__file__).with_name("old_kernel.py")), str(app)]
    return box


def flags(box, *paths):
    """The flags of mounts, by mount point."""
    lines = [line.split() for line in box.sh("cat /proc/self/mountinfo").splitlines()]
    return [set(fields[5].split(",")) for path in paths for fields in lines if fields[4] == path]


def test_the_filter_is_there(box, app):
    script = "import sys; sys.path.insert(0, sys.argv[1]); from _engine.linux import mount_setattr as m, openat2 as o\n"
    script += (
        "print(m.has_mount_setattr())\ntry: o.openat2(-100, '/', 0, resolve=0)\nexcept OSError as e: print(e.errno)"
    )
    box.command = ["/usr/bin/python3", "-I", "-S", "-c", script, str(app)]
    assert box.call().stdout.split() == ["False", "38"]


def test_binds_and_their_attributes(box):
    (box.directory / "source").mkdir()
    (box.directory / "source/file").write_text("here")
    box.bind(box.directory / "source", "/one")
    box.bind(box.directory / "source", "/two", "ro", "nosuid", "nodev", "noexec")
    box.bind(box.directory / "source/file", "/new/file", "rprivate", "ro")
    one, two, file = flags(box, "/one", "/two", "/new/file")
    assert {"ro", "nosuid"} & one == set()
    assert {"ro", "nosuid", "nodev", "noexec"} <= two
    assert "ro" in file
    assert box.sh("cat /one/file /new/file") == "herehere"


def test_a_tmpfs_that_is_read_only_at_last(box):
    box.mount("/mnt", "ro", "size=1m")
    box.mount("/mnt/inner", "noexec")
    outer, inner = flags(box, "/mnt", "/mnt/inner")
    assert "ro" in outer
    assert "ro" not in inner
    assert "noexec" in inner


def test_masks_and_read_only_paths_and_root(box):
    (box.rootfs / "one").mkdir()
    (box.rootfs / "two").mkdir()
    box.linux["maskedPaths"] = ["/proc/keys", "/one", "/two"]
    box.linux["readonlyPaths"] = ["/proc/sys"]
    box.spec["root"]["readonly"] = True
    root, one, two, sys = flags(box, "/", "/one", "/two", "/proc/sys")
    assert all("ro" in found for found in (root, one, two, sys))
    assert box.sh("stat -c %t:%T /proc/keys") == "1:3"


def test_remounts(box):
    box.mount("/mnt")
    box.mount("/mnt", "remount", "ro")
    assert "ro" in flags(box, "/mnt")[0]


def test_links_lead_inside(box):
    victim = box.directory / "victim"
    victim.mkdir()
    (box.rootfs / "link").symlink_to(f"../../../../../..{victim}")
    (box.rootfs / "srv").mkdir()
    (box.rootfs / "srv/up").symlink_to("../../../srv")
    box.spec["mounts"] = [entry for entry in box.spec["mounts"] if not entry["destination"].startswith("/dev")]
    (box.directory / "source").mkdir()
    (box.directory / "source/mark").touch()
    box.bind(box.directory / "source", "/link/deep")
    box.bind(box.directory / "source", "/srv/up/up/new")
    assert box.sh(f"ls {victim}/deep /srv/new | grep -c mark") == "2"
    assert os.listdir(victim) == []


def test_proc_is_not_moved_by_a_link(box):
    (box.rootfs / "elsewhere").mkdir()
    (box.rootfs / "proc").symlink_to("elsewhere")
    assert "must be mounted on ordinary directory" in box.refuse()


@pytest.mark.parametrize("word", ["", "slave", "private", "shared", "unbindable"])
def test_propagation_of_the_root(box, word):
    box.linux["rootfsPropagation"] = word
    line = next(line for line in box.sh("cat /proc/self/mountinfo").splitlines() if line.split()[4] == "/")
    peers = {field.partition(":")[0] for field in line.split()[6 : line.split().index("-")]}
    assert peers <= {"": set(), "private": set(), "slave": {"master"}}.get(word, {word})


def test_sysctls_are_written(box):
    box.linux["sysctl"] = {"net.ipv4.ip_forward": "1"}
    assert box.sh("cat /proc/sys/net/ipv4/ip_forward") == "1"


def test_cgroups(box):
    entry = {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]}
    box.spec["mounts"].append(entry)
    assert all("ro" in found for found in flags(box, "/sys/fs/cgroup"))


NEWER = {
    "recursive": (["rbind", "rro"], {}),
    "identities": (["bind", "idmap"], {"uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]}),
    "links": (["bind", "src-nofollow"], {}),
}


@pytest.mark.parametrize(("options", "more"), NEWER.values(), ids=NEWER.keys())
def test_what_takes_a_newer_kernel_is_refused(box, options, more):
    more = {**more, "gidMappings": more["uidMappings"]} if more else {}
    entry = {"destination": "/mnt", "source": str(box.directory), "options": options, **more}
    box.spec["mounts"].append(entry)
    assert "take a kernel of 5.12 or later" in box.refuse()
