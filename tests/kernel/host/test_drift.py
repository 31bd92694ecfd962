# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is changed by hand is seen in the plan, and nothing else, and is put right while containers go on."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.cgroup.manager import open_cgroups
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.observe import observe_image
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.cgroup import Limits
from ansible_collections.stowage.engine.plugins.module_utils._engine.network.attach import host_link
from ansible_collections.stowage.engine.plugins.module_utils._engine.runtime.state import load_state
from tests.kernel.host.world import IMAGE, absent, containers_task, image_task, wait_until
from tests.kernel.network.conftest import Failed

OTHER_IMAGE = image_task("other:1")
LAN = {"name": "lan", "subnet": "10.77.0.0/24", "names": {"far": "10.77.9.9"}}
TASKS = (
    image_task(),
    ("cgroup", {"name": "shop", "memory": "64M", "pids_limit": "100"}),
    ("network", LAN),
    containers_task(
        web={
            "networks": [{"name": "lan"}],
            "published_ports": ["8080:80"],
            "cgroup_parent": "shop",
            "memory": "32M",
            "etc_hosts": {"else": "192.0.2.9"},
        },
        db={"networks": [{"name": "lan"}]},
    ),
)


def link(world, name="web"):
    return host_link(world.instance, name, "lan")


def limit_container(world):
    open_cgroups(world.instance).limit_container(f"/{world.instance}/shop/web.scope", Limits(memory=48 << 20))


def limit_cgroup(world):
    open_cgroups(world.instance).set_limits("shop", Limits(pids=77))


def drop_layer(world):
    layer = next(Path(world.paths.layers).iterdir())
    shutil.rmtree(layer)


def edit_hosts(world):
    path = hosts(world, "web")
    path.write_text("".join(line for line in path.read_text().splitlines(True) if "else" not in line))


def hosts(world, name):
    return Path(world.paths.container_run(name), "hosts")


CONNECT = "update container web (network lan)"
LIVE = {
    "limit of a container": (limit_container, ["update container web (memory: 50331648 -> 33554432)"]),
    "limit of a cgroup": (limit_cgroup, ["set cgroup shop (pids: 77 -> 100)"]),
    "link off its bridge": (lambda world: world.sh(f"ip link set {link(world)} nomaster"), [CONNECT]),
    "link down": (lambda world: world.sh(f"ip link set {link(world)} down"), [CONNECT]),
    "link deleted": (lambda world: world.sh(f"ip link del {link(world)}"), [CONNECT]),
    "hairpin off": (lambda world: world.sh(f"bridge link set dev {link(world)} hairpin off"), [CONNECT]),
    "bridge down": (
        lambda world: world.sh("ip link set sb-lan down"),
        ["update network lan (bridge_up: false -> true)"],
    ),
    "bridge's MTU": (lambda world: world.sh("ip link set sb-lan mtu 1400"), ["update network lan (mtu: 1400 -> 1500)"]),
    "bridge's address": (
        lambda world: world.sh("ip addr del 10.77.0.1/24 dev sb-lan"),
        ["update network lan (gateway:  -> 10.77.0.1)"],
    ),
    "forwarding off": (
        lambda world: world.sh("echo 0 > /proc/sys/net/ipv4/ip_forward"),
        ["update network lan (bridge_up: false -> true)"],
    ),
    "bridge deleted": (
        lambda world: world.sh("ip link del sb-lan"),
        [
            "create network lan (driver: bridge, subnet: 10.77.0.0/24, gateway: 10.77.0.1, mtu: 1500)",
            CONNECT,
            "update container db (network lan)",
        ],
    ),
    "nft table deleted": (
        lambda world: world.sh(f"nft delete table ip {world.instance}"),
        ["update network lan (masquerade: false -> true)", "update container web (ports)"],
    ),
    "map of ports emptied": (
        lambda world: world.sh(f"nft flush map ip {world.instance} ports"),
        ["update container web (ports)"],
    ),
    "rule deleted": (
        lambda world: world.sh(f"nft flush chain ip {world.instance} prerouting"),
        ["update container web (ports)"],
    ),
    "name taken out of /etc/hosts": (edit_hosts, ["update container web (names_told: false -> true)"]),
    "layer removed": (drop_layer, ["assemble image docker.io/library/world:1"]),
}


