# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The flags of a bind mount, given those of the mount that it is made of, as runc 1.5 has it: its own, where no option
is about them; else those that are named, and times of access that no option is about. In a user namespace those that
the host's mount has stay (mount_namespaces(7)), and it is an error to name their contrary."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest


@pytest.fixture(params=["mount_setattr", "mount"])
def box(request, box, app):
    """With the system calls of this kernel, and with those that one before 5.2 has."""
    if request.param == "mount":
        box.wrapper = ["/usr/bin/python3", "-I", "-S", str(Path(__file__).with_name("old_kernel.py")), str(app)]
    return box


@pytest.fixture
def source(box):
    """A mount whose flags are its own, not its file system's: it takes them as words of mount(8)."""
    directory = box.directory / "source"
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "source", directory], check=True)

    def flag(words):
        for options in ("remount,bind,rw,suid,dev,exec,diratime,atime,strictatime", f"remount,bind,{words}"):
            subprocess.run(["mount", "-o", options, directory], check=True)
        return directory

    yield flag
    subprocess.run(["umount", directory], check=True)


def flags(box, source, *options):
    """Of the bind mount, but for rw."""
    box.bind(source, "/mnt", *options)
    lines = [line.split() for line in box.sh("cat /proc/self/mountinfo").splitlines()]
    return {*next(fields[5] for fields in lines if fields[4] == "/mnt").split(",")} - {"rw"}


ALONE = {
    "nothing is named": ("ro,noexec,nodiratime", (), {"ro", "noexec", "nodiratime", "relatime"}),
    "propagation is no flag": ("nosuid,noatime", ("rslave",), {"nosuid", "noatime"}),
    "one is cleared": ("ro,noexec,nodev", ("dev",), set()),
    "one is set": ("nosuid,noexec", ("ro",), {"ro"}),
    "ro is not kept": ("ro", ("nosuid", "nodev"), {"nosuid", "nodev"}),
    "times stay": ("nosuid,noatime", ("ro",), {"ro", "noatime"}),
    "times that are cleared stay": ("noatime", ("atime", "exec"), {"noatime"}),
    "times are replaced": ("noatime,nodiratime", ("relatime",), {"relatime"}),
    "strict ones": ("noatime", ("strictatime",), set()),
    "directories alone": ("noatime", ("nodiratime",), {"nodiratime", "relatime"}),
    "directories, else strict": ("noatime", ("nodiratime", "strictatime"), {"nodiratime"}),
}


@pytest.mark.parametrize("case", ALONE)
def test_flags(box, source, case):
    of_source, options, found = ALONE[case]
    assert flags(box, source(of_source), *options) == found


LOCKED = {
    "nothing is named": ("ro,noexec,nodiratime", (), {"ro", "noexec", "nodiratime", "relatime"}),
    "what is locked stays": ("nosuid,nodev,noexec,noatime", ("ro",), {"ro", "nosuid", "nodev", "noexec", "noatime"}),
    "another is cleared": ("ro,noexec", ("dev",), {"ro", "noexec"}),
    "the same times": ("nosuid,noatime", ("ro", "noatime"), {"ro", "nosuid", "noatime"}),
}


@pytest.mark.parametrize("case", LOCKED)
def test_flags_in_a_user_namespace(box, source, case):
    of_source, options, found = LOCKED[case]
    box.map_users()
    assert flags(box, source(of_source), *options) == found


REFUSED = {
    "ro": ("ro", ("rw",), "ro of its source"),
    "several": ("nosuid,nodev", ("suid", "dev"), "nodev and nosuid of its source"),
    "times": ("nosuid,noatime", ("nodev", "relatime"), "the times of access"),
    "strict times": ("nosuid,relatime", ("nodev", "strictatime"), "the times of access"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_locked_cannot_be_cleared(box, source, case):
    of_source, options, told = REFUSED[case]
    box.map_users()
    box.bind(source(of_source), "/mnt", *options)
    said = box.refuse()
    assert "on /mnt: operation not permitted: " in said
    assert told in said
