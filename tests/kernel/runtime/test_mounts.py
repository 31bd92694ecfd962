"""Where mounts land, what they look like, and what is refused: beyond the specification's table of options, which
tests/conformance goes through."""

from __future__ import annotations

import os
import stat
import subprocess

import pytest


def inside(box, command="cat /proc/self/mountinfo"):
    """Mount point to (root, flags, optional fields, type), as the container sees them; the last one counts."""
    found = {}
    for line in box.sh(command).splitlines():
        fields = line.split()
        dash = fields.index("-")
        found[fields[4]] = (fields[3], set(fields[5].split(",")), set(fields[6:dash]), fields[dash + 1])
    return found


def with_file(path, content="here"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


# Destinations


def test_a_link_to_nowhere_on_the_way_is_followed_and_made(box):
    (box.rootfs / "etc/hosts").symlink_to("/jump/baz/hosts")
    (box.rootfs / "jump").symlink_to("/tmp/foo/bar")
    box.bind(with_file(box.directory / "hosts"), "/etc/hosts")
    assert box.sh("cat /tmp/foo/bar/baz/hosts; echo; readlink /etc/hosts").split() == ["here", "/jump/baz/hosts"]


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_a_link_to_nowhere_at_the_end_is_followed_and_made(box, kind):
    (box.rootfs / "etc/here").symlink_to("../../../tmp/there")
    with_file(box.directory / "source/file")
    box.bind(box.directory / ("source/file" if kind == "file" else "source"), "/etc/here")
    assert "/tmp/there" in inside(box)


def test_links_in_a_circle_are_refused(box):
    (box.rootfs / "one").symlink_to("two")
    (box.rootfs / "two").symlink_to("one")
    box.mount("/one/below")
    assert "mount tmpfs on /one/below: too many levels of symbolic links" in box.refuse().lower()


def test_a_file_in_the_way_is_refused(box):
    box.mount("/etc/passwd/below")
    assert "mount tmpfs on /etc/passwd/below: not a directory" in box.refuse().lower()


@pytest.mark.parametrize("destination", ["/", "/tmp/..", "//"])
def test_nothing_is_mounted_on_the_root(box, destination):
    box.mount(destination)
    assert "mounts[4].destination" in box.refuse()


def test_directories_that_are_made_inherit_the_group(box):
    (box.rootfs / "setgid").mkdir()
    (box.rootfs / "setgid").chmod(0o7755)
    box.mount("/setgid/a/b")
    box.sh("true")
    modes = [stat.S_IMODE((box.rootfs / path).stat().st_mode) for path in ("setgid", "setgid/a", "setgid/a/b")]
    assert modes == [0o7755, 0o2755, 0o2755]


def test_a_source_may_be_what_was_mounted_before(box):
    """Both may be named by the path of the root on the host, as for runc."""
    for name in ("a/x", "b/y", "c/z"):
        with_file(box.directory / "source" / name / "file", name)
    box.bind(box.directory / "source/a", "/mnt")
    box.bind(box.directory / "source/b", "/mnt/x")
    box.bind(box.directory / "source/c", "/mnt/x/y")
    box.bind(box.rootfs / "mnt", f"{box.rootfs}/final", "rbind")
    assert box.sh("cat /final/x/y/z/file") == "c/z"


def test_a_source_that_only_the_hosts_root_can_reach(box):
    """A container whose root is somebody else is given what its creator may open."""
    with_file(box.directory / "closed/source/file")
    (box.directory / "closed").chmod(0o700)
    box.map_users()
    box.spec["mounts"] = [entry for entry in box.spec["mounts"] if entry["type"] != "sysfs"]
    box.bind(box.directory / "closed/source", "/mnt")
    assert box.sh("cat /mnt/file") == "here"


# File systems in memory


@pytest.mark.parametrize(("options", "mode"), [((), "710"), (("mode=1500",), "1500"), (("size=1m,mode=0700",), "700")])
def test_a_tmpfs_has_the_mode_of_what_it_covers_or_its_own(box, options, mode):
    (box.rootfs / "covered").mkdir()
    (box.rootfs / "covered").chmod(0o710)
    box.mount("/covered", *options)
    assert box.sh("stat -c %a /covered") == mode
    assert stat.S_IMODE((box.rootfs / "covered").stat().st_mode) == 0o710


def test_a_tmpfs_that_covers_nothing_is_open_to_all(box):
    box.mount("/new/place")
    assert box.sh("stat -c %a /new/place") == "1777"


def test_a_read_only_tmpfs_takes_what_is_mounted_in_it(box):
    box.mount("/mnt", "ro")
    box.mount("/mnt/inner")
    done = box.run("touch /mnt/inner/file && touch /mnt/file")
    assert done.returncode == 1
    assert "/mnt/file: Read-only file system" in done.stderr


def test_a_read_only_dev_has_its_devices_and_links(box):
    box.spec["mounts"][1]["options"].append("ro")
    mounts = inside(box, "cat /proc/self/mountinfo > /tmp/m; echo x > /dev/null; ls /dev/ptmx > /tmp/l; cat /tmp/m")
    assert "ro" in mounts["/dev"][1]
    assert "ro" not in mounts["/dev/pts"][1]


def test_copy_up_keeps_what_files_are(box):
    covered = box.rootfs / "covered"
    with_file(covered / "inner/file").chmod(0o4711)
    (covered / "link").symlink_to("/nowhere")
    os.mkfifo(covered / "pipe", 0o620)
    os.setxattr(covered / "inner/file", "user.note", b"kept")
    for path, owner in (("inner/file", 7), ("inner", 8), ("link", 9), ("pipe", 10), (".", 11)):
        os.chown(covered / path, owner, owner, follow_symlinks=False)
    for path, mode in (("inner/file", 0o4711), ("pipe", 0o620), (".", 0o1750)):
        os.chmod(covered / path, mode)
    os.utime(covered / "inner", (1000, 2000))
    box.mount("/covered", "tmpcopyup", "ro")
    script = "cd /covered; stat -c '%n %u:%g %a %F %Y' . inner link pipe inner/file; readlink link; cat inner/file"
    done = box.run(f"{script}; touch x")
    lines = done.stdout.splitlines()
    assert [line.rpartition(" ")[0] for line in lines[:5]] == [
        ". 11:11 1750 directory",
        "inner 8:8 755 directory",
        "link 9:9 777 symbolic link",
        "pipe 10:10 620 fifo",
        "inner/file 7:7 4711 regular file",
    ]
    assert lines[1].endswith(" 2000")
    assert lines[5:] == ["/nowhere", "here"]
    assert "Read-only file system" in done.stderr


# Options of crun's


def test_copy_symlink(box):
    (box.directory / "link").symlink_to("/over/there")
    box.bind(box.directory / "link", "/etc/copied", "copy-symlink")
    assert box.sh("readlink /etc/copied") == "/over/there"
    assert box.sh("readlink /etc/copied") == "/over/there"
    (box.rootfs / "etc/copied").unlink()
    (box.rootfs / "etc/copied").touch()
    assert "something else than a link to /over/there" in box.refuse()


def test_links_themselves_are_bound_on_links(box):
    (box.directory / "link").symlink_to("/over/there")
    (box.rootfs / "etc/mine").symlink_to("passwd")
    box.bind(box.directory / "link", "/etc/mine", "src-nofollow", "dest-nofollow")
    assert box.sh("readlink /etc/mine; head -n 1 /etc/passwd").startswith("/over/there\nroot:")


# What is refused before anything is made

WRONG = {
    "no kind": ({"destination": "/a", "source": "x"}, "mounts[4].type"),
    "no source": ({"destination": "/a", "options": ["bind"]}, "mounts[4].source"),
    "copy-up of a bind": ({"destination": "/a", "source": "/tmp", "options": ["bind", "tmpcopyup"]}, "tmpcopyup"),
    "crun's mapping": ({"destination": "/a", "source": "/", "options": ["bind", "idmap=uids=0-1-1"]}, "uidMappings"),
    "a mapping of a tmpfs": ({"destination": "/a", "type": "tmpfs", "options": ["idmap"]}, "a mapping for a bind"),
    "nofollow of a tmpfs": ({"destination": "/a", "type": "tmpfs", "options": ["dest-nofollow"]}, "dest-nofollow"),
    "more than a page": ({"destination": "/a", "type": "tmpfs", "options": [f"size={'0' * 5000}1"]}, "4095 bytes"),
}


@pytest.mark.parametrize(("entry", "told"), WRONG.values(), ids=WRONG.keys())
def test_an_entry_that_cannot_be_meant(box, entry, told):
    box.spec["mounts"].append(entry)
    why = box.refuse()
    assert "mounts[4]." in why
    assert told in why
    assert "Traceback" not in why


def test_a_file_system_that_cannot_be_mapped_is_told(box):
    ids = [{"containerID": 0, "hostID": 1000, "size": 10}]
    box.bind("/proc", "/mnt", "idmap", uidMappings=ids, gidMappings=ids)
    assert "has no idmapped mounts on this kernel" in box.refuse()


def test_descriptors_of_mapped_sources_do_not_stay(box):
    """Twenty of them, under a limit of twenty descriptors (runc's idmap.bats)."""
    box.map_users()
    box.spec["mounts"] = [entry for entry in box.spec["mounts"] if entry["type"] != "sysfs"]
    ids = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    with_file(box.directory / "source/file")
    for number in range(20):
        box.bind(box.directory / "source", f"/mnt/{number}", "idmap", uidMappings=ids, gidMappings=ids)
    box.spec["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 20, "hard": 20}]
    assert box.sh("stat -c %u /mnt/0/file /mnt/19/file; ls /proc/self/fd").split() == ["0", "0", "0", "1", "2", "3"]


# Masked and read-only paths


def test_masks_of_directories_are_one_file_system_and_hold(box):
    for name in ("one", "two", "three"):
        with_file(box.rootfs / name / "secret")
    box.linux["maskedPaths"] = ["/one", "/two", "/three", "/one/", "/etc/group", "/etc/../etc/group", "/nowhere"]
    script = (
        "stat -c %d /one /two /three | sort -u | wc -l; ls -A /one /two /three | grep secret; cat /etc/group; "
        "grep -c -E ' (/one|/etc/group) ' /proc/self/mountinfo; touch /two/x; rm -rf /three; umount /one"
    )
    done = box.run(script)
    assert done.stdout.split() == ["1", "2"]
    assert done.stderr.count("Read-only file system") == 1
    assert "can't unmount /one: Operation not permitted" in done.stderr


def test_read_only_paths_hold_below_the_first_mount_alone(box):
    """As for runc: what is mounted below keeps its own say."""
    box.mount("/tmp/inner")
    box.linux["readonlyPaths"] = ["/tmp", "/proc/sys", "/nowhere"]
    done = box.run("touch /tmp/inner/file && touch /tmp/file")
    assert "/tmp/file: Read-only file system" in done.stderr
    flags = inside(box)
    assert {"ro", "nosuid", "nodev", "noexec"} <= flags["/proc/sys"][1]


# The root


def test_a_read_only_root(box):
    box.spec["root"]["readonly"] = True
    done = box.run("touch /tmp/x")
    assert "Read-only file system" in done.stderr
    assert not os.access(box.rootfs / "tmp/x", os.F_OK)


def test_without_pivot_root(box):
    """The host's procfs is not there to be seen whole, below."""
    box.spec["process"]["args"] = ["sh", "-c", "ls /; cat /proc/self/mountinfo"]
    box.write()
    done = box.call("run", "--no-pivot", "-b", str(box.directory), box.id)
    assert done.returncode == 0, done.stderr
    assert "home" in done.stdout
    assert str(box.directory) not in "".join(line.split()[4] for line in done.stdout.splitlines() if " - " in line)
    assert len([line for line in done.stdout.splitlines() if " - proc " in line]) == 1


# Devices


def test_devices_have_all_that_was_asked_for(box):
    box.linux["devices"] = [
        {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 5, "gid": 6},
        {"path": "/dev/deep/disk", "type": "b", "major": 7, "minor": 300, "fileMode": 0o60600},
        {"path": "/srv/raw", "type": "u", "major": 1, "minor": 7},
        {"path": "/dev/pipe", "type": "p", "fileMode": 0o622, "uid": 7},
        {"path": "/dev/tty", "type": "c", "major": 5, "minor": 0},
        {"path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2},
    ]
    script = "stat -c '%n %F %t:%T %a %u:%g' /dev/fuse /dev/deep/disk /srv/raw /dev/pipe /dev/tty; readlink /dev/ptmx"
    assert box.sh(script).splitlines() == [
        "/dev/fuse character special file a:e5 640 5:6",
        "/dev/deep/disk block special file 7:12c 600 0:0",
        "/srv/raw character special file 1:7 666 0:0",
        "/dev/pipe fifo 0:0 622 7:0",
        "/dev/tty character special file 5:0 666 0:0",
        "pts/ptmx",
    ]


def test_a_ptmx_of_an_image_gives_way(box):
    box.spec["mounts"] = [entry for entry in box.spec["mounts"] if entry["destination"] != "/dev"]
    with_file(box.rootfs / "dev/ptmx")
    assert box.sh("readlink /dev/ptmx") == "pts/ptmx"


@pytest.mark.parametrize("present", ["file", "another"])
def test_a_device_whose_place_is_taken_is_refused(box, present):
    place = box.rootfs / "srv/device"
    place.parent.mkdir()
    if present == "file":
        place.write_text("mine")
    else:
        os.mknod(place, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    box.linux["devices"] = [{"path": "/srv/device", "type": "c", "major": 1, "minor": 3}]
    assert "make the device /srv/device: there is something else" in box.refuse()


def test_devices_are_bound_where_none_can_be_made(box):
    """In a user namespace; the device is known by its number, not by its path."""
    box.map_users()
    box.spec["mounts"] = [entry for entry in box.spec["mounts"] if entry["type"] != "sysfs"]
    box.linux["devices"] = [{"path": "/dev/fuse", "type": "c", "major": 1, "minor": 5}]
    os.makedirs("/dev/char", exist_ok=True)
    if not os.path.exists("/dev/char/1:5"):
        assert "no node of char device 1:5" in box.refuse()
        box.linux["devices"] = []
    assert box.sh("stat -c %t:%T /dev/null /dev/zero; echo x > /dev/null").split() == ["1:3", "1:5"]


# Cgroups


@pytest.mark.parametrize("namespaced", [True, False])
def test_every_hierarchy_of_the_host_is_there_and_begins_at_the_container(box, namespaced):
    if namespaced:
        box.linux["namespaces"].append({"type": "cgroup"})
    entry = {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw", "relatime"]}
    box.spec["mounts"].append(entry)
    found = {path: value for path, value in inside(box).items() if path.startswith("/sys/fs/cgroup")}
    with open("/proc/self/mountinfo", encoding="utf-8") as lines:
        host = {line.split()[4] for line in lines if " - cgroup" in line}
    assert {path for path in found if path != "/sys/fs/cgroup" or found[path][3] == "cgroup2"} == host
    roots = {value[0] for value in found.values() if value[3] == "cgroup"}
    assert roots == {"/"} if namespaced else f"/{box.id}" in roots
    assert all({"nosuid", "nodev", "noexec"} <= value[1] for value in found.values())


def test_cgroup2_by_its_own_type(box):
    entry = {"destination": "/mnt", "type": "cgroup2", "source": "cgroup", "options": ["ro"]}
    box.spec["mounts"].append(entry)
    mounted = inside(box)["/mnt"]
    assert mounted[3] == "cgroup2"
    assert "ro" in mounted[1]


def test_the_host_is_left_as_it_was(box):
    """Whatever is mounted in a container is seen by nobody else."""
    before = subprocess.run(["cat", "/proc/self/mountinfo"], capture_output=True, text=True, check=True).stdout
    box.mount("/mnt")
    box.start()
    assert subprocess.run(["cat", "/proc/self/mountinfo"], capture_output=True, text=True, check=True).stdout == before
