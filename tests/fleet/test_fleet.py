# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The test hosts themselves: both backends keep the promises that all other tests stand on."""

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

PROJECT = Path(__file__).resolve().parents[2]
NODES = ["node-a", "node-b"]
GREETING = "import socket; print(socket.create_connection(('{}', 22), 5).recv(4).decode())"
BACKENDS = ["namespace", pytest.param("vm", marks=pytest.mark.vm)]

pytestmark = pytest.mark.root


@pytest.fixture(scope="module", params=BACKENDS)
def pair(request: pytest.FixtureRequest) -> Iterator[fleet.Fleet]:
    with fleet.up(f"tf-{request.param}", NODES, backend=request.param) as hosts:
        yield hosts


def test_each_host_has_its_own_name_and_address(pair):
    for node in pair.nodes:
        assert node.run(["uname", "-n"]).stdout.strip() == node.name
        assert node.address in node.run(["ip", "-4", "address", "show", "dev", "eth0"]).stdout


def test_hosts_reach_one_another_by_name_with_full_frames(pair):
    for here, there in (NODES, NODES[::-1]):
        assert pair.node(here).run(["python3", "-c", GREETING.format(there)]).stdout == "SSH-\n"
    assert pair.node("node-a").run(["cat", "/sys/class/net/eth0/mtu"]).stdout == "1500\n"


def test_a_failed_program_is_an_error_that_names_host_and_program(pair):
    with pytest.raises(fleet.FleetError, match=r"node-a: cat /nowhere ended with status 1: .*No such file"):
        pair.node("node-a").run(["cat", "/nowhere"])
    assert pair.node("node-a").run(["sh", "-c", "exit 7"], check=False).returncode == 7


def test_arguments_and_standard_input_arrive_unchanged(pair):
    text = "a b'c\"d $HOME *\nsecond line"
    assert pair.node("node-b").run(["printf", "%s", text]).stdout == text
    assert pair.node("node-b").run(["cat"], stdin=text).stdout == text


def test_ansible_reaches_all_hosts(pair):
    ansible = Path(sys.executable).with_name("ansible")
    done = subprocess.run(
        [ansible, "-i", pair.inventory, "nodes", "-m", "ping"], text=True, capture_output=True, timeout=120, check=False
    )
    assert done.stdout.count("SUCCESS") == 2, done.stdout + done.stderr


def test_a_file_written_on_a_host_is_on_that_host_alone(pair):
    for path in ("/usr/local/bin/stowage-probe", "/etc/stowage-probe", "/var/lib/stowage/probe", "/run/probe"):
        pair.node("node-a").run(["sh", "-c", f"mkdir -p {os.path.dirname(path)} && echo here > {path}"])
        assert pair.node("node-a").run(["cat", path]).stdout == "here\n"
        assert pair.node("node-b").run(["cat", path], check=False).returncode == 1
        assert not os.path.exists(path)


def test_an_overlay_can_be_mounted_on_the_stowage_directory(pair):
    script = (
        "cd /var/lib/stowage && mkdir -p t/l t/u t/w t/m && touch t/l/x && "
        "mount -t overlay overlay -o lowerdir=t/l,upperdir=t/u,workdir=t/w t/m && ls t/m "
        "&& umount t/m && rm -r t"
    )
    assert pair.node("node-a").run(["sh", "-c", script]).stdout == "x\n"


def test_a_vxlan_device_can_be_made(pair):
    for node in pair.nodes:
        node.run(["ip", "link", "add", "probe", "type", "vxlan", "id", "7", "dstport", "4789", "dev", "eth0"])
        node.run(["ip", "link", "delete", "probe"])


@pytest.fixture(scope="module")
def namespaced() -> Iterator[fleet.Fleet]:
    with fleet.up("tf-own", NODES) as hosts:
        yield hosts


def test_each_host_sees_its_own_cgroup_as_the_root_of_every_hierarchy(namespaced):
    for node in namespaced.nodes:
        roots = {line.split(":", 2)[2] for line in node.run(["cat", "/proc/self/cgroup"]).stdout.splitlines()}
        assert roots <= {"/", "/init"}


