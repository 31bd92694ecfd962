# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hierarchies are found in mountinfo, wherever they are mounted and whatever their root is."""

from __future__ import annotations

from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.cgroupfs import Hierarchy, parse_mountinfo

HYBRID = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime shared:9 master:1 - tmpfs tmpfs rw,mode=755
32 31 0:29 /docker/abc /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct
33 31 0:33 /.. /odd\\040place/memory rw - cgroup cgroup rw,memory,clone_children
34 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup none rw,xattr,release_agent=/x,name=systemd
35 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
"""


def test_every_cgroup_mount_is_found_with_its_controllers():
    assert parse_mountinfo(HYBRID) == [
        (Hierarchy("/sys/fs/cgroup/cpu,cpuacct", 1, frozenset(("cpu", "cpuacct"))), "0:29"),
        (Hierarchy("/odd place/memory", 1, frozenset(("memory",))), "0:33"),
        (Hierarchy("/sys/fs/cgroup/systemd", 1, frozenset(), "systemd"), "0:37"),
        (Hierarchy("/sys/fs/cgroup/unified", 2), "0:38"),
    ]


def test_no_cgroup_mount_is_no_hierarchy():
    assert parse_mountinfo("31 23 0:28 / / rw - ext4 /dev/vda rw\n") == []