@pytest.fixture(scope="module")
def converged(lasting_world):
    lasting_world.run(*TASKS)
    return lasting_world


@pytest.mark.parametrize("drift", LIVE)
def test_is_seen_and_repaired_live(converged, drift):
    world = converged
    act, expected = LIVE[drift]
    world.demand_sound(*TASKS)
    before = {name: (state.pid, state.pid_started) for name, state in world.containers().items()}
    nets, table, hosts_before = world.networks(), world.sh("nft list ruleset"), hosts(world, "web").read_text()
    act(world)
    told = world.told(*TASKS)
    assert [line.partition(" (digest")[0] for line in told] == expected
    assert [str(change) for change in world.run(*TASKS)] == told
    world.demand_sound(*TASKS)
    assert {name: (state.pid, state.pid_started) for name, state in world.containers().items()} == before
    assert (world.networks(), world.sh("nft list ruleset"), hosts(world, "web").read_text()) == (
        nets,
        table,
        hosts_before,
    )
    demand_connected(world)


def demand_connected(world):
    """The container answers on its network, and on the host's published port."""
    pid = world.containers()["web"].pid
    serve = f"timeout 5 nsenter -t {pid} -n busybox nc -l -p 80 -e echo hello"
    ask = "busybox nc -w 2 127.0.0.1 8080 </dev/null | grep hello"
    world.sh(f"{serve} & for _ in $(seq 50); do {ask} && exit 0; sleep 0.05; done; exit 1")


def end_init(world):
    os.kill(world.containers()["web"].pid, signal.SIGKILL)


def end_monitor(world):
    os.kill(load_state(world.paths.runtime_root, "web").creator[0], signal.SIGKILL)


@pytest.mark.parametrize(
    ("act", "summary"),
    [
        (end_init, "start container web (running: false -> true, exit_code: 137 -> none)"),
        (end_monitor, "start container web (running: false -> true)"),
    ],
)
def test_what_ended_is_started(converged, act, summary):
    world = converged
    db = world.containers()["db"].pid
    act(world)
    wait_until(lambda: not world.containers()["web"].running, 5.0)
    wait_until(lambda: not world.pids_of("web"), 5.0)
    assert world.told(*TASKS) == [summary]
    world.run(*TASKS)
    world.demand_sound(*TASKS)
    assert world.containers()["db"].pid == db
    demand_connected(world)


def test_a_network_s_names_reach_running_containers(converged):
    """By the network's task alone: in the file that is bound into the container, and so in the container."""
    world = converged
    pids = {name: state.pid for name, state in world.containers().items()}
    task = ("network", {**LAN, "names": {"near": "10.77.9.8"}})
    assert [str(change) for change in world.run(task)] == ["update network lan (names)"]
    for name, pid in pids.items():
        inside = Path(f"/proc/{pid}/root/etc/hosts").read_text()
        assert inside == hosts(world, name).read_text()
        assert "10.77.9.8\tnear\n" in inside
        assert "far" not in inside
    world.run(*TASKS)
    world.demand_sound(*TASKS)
    assert {name: state.pid for name, state in world.containers().items()} == pids


def test_an_image_s_content_stays_for_the_container_that_uses_it(world):
    world.run(image_task(), containers_task(web={}))
    digest = world.containers()["web"].container.image_digest
    world.run(("image", {"name": IMAGE, "state": "absent"}))
    kept = observe_image(world.paths, digest)
    assert kept is not None
    assert kept.missing == ()
    world.run(containers_task(web=None), OTHER_IMAGE, *absent([OTHER_IMAGE]))
    world.demand_nothing_left()


def test_a_network_with_containers_on_it_is_not_removed(world):
    """It is refused, by name, and nothing is changed."""
    world.run(*TASKS)
    before = world.networks()
    with pytest.raises(Failed, match=r"network 'lan' cannot be removed: containers are on it: .*web"):
        world.run(("network", {"name": "lan", "state": "absent"}))
    assert world.networks() == before
    world.demand_sound(*TASKS)
