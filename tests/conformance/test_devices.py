# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""config-linux.md: default file systems, devices, default devices; runtime-linux.md: descriptors and links in /dev."""

from __future__ import annotations

import os

import pytest

from .terminal import run_on_terminal

item = pytest.mark.item

FUSE = {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}


@item("config-linux/default filesystems/{path}")
@pytest.mark.parametrize(
    ("path", "kind"), [("/proc", "proc"), ("/sys", "sysfs"), ("/dev/pts", "devpts"), ("/dev/shm", "tmpfs")]
)
def test_the_default_file_systems_can_be_had(box, path, kind):
    """They "SHOULD be made available"; all runtimes leave it to the caller to ask for them."""
    if path not in [mount["destination"] for mount in box.spec["mounts"]]:
        box.mount(path, source=kind, kind=kind)
    kinds = {line.split()[1]: line.split()[2] for line in box.sh("cat /proc/mounts").splitlines()}
    assert kinds[path] == kind


@item("config-linux/devices/{kind}")
@pytest.mark.parametrize(
    ("kind", "told"), [("c", "character special file"), ("u", "character special file"), ("b", "block special file")]
)
def test_a_device(box, kind, told):
    box.linux["devices"] = [{"path": "/dev/mine", "type": kind, "major": 7, "minor": 3}]
    assert box.sh("stat -c %F:%t:%T /dev/mine") == f"{told}:7:3"


@item("config-linux/devices/p")
def test_a_pipe(box):
    box.linux["devices"] = [{"path": "/dev/mine", "type": "p"}]
    assert box.sh("stat -c %F /dev/mine") == "fifo"


@item("config-linux/devices/fileMode")
def test_the_mode_of_a_device(box):
    box.linux["devices"] = [{**FUSE, "fileMode": 0o640}]
    assert box.sh("stat -c %a /dev/fuse") == "640"


@item("config-linux/devices/{name}")
@pytest.mark.parametrize(("name", "letter"), [("uid", "%u"), ("gid", "%g")])
def test_the_owner_of_a_device(box, name, letter):
    box.linux["devices"] = [{**FUSE, name: 77}]
    assert box.sh(f"stat -c {letter} /dev/fuse") == "77"


@item("config-linux/devices/uid/in a user namespace")
def test_the_owner_of_a_device_is_the_containers(box):
    box.map_users()
    box.linux["devices"] = [{**FUSE, "uid": 77, "gid": 78}]
    assert box.sh("stat -c %u:%g /dev/fuse") in ("77:78", "65534:65534")


@item("config-linux/devices/path/outside of /dev")
def test_a_device_may_be_anywhere(box):
    box.linux["devices"] = [{**FUSE, "path": "/data/deep/fuse"}]
    assert box.sh("stat -c %t:%T /data/deep/fuse") == "a:e5"


@item("config-linux/devices/path/another file is there")
def test_another_file_in_its_place_is_an_error(box):
    (box.rootfs / "data/fuse").write_text("")
    box.linux["devices"] = [{**FUSE, "path": "/data/fuse"}]
    box.refuse()


@item("config-linux/devices/path/it is there")
def test_the_same_device_in_its_place_is_no_error(box):
    os.mknod(box.rootfs / "data/fuse", 0o20666, os.makedev(10, 229))
    box.linux["devices"] = [{**FUSE, "path": "/data/fuse"}]
    assert box.sh("stat -c %t:%T /data/fuse") == "a:e5"


@item("config-linux/devices/path/missing")
def test_a_device_has_a_path(box):
    box.linux["devices"] = [{"type": "c", "major": 10, "minor": 229}]
    box.refuse()


@item("config-linux/devices/type/unknown")
def test_an_unknown_type_of_device_is_refused(box):
    box.linux["devices"] = [{**FUSE, "type": "x"}]
    box.refuse()


DEFAULT = {"null": "1:3", "zero": "1:5", "full": "1:7", "random": "1:8", "urandom": "1:9", "tty": "5:0"}


@item("config-linux/default devices/{name}")
@pytest.mark.parametrize("name", DEFAULT)
def test_a_default_device(box, name):
    assert box.sh(f"stat -c %t:%T /dev/{name}; stat -c %a /dev/{name}").split() == [DEFAULT[name], "666"]


@item("config-linux/default devices/usable")
def test_default_devices_can_be_used_under_a_list_that_denies_all(box):
    box.resources["devices"] = [{"allow": False, "access": "rwm"}]
    assert box.sh("echo x > /dev/null; head -c 2 /dev/zero | wc -c; head -c 3 /dev/urandom | wc -c").split() == [
        "2",
        "3",
    ]


@item("config-linux/default devices/ptmx")
def test_ptmx_is_the_containers_own(box):
    said = box.sh("stat -L -c %t:%T /dev/ptmx; readlink /dev/ptmx || echo mount")
    assert said.split()[0] == "5:2"
    assert said.split()[1] in ("pts/ptmx", "/dev/pts/ptmx", "mount")


@item("config-linux/default devices/console")
def test_the_console_is_the_terminal(box):
    said = run_on_terminal(box, "stat -c %F /dev/console; echo hello > /dev/console").splitlines()
    assert said == ["character special file", "hello"]


@item("config-linux/default devices/console/without a terminal")
def test_no_console_without_a_terminal(box):
    assert box.sh("test -e /dev/console && echo there || echo none") == "none"


# runtime-linux.md

LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}


@item("runtime-linux/dev symbolic links/{name}")
@pytest.mark.parametrize("name", LINKS)
def test_a_link_in_dev(box, name):
    assert box.sh(f"readlink /dev/{name}") == LINKS[name]


@item("runtime-linux/file descriptors")
def test_only_the_standard_streams_are_open(box):
    with open("/dev/null", "rb") as leaked:
        os.set_inheritable(leaked.fileno(), True)
        done = box.run("ls", "/proc/self/fd", close_fds=False)
    # 3 is the directory that ls reads.
    assert done.stdout.split() == ["0", "1", "2", "3"], done.stderr


@item("runtime-linux/file descriptors/kept where asked")
def test_more_descriptors_may_be_passed(box):
    # Socket activation (sd_listen_fds(3)): descriptors from 3 on, as --preserve-fds says.
    reader, writer = os.pipe()
    os.write(writer, b"passed")
    os.close(writer)
    box.process["args"] = ["sh", "-c", "cat <&3"]
    box.write()
    words = [box.program.command, "--root", str(box.state_root), "run", "--preserve-fds", "1"]
    script = f'exec "$@" 3<&{reader}'
    command = ["bash", "-c", script, "bash", *words, "--bundle", str(box.directory), box.id]
    done = box.spawn(command, pass_fds=[reader])
    os.close(reader)
    assert done.stdout == "passed", done.stderr
