# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The machines of the vm backend: what they have beyond what test_fleet.py asks of both backends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import fleet
from tests.fleet.image import MIRROR, SECURITY, parse_mirrors
from tests.fleet.process import wait_until

PROJECT = Path(__file__).resolve().parents[2]

# A machine whose firewall forwards nothing, bridged frames included, as Docker leaves it.
STRICT = """modprobe br_netfilter && sysctl -q net.bridge.bridge-nf-call-iptables=1
nft 'table ip strict { chain forward { type filter hook forward priority filter; policy drop; }; }'"""
# Two namespaces on a bridge of the machine's own: what the fleet's underlay would be without its own namespace.
PLAIN_BRIDGE = """set -e
ip link add plain type bridge && ip link set plain up
for i in 1 2; do
    ip netns add plain$i && ip link add plain$i type veth peer name eth0 netns plain$i
    ip link set plain$i master plain up
    ip -n plain$i address add 10.9.9.$i/24 dev eth0 && ip -n plain$i link set eth0 up
done
ip netns exec plain1 python3 -c 'import socket
try:
    socket.create_connection(("10.9.9.2", 1), 5)
except ConnectionRefusedError:
    print("reached")
except OSError:
    print("blocked")'
ip netns delete plain1; ip netns delete plain2; ip link delete plain"""

pytestmark = [pytest.mark.root, pytest.mark.vm]


@pytest.fixture(scope="module")
def machines() -> Iterator[fleet.Fleet]:
    with fleet.up("tf-machines", ["node-a", "node-b"], backend="vm") as hosts:
        yield hosts


def test_systemd_runs_with_unified_cgroups_and_gives_ssh_a_session(machines):
    node = machines.node("node-a")
    assert node.run(["systemctl", "is-system-running"], check=False).stdout.strip() in ("running", "degraded")
    assert "cgroup2 /sys/fs/cgroup cgroup2" in node.run(["cat", "/proc/mounts"]).stdout
    assert "session-" in node.run(["cat", "/proc/self/cgroup"]).stdout


def test_clones_are_hosts_of_their_own(machines):
    for path in ("/etc/machine-id", "/sys/class/net/eth0/address"):
        assert len({node.run(["cat", path]).stdout for node in machines.nodes}) == 2
    for node in machines.nodes:
        assert abs(float(node.run(["date", "+%s"]).stdout) - time.time()) < 10


def test_a_start_from_the_kept_memory_is_fast_and_down_leaves_nothing(machines):
    start = time.monotonic()
    with fleet.up("tf-again", ["node-a"], backend="vm") as hosts:
        assert time.monotonic() - start < 30  # 2.6 s when nothing else runs
        qemu = hosts.node("node-a").process
        assert qemu and qemu.alive()
    assert not qemu.alive()
    assert fleet.leftovers_of("tf-again") == []


@pytest.mark.parametrize("delay", [0.3, 0.8, 1.5, 3])
def test_down_leaves_nothing_after_up_was_killed(machines, tmp_path, delay):
    script = (
        f"import sys; sys.path.insert(0, {str(PROJECT)!r}); from pathlib import Path; from tests import fleet; "
        f"print(flush=True); fleet.up('tf-kill', ['node-a'], backend='vm', base=Path({str(tmp_path)!r}))"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as maker:
        assert maker.stdout
        maker.stdout.readline()
        time.sleep(delay)
        maker.send_signal(signal.SIGKILL)
    fleet.down("tf-kill", base=tmp_path)
    assert fleet.leftovers_of("tf-kill", base=tmp_path) == []
    assert os.listdir(tmp_path) == []


def test_a_machine_is_the_same_host_after_a_reboot(machines):
    node = machines.node("node-b")
    boot = node.run(["cat", "/proc/sys/kernel/random/boot_id"]).stdout
    node.run(["systemctl", "--no-block", "reboot"], check=False)

    def back() -> bool:
        try:
            return node.run(["cat", "/proc/sys/kernel/random/boot_id"], timeout=20).stdout != boot
        except fleet.FleetError:
            return False

    wait_until(back, "node-b after its reboot", 240, pause=1)
    assert node.run(["uname", "-n"]).stdout == "node-b\n"


def test_namespace_hosts_work_on_a_machine_with_systemd_cgroup_v2_and_a_strict_firewall(machines):
    node = machines.node("node-a")
    archive = subprocess.run(
        ["tar", "-cz", "--exclude=__pycache__", "tests/fleet"], cwd=PROJECT, check=True, capture_output=True
    ).stdout
    subprocess.run(node.argv(["tar", "-xz", "-C", "/root"]), input=archive, check=True, timeout=60)
    node.run(["sh", "-c", STRICT])
    assert node.run(["sh", "-c", PLAIN_BRIDGE], check=False).stdout == "blocked\n"  # the firewall does bite
    script = """cd /root && python3 -m tests.fleet up inner-a inner-b >&2
        python3 -m tests.fleet exec inner-a -- python3 -c 'import socket
print(socket.create_connection(("inner-b", 22), 10).recv(4).decode())'
        python3 -m tests.fleet exec inner-a -- sh -c '
            cat /proc/self/cgroup; mkdir /sys/fs/cgroup/probe && echo 7 > /sys/fs/cgroup/probe/pids.max &&
            cat /sys/fs/cgroup/probe/pids.max /sys/fs/cgroup/probe/memory.max'
        python3 -m tests.fleet exec inner-b -- ls /sys/fs/cgroup/probe 2>&1
        python3 -m tests.fleet down && python3 -m tests.fleet leftovers"""
    told = node.run(["sh", "-c", script], timeout=240, check=False).stdout
    lines = told.splitlines()
    assert lines[:4] == ["SSH-", "0::/init", "7", "max"], told
    assert "No such file" in lines[4]
    assert [line for line in lines[5:] if "/var/lib/stowage" not in line] == []


@pytest.mark.parametrize(
    ("told", "mirrors"),
    [
        ("", (MIRROR, SECURITY)),
        ("Debian|http://a/debian/\nDebian-Security|http://a/security/\n", ("http://a/debian/", "http://a/security/")),
        ("Debian|http://a/debian/\n", ("http://a/debian/", SECURITY)),
        ("Debian Backports|http://a/backports/\n", (MIRROR, SECURITY)),
    ],
)
def test_mirrors_are_those_of_the_machine_s_apt(told, mirrors):
    assert parse_mirrors(told) == mirrors