def test_cgroups_of_two_hosts_are_apart(namespaced):
    top = "/sys/fs/cgroup/pids" if os.path.exists("/sys/fs/cgroup/pids/tasks") else "/sys/fs/cgroup"
    namespaced.node("node-a").run(["mkdir", f"{top}/probe"])
    namespaced.node("node-a").run(["sh", "-c", f"echo 12 > {top}/probe/pids.max"])
    assert namespaced.node("node-a").run(["cat", f"{top}/probe/pids.max"]).stdout == "12\n"
    assert namespaced.node("node-b").run(["ls", f"{top}/probe"], check=False).returncode != 0
    assert not os.path.exists(f"{top}/probe")
    namespaced.node("node-a").run(["rmdir", f"{top}/probe"])


def test_hosts_do_not_see_the_machine_s_processes(namespaced):
    assert str(os.getpid()) not in namespaced.node("node-a").run(["ls", "/proc"]).stdout.split()
    assert namespaced.node("node-a").run(["cat", "/proc/1/comm"]).stdout == "python3\n"


def test_up_is_fast(tmp_path):
    start = time.monotonic()
    with fleet.up("tf-fast", NODES, base=tmp_path):
        assert time.monotonic() - start < 5  # 0.3 s when nothing else runs
    assert list(tmp_path.iterdir()) == []


def test_down_leaves_nothing_though_hosts_are_busy(tmp_path):
    with fleet.up("tf-down", NODES, base=tmp_path) as hosts:
        assert fleet.leftovers_of("tf-down", base=tmp_path)
        hosts.node("node-a").run(
            [
                "sh",
                "-c",
                """
            mount -t tmpfs probe /mnt; ip netns add probe; ip link add probe type dummy
            for top in /sys/fs/cgroup/pids /sys/fs/cgroup/unified /sys/fs/cgroup; do
                mkdir -p $top/probe/deep 2>/dev/null && echo $$ > $top/probe/deep/cgroup.procs && break
            done
            setsid sleep 1000 >/dev/null 2>&1 &
            unshare --pid --mount --net --fork sleep 1001 >/dev/null 2>&1 &
        """,
            ]
        )
    assert fleet.leftovers_of("tf-down", base=tmp_path) == []


@pytest.mark.parametrize("delay", [0.02, 0.05, 0.08, 0.11, 0.14, 0.17, 0.2, 0.25, 0.3, 0.4])
def test_down_leaves_nothing_after_up_was_killed(tmp_path, delay):
    script = (
        f"import sys; sys.path.insert(0, {str(PROJECT)!r}); from pathlib import Path; from tests import fleet; "
        f"print(flush=True); fleet.up('tf-kill', {NODES}, base=Path({str(tmp_path)!r}))"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as maker:
        assert maker.stdout
        maker.stdout.readline()
        time.sleep(delay)
        maker.send_signal(signal.SIGKILL)
    fleet.down("tf-kill", base=tmp_path)
    assert fleet.leftovers_of("tf-kill", base=tmp_path) == []


def test_a_second_up_refuses_and_down_twice_is_fine(tmp_path):
    with fleet.up("tf-twice", ["node-a"], base=tmp_path):
        with pytest.raises(fleet.FleetError, match="is up already; take it down first"):
            fleet.up("tf-twice", ["node-a"], base=tmp_path)
        assert fleet.load("tf-twice", base=tmp_path)
    fleet.down("tf-twice", base=tmp_path)
    assert fleet.load("tf-twice", base=tmp_path) is None


@pytest.mark.parametrize(
    ("name", "hosts", "backend", "said"),
    [
        ("tf-bad", ["../x"], "namespace", r"host name '../x': expected"),
        ("tf-bad", [""], "namespace", r"host name '': expected"),
        ("../x", ["node-a"], "namespace", r"fleet name '../x': expected"),
        ("tf-bad", [], "namespace", r"\(none\): expected 1 to 200 different names"),
        ("tf-bad", ["a", "a"], "namespace", r"a, a: expected 1 to 200 different names"),
        ("tf-bad", ["a"], "cloud", r"backend 'cloud': expected one of namespace, vm"),
    ],
)
def test_bad_names_change_nothing(tmp_path, name, hosts, backend, said):
    with pytest.raises(fleet.FleetError, match=said):
        fleet.up(name, hosts, backend=backend, base=tmp_path)
    assert list(tmp_path.iterdir()) == []
