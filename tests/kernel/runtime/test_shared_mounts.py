# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container in the mount namespace of others, with cgroups in its root: those of the host are still found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CGROUPS = {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]}
FIND = "from _engine.linux.cgroupfs import observe_hierarchies; print([found.mount for found in observe_hierarchies()])"


@pytest.fixture
def box(box):
    """In a mount namespace that others are in, and that is not the host's."""
    with subprocess.Popen(["unshare", "-m", "sh", "-c", "echo here; exec sleep 60"], stdout=subprocess.PIPE) as others:
        others.stdout.readline()
        box.wrapper = ["nsenter", f"--mount=/proc/{others.pid}/ns/mnt"]
        box.mountinfo = Path(f"/proc/{others.pid}/mountinfo")
        yield box
        box.call("delete", "--force", box.id)
        others.kill()


@pytest.mark.parametrize("cgroup_namespace", [False, True])
def test_cgroups_in_its_root(box, app, cgroup_namespace):
    def find():
        command = [*box.wrapper, sys.executable, "-c", f"import sys; sys.path.insert(0, {str(app)!r}); {FIND}"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    before, hierarchies = box.mountinfo.read_text(), find()
    box.spec["mounts"].append(CGROUPS)
    box.linux["namespaces"] = [entry for entry in box.linux["namespaces"] if entry["type"] != "mount"]
    if cgroup_namespace:
        box.linux["namespaces"].append({"type": "cgroup"})
    box.start()
    within = [line for line in box.mountinfo.read_text().splitlines() if f"{box.rootfs}/sys/fs/cgroup/" in line]
    assert within
    assert find() == hierarchies
    done = box.call("exec", box.id, "ls", "/sys/fs/cgroup")
    assert len(done.stdout.split()) >= len(within), done.stderr
    assert box.call("delete", "--force", box.id).returncode == 0
    assert box.mountinfo.read_text() == before


def test_what_the_host_has_not_mounted(box):
    box.wrapper += ["sh", "-c", 'umount -alt cgroup2; exec "$@"', "sh"]
    box.spec["mounts"].append({**CGROUPS, "type": "cgroup2"})
    box.linux["namespaces"] = [entry for entry in box.linux["namespaces"] if entry["type"] != "mount"]
    assert "mounts[4].type: 'cgroup2' is not valid; expected cgroups that the host has mounted" in box.refuse()
