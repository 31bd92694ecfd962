# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""config.md, Linux mount options: every row of the table, as the mount looks from inside."""

from __future__ import annotations

import pytest

from .mounts import host_tmpfs, mounts_inside, share

item = pytest.mark.item

# Options of a tmpfs, which words its mount must have and which not: the opposite is given first, the last one counts.
PLAIN = {
    "async": (["sync", "async"], set(), {"sync"}),
    "atime": (["noatime", "atime"], set(), {"noatime"}),
    "defaults": (["defaults"], {"rw"}, {"nosuid", "nodev", "noexec", "sync"}),
    "dev": (["nodev", "dev"], set(), {"nodev"}),
    "diratime": (["nodiratime", "diratime"], set(), {"nodiratime"}),
    "dirsync": (["dirsync"], {"dirsync"}, set()),
    "exec": (["noexec", "exec"], set(), {"noexec"}),
    # No file of /proc tells of these five; a tmpfs would refuse them if they were passed on to it.
    "iversion": (["iversion"], set(), set()),
    "noiversion": (["noiversion"], set(), set()),
    "loud": (["loud"], set(), set()),
    "silent": (["silent"], set(), set()),
    "norelatime": (["norelatime"], set(), set()),
    "lazytime": (["lazytime"], {"lazytime"}, set()),
    "nolazytime": (["lazytime", "nolazytime"], set(), {"lazytime"}),
    "noatime": (["noatime"], {"noatime"}, set()),
    "nodev": (["nodev"], {"nodev"}, set()),
    "nodiratime": (["nodiratime"], {"nodiratime"}, set()),
    "noexec": (["noexec"], {"noexec"}, set()),
    "nostrictatime": (["strictatime", "nostrictatime"], {"relatime"}, set()),
    "nosuid": (["nosuid"], {"nosuid"}, set()),
    "nosymfollow": (["nosymfollow"], {"nosymfollow"}, set()),
    "relatime": (["relatime"], {"relatime"}, set()),
    "ro": (["ro"], {"ro"}, {"rw"}),
    "rw": (["ro", "rw"], {"rw"}, {"ro"}),
    "strictatime": (["strictatime"], set(), {"relatime", "noatime"}),
    "suid": (["nosuid", "suid"], set(), {"nosuid"}),
    "symfollow": (["nosymfollow", "symfollow"], set(), {"nosymfollow"}),
    "sync": (["sync"], {"sync"}, set()),
}


@item("config/mounts/options/{option}")
@pytest.mark.parametrize("option", PLAIN)
def test_options_of_a_mount(box, option):
    options, wanted, unwanted = PLAIN[option]
    box.mount("/data", *options)
    found = mounts_inside(box)["/data"]
    # Whether its file system could be written to through another mount is not asked.
    words = found.flags | found.data - {"ro", "rw"}
    assert wanted <= words
    assert not unwanted & words


@item("config/mounts/options/{option}")
@pytest.mark.parametrize("option", ["mand", "nomand"])
def test_mandatory_locking_may_be_refused_but_not_misunderstood(box, option):
    box.mount("/data", option)
    done = box.run("true")
    assert done.returncode == 0 or "mand" in done.stderr, done.stderr
    box.note = "" if done.returncode == 0 else "refused, which the specification allows"


BIND = {
    "ro": ("rw", "ro", "rw"),
    "rw": ("rw", "rw", "ro"),
    "nosuid": ("rw", "nosuid", ""),
    "nodev": ("rw", "nodev", ""),
    "noexec": ("rw", "noexec", ""),
    "noatime": ("rw", "noatime", "relatime"),
    "suid": ("nosuid", "", "nosuid"),
    "exec": ("noexec", "", "noexec"),
    "dev": ("nodev", "", "nodev"),
}


@item("config/mounts/options/{option} of a bind")
@pytest.mark.parametrize("option", BIND)
def test_options_of_a_bind(box, option):
    of_source, wanted, unwanted = BIND[option]
    box.bind(host_tmpfs(box, "source", of_source), "/data", option)
    found = mounts_inside(box)["/data"].flags
    assert not wanted or wanted in found
    assert not unwanted or unwanted not in found


@item("config/mounts/options/bind")
def test_bind_takes_one_mount(box):
    source = host_tmpfs(box, "source")
    (source / "inner").mkdir()
    host_tmpfs(box, "source/inner")
    box.bind(source, "/data")
    found = mounts_inside(box)
    assert "/data" in found
    assert "/data/inner" not in found


