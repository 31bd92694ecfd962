# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Devices on a real machine with systemd and cgroup v2: what a container makes by mknod it still cannot open."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from . import fleet, story

pytestmark = [pytest.mark.root, pytest.mark.vm]

CONTAINERS = [
    {"name": "web", "read_only": True},
    {"name": "keeper", "privileged": True},
]


@pytest.fixture(scope="module")
def machine() -> Iterator[fleet.Node]:
    fleet.down("vmdevices")
    with fleet.up("vmdevices", ["node-a"], backend="vm") as up:
        story.prepare(up)
        story.have_containers(up, [{"image": "busybox:1", "command": ["sleep", "3600"], **one} for one in CONTAINERS])
        yield up.nodes[0]


@pytest.fixture(scope="module")
def disk(machine: fleet.Node) -> str:
    """The disk of the machine, as mknod(1) wants it: the first that has a sector."""
    look = "for d in /sys/block/*; do [ $(cat $d/size) -gt 0 ] && tr : ' ' < $d/dev && break; done"
    found = machine.run(["sh", "-c", look]).stdout.strip()
    assert found
    return found


def inside(machine: fleet.Node, container: str, script: str) -> tuple[int, str, str]:
    done = machine.run(["stowage", "exec", container, "sh", "-c", script], check=False)
    return done.returncode, done.stdout, done.stderr


def test_the_disk_can_be_made_but_not_opened(machine: fleet.Node, disk: str) -> None:
    script = f"mknod /dev/disk b {disk} && echo made; head -c 1 /dev/disk | wc -c; echo x > /dev/disk"
    code, out, err = inside(machine, "web", script)  # its root is read-only, its /dev is not
    assert code != 0 and out.split() == ["made", "0"], err
    assert err.count("Operation not permitted") == 2, err


def test_memory_and_the_log_of_the_kernel_cannot_be_opened(machine: fleet.Node) -> None:
    script = "mknod /dev/mem c 1 1 && mknod /dev/kmsg c 1 11 && cat /dev/mem /dev/kmsg"
    code, out, err = inside(machine, "web", script)
    assert (code, out) == (1, "") and err.count("Operation not permitted") == 2, err


def test_the_default_devices_work(machine: fleet.Node) -> None:
    script = (
        "echo x > /dev/null && cat /dev/null && for d in zero full random urandom; do head -c 2 /dev/$d; done | wc -c"
        " && ls -l /dev/ptmx > /dev/null && : > /dev/zero && exec 3<> /dev/ptmx && echo ptmx"
    )
    code, out, err = inside(machine, "web", script)
    assert (code, out.split()) == (0, ["8", "ptmx"]), err


def test_a_privileged_container_opens_the_disk(machine: fleet.Node, disk: str) -> None:
    code, out, err = inside(
        machine, "keeper", f"mkdir -p /tmp; mknod /tmp/disk b {disk}; head -c 512 /tmp/disk | wc -c"
    )
    assert (code, out.strip()) == (0, "512"), err


def test_the_program_is_above_the_payload(machine: fleet.Node) -> None:
    """Asked of the kernel by the engine's own Python: where one has a program, and that a privileged one has none."""
    script = """
import os, sys
sys.path.insert(0, sys.argv[1])
from stowage_engine.linux import bpf
for name in ("web", "keeper"):
    pid = sys.argv[2 + (name == "keeper")]
    payload = "/sys/fs/cgroup" + open(f"/proc/{pid}/cgroup").read().strip()[3:]
    for path in (payload, os.path.dirname(payload)):
        found = bpf.query_programs(os.open(path, os.O_RDONLY), bpf.BPF_CGROUP_DEVICE)
        print(name, path == payload, len(found))
"""
    pids = {name: str(told["pid"]) for name, told in story.containers(machine).items()}
    engine = machine.run(["sh", "-c", "ls -d /var/lib/stowage/engine/*/app"]).stdout.split()[0]
    argv = ["/usr/bin/python3", "-I", "-S", "-", engine, pids["web"], pids["keeper"]]
    assert machine.run(argv, stdin=script).stdout.splitlines() == [
        "web True 0",
        "web False 1",
        "keeper True 0",
        "keeper False 0",
    ]


def test_the_runtime_alone_limits_too(machine: fleet.Node, disk: str) -> None:
    """stowage-runtime with a plain path, which makes its cgroup beside systemd's units."""
    prepare = (
        "mkdir -p /opt/bundle/rootfs; cp -a /var/lib/stowage/layers/sha256-*/. /opt/bundle/rootfs; "
        "cd /opt/bundle; rm -f config.json; stowage-runtime spec"
    )
    machine.run(["sh", "-ec", prepare])
    config = json.loads(machine.run(["cat", "/opt/bundle/config.json"]).stdout)
    config["process"]["terminal"] = False
    config["root"]["readonly"] = False
    for names in config["process"]["capabilities"].values():
        names.append("CAP_MKNOD")
    script = f"mkdir -p /tmp; mknod /tmp/disk b {disk} && echo made; head -c 1 /tmp/disk; cat /dev/null && echo null"
    config["process"]["args"] = ["sh", "-c", script]
    for rules in (config["linux"]["resources"]["devices"], []):  # also where config.json says nothing about devices
        config["linux"]["resources"]["devices"] = rules
        machine.run(
            ["sh", "-c", "rm -f /opt/bundle/rootfs/tmp/disk; cat > /opt/bundle/config.json"], stdin=json.dumps(config)
        )
        done = machine.run(["stowage-runtime", "run", "-b", "/opt/bundle", "limited"])
        assert done.stdout.split() == ["made", "null"] and "Operation not permitted" in done.stderr