@item("config/mounts/options/rbind")
def test_rbind_takes_what_is_mounted_below(box):
    source = host_tmpfs(box, "source")
    (source / "inner").mkdir()
    host_tmpfs(box, "source/inner")
    box.bind(source, "/data", "rbind")
    assert {"/data", "/data/inner"} <= set(mounts_inside(box))


@item("config/mounts/options/remount")
def test_remount_changes_what_is_there(box):
    box.mount("/data")
    box.mount("/data", "remount", "ro")
    assert "ro" in mounts_inside(box)["/data"].flags


@item("config/mounts/options/tmpcopyup")
def test_tmpcopyup_copies_what_the_tmpfs_hides(box):
    (box.rootfs / "data/inner").mkdir()
    (box.rootfs / "data/inner/mark").write_text("here")
    (box.rootfs / "data/inner/mark").chmod(0o640)
    box.mount("/data", "tmpcopyup")
    assert box.sh("cat /data/inner/mark; stat -c ' %a' /data/inner/mark; touch /data/new").split() == ["here", "640"]
    assert not (box.rootfs / "data/new").exists()


@item("config/mounts/options/of the file system")
def test_unknown_options_go_to_the_file_system(box):
    box.mount("/data", "size=1m", "mode=0710", "nr_inodes=50")
    found = mounts_inside(box)["/data"].data
    assert {"size=1024k", "mode=710", "nr_inodes=50"} <= found


@item("config/mounts/options/unknown to the file system")
def test_options_that_the_file_system_refuses(box):
    box.mount("/data", "nothing=5")
    box.refuse()


# Propagation: of a bind of a shared mount of the host's with another one below

PROPAGATION = {
    "private": (set(), None),
    "shared": ({"shared"}, None),
    "slave": ({"master"}, None),
    "unbindable": ({"unbindable"}, None),
    "rprivate": (set(), set()),
    "rshared": ({"shared"}, {"shared"}),
    "rslave": ({"master"}, {"master"}),
    "runbindable": ({"unbindable"}, {"unbindable"}),
}


@item("config/mounts/options/{option}")
@pytest.mark.parametrize("option", PROPAGATION)
def test_propagation(box, option):
    source = host_tmpfs(box, "source")
    share(source)
    (source / "inner").mkdir()
    share(host_tmpfs(box, "source/inner"))
    box.bind(source, "/data", "rbind", option)
    found = mounts_inside(box)
    outer, inner = PROPAGATION[option]
    for path, wanted in (("/data", outer), ("/data/inner", inner)):
        if wanted is None:
            continue
        assert all(found[path].has_peer(word) for word in wanted), found[path]
        if not wanted:
            assert found[path].peers == set()


# Recursive ones: what they do to a mount below, which begins with the first column's options

RECURSIVE = {
    "rro": ("rw", "ro", ""),
    "rrw": ("rw", "rw", "ro"),
    "rnosuid": ("rw", "nosuid", ""),
    "rsuid": ("nosuid", "", "nosuid"),
    "rnodev": ("rw", "nodev", ""),
    "rdev": ("nodev", "", "nodev"),
    "rnoexec": ("rw", "noexec", ""),
    "rexec": ("noexec", "", "noexec"),
    "rnodiratime": ("rw", "nodiratime", ""),
    "rdiratime": ("nodiratime", "", "nodiratime"),
    "rnoatime": ("rw", "noatime", ""),
    "ratime": ("noatime", "", "noatime"),
    "rrelatime": ("noatime", "relatime", "noatime"),
    "rnorelatime": ("rw", "", ""),
    "rstrictatime": ("rw", "", "relatime"),
    "rnostrictatime": ("strictatime", "", ""),
    "rnosymfollow": ("rw", "nosymfollow", ""),
    "rsymfollow": ("nosymfollow", "", "nosymfollow"),
}


@item("config/mounts/options/{option}")
@pytest.mark.parametrize("option", RECURSIVE)
def test_recursive_options(box, option):
    of_inner, wanted, unwanted = RECURSIVE[option]
    source = host_tmpfs(box, "source")
    (source / "inner").mkdir()
    host_tmpfs(box, "source/inner", of_inner)
    box.bind(source, "/data", "rbind", option)
    found = mounts_inside(box)["/data/inner"].flags
    assert not wanted or wanted in found
    assert not unwanted or unwanted not in found
