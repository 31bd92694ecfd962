"""A container's link: made, repaired, moved to a new process, taken away; ports that lead to it."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.model.network import Network
from ansible_collections.stowage.engine.plugins.module_utils._engine.network.apply import create_network, refresh_table
from ansible_collections.stowage.engine.plugins.module_utils._engine.network.attach import (
    attach,
    detach,
    host_link,
    observe_attached,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.network.ports import (
    Forward,
    apply_table,
    observe_ports,
    observe_table,
)
from tests.kernel.network.conftest import Failed, fetch, serve

FRONT = Network(name="front", subnet="10.88.0.0/24", gateway="10.88.0.1", mtu=1500, pool="10.88.0.0/24")
BACK = Network(name="back", subnet="10.89.1.0/24", gateway="10.89.1.1", mtu=1400, pool="10.89.0.0/16")
LINK = "sv-web.front"


def join(host, pid, network=FRONT, address="10.88.0.5", container="web", **options):
    host.call(lambda: attach(network, container=container, pid=pid, address=address, instance="stowage", **options))


@pytest.fixture
def web(host):
    """(host, the container's namespace, its pid) of a container that serves on port 80."""
    host.call(create_network, host.paths, FRONT)
    namespace, pid = host.container()
    join(host, pid)
    namespace.start(serve(80, "web"))
    return host, namespace, pid


def test_a_container_on_two_networks(host):
    host.call(create_network, host.paths, FRONT)
    host.call(create_network, host.paths, BACK)
    namespace, pid = host.container()
    join(host, pid)
    join(host, pid, BACK, "10.89.1.5")
    assert host.call(observe_attached) == {LINK: "sb-front", "sv-web.back": "sb-back"}
    assert (
        namespace.sh("ip -o -4 addr show scope global | awk '{print $2, $4}'")
        == "eth0 10.88.0.5/24\neth1 10.89.1.5/24\n"
    )
    routes = namespace.sh("ip route")
    assert "default via 10.88.0.1 dev eth0" in routes
    assert "10.89.0.0/16 via 10.89.1.1 dev eth1" in routes
    assert "mtu 1400" in namespace.sh("ip link show eth1")
    assert "UP" in namespace.sh("ip link show lo")


def test_interface_and_default_route_can_be_told(host):
    host.call(create_network, host.paths, FRONT)
    namespace, pid = host.container()
    join(host, pid, interface="eth3", default_route=False)
    assert namespace.sh("ip route") == "10.88.0.0/24 dev eth3 proto kernel scope link src 10.88.0.5 \n"


@pytest.mark.parametrize(
    "command",
    ["ip link set sv-web.front down", "ip link set sv-web.front nomaster", "ip link del sv-web.front",
     "ip link set sv-web.front type bridge_slave hairpin off"],
)  # fmt: skip
def test_drift_of_the_hosts_end_is_seen_and_repaired(web, command):
    host, _rest, pid = web
    assert LINK in host.call(observe_attached)
    host.sh(command)
    assert LINK not in host.call(observe_attached)
    join(host, pid)
    assert LINK in host.call(observe_attached)
    assert host.call(fetch, "10.88.0.5", 80) == "10.88.0.1 web"


@pytest.mark.parametrize(
    "command",
    [
        "ip link set eth0 down",
        "ip addr flush dev eth0",
        "ip route flush dev eth0",
        "ip addr add 10.88.0.77/24 dev eth0",
    ],
)
def test_the_containers_end_is_repaired(web, command):
    host, namespace, pid = web
    namespace.sh(command)
    join(host, pid)
    assert namespace.sh("ip -o -4 addr show eth0").count("inet ") == 1
    assert "default via 10.88.0.1 dev eth0" in namespace.sh("ip route")
    assert host.call(fetch, "10.88.0.5", 80) == "10.88.0.1 web"


def test_a_new_process_of_the_same_name_takes_the_link_over(web):
    host, _rest, _rest = web
    namespace, pid = host.container()
    join(host, pid)
    namespace.start(serve(80, "new"))
    assert host.call(fetch, "10.88.0.5", 80) == "10.88.0.1 new"


def test_detach_is_content_when_there_is_nothing(web):
    host, namespace, _rest = web
    for _rest in range(2):
        host.call(lambda: detach("front", container="web", instance="stowage"))
    assert host.call(observe_attached) == {}
    assert "eth0" not in namespace.sh("ip link")


def test_faults_are_told(host):
    with pytest.raises(Failed, match="NotFound: process '999999999'"):
        join(host, 999999999)
    _rest, pid = host.container()
    with pytest.raises(Failed, match="NotFound: network 'front'"):
        join(host, pid)


def test_long_names_and_other_instances_get_links_of_their_own():
    names = {host_link("stowage", "c" * 60 + end, "front") for end in "abc"}
    names |= {host_link(instance, "web", "front") for instance in ("stowage", "stowage-12345678")}
    assert len(names) == 5
    assert all(len(name) <= 15 for name in names)


def test_the_bridge_keeps_its_mtu_when_the_last_container_goes(host):
    host.call(create_network, host.paths, BACK)
    _rest, pid = host.container()
    join(host, pid, BACK, "10.89.1.5")
    host.call(lambda: detach("back", container="web", instance="stowage"))
    assert "mtu 1400" in host.sh("ip link show sb-back")


# Ports --------------------------------------------------------------------------------------------------------------

WEB = Forward("tcp", "0.0.0.0", 8080, "10.88.0.5", 80)


def test_a_published_port_is_reached_from_everywhere(two_hosts):
    one, two = two_hosts
    one.call(create_network, one.paths, FRONT)
    web, pid = one.container()
    neighbour, other = one.container()
    join(one, pid)
    join(one, other, address="10.88.0.6", container="neighbour")
    web.start(serve(80, "web"))
    one.call(apply_table, "stowage", [FRONT], [WEB, replace(WEB, host_ip="192.0.2.1", host_port=8081)])
    # From another machine, with its own address kept.
    assert two.call(fetch, "192.0.2.1", 8080) == "192.0.2.2 web"
    assert two.call(fetch, "192.0.2.1", 8081) == "192.0.2.2 web"
    # From the host, by its address and by the loopback's.
    assert one.call(fetch, "192.0.2.1", 8080).endswith(" web")
    assert one.call(fetch, "127.0.0.1", 8080) == "10.88.0.1 web"
    # From a neighbour, and from the container itself.
    assert neighbour.call(fetch, "192.0.2.1", 8080).endswith(" web")
    assert web.call(fetch, "192.0.2.1", 8080).endswith(" web")
    # Of one address only: not by another.
    with pytest.raises(Failed, match="ConnectionRefused"):
        one.call(fetch, "127.0.0.1", 8081, 0.1)


def test_the_same_where_bridged_frames_pass_iptables(two_hosts):
    one, _rest = two_hosts
    one.sh("sysctl -qw net.bridge.bridge-nf-call-iptables=1")
    one.call(create_network, one.paths, FRONT)
    web, pid = one.container()
    neighbour, other = one.container()
    join(one, pid)
    join(one, other, address="10.88.0.6", container="neighbour")
    web.start(serve(80, "web"))
    one.call(apply_table, "stowage", [FRONT], [WEB])
    assert neighbour.call(fetch, "192.0.2.1", 8080).endswith(" web")
    assert web.call(fetch, "192.0.2.1", 8080).endswith(" web")


def test_containers_cannot_reach_the_hosts_loopback(web):
    host, namespace, _rest = web
    host.start(serve(9999, "secret"))
    assert host.call(fetch, "127.0.0.1", 9999) == "127.0.0.1 secret"
    host.sh("sysctl -n net.ipv4.conf.sb-front.route_localnet | grep -q 1")
    namespace.sh("sysctl -qw net.ipv4.conf.eth0.route_localnet=1 && ip addr del 127.0.0.1/8 dev lo "
                 "&& ip route add 127.0.0.1 via 10.88.0.1 src 10.88.0.5")  # fmt: skip
    with pytest.raises(Failed, match=r"timed out|TimeoutError"):
        namespace.call(fetch, "127.0.0.1", 9999, 0.1)


def test_ports_are_observed_and_drift_of_a_rule_or_an_element_is_seen(host):
    forwards = {
        WEB,
        Forward("udp", "192.0.2.1", 53, "10.88.0.6", 5353),
        Forward("sctp", "127.0.0.1", 9, "10.88.0.7", 9),
    }
    assert host.call(observe_ports, "stowage") == frozenset()
    host.call(apply_table, "stowage", [FRONT], forwards)
    assert host.call(observe_ports, "stowage") == forwards
    host.sh("nft delete element ip stowage ports '{ 6 . 8080 }'")
    assert host.call(observe_ports, "stowage") == forwards - {WEB}
    host.call(apply_table, "stowage", [FRONT], forwards)
    host.sh("nft flush chain ip stowage output")
    assert host.call(observe_ports, "stowage") == frozenset()
    assert host.call(observe_table, "stowage").forwards == forwards
    host.call(apply_table, "stowage", [], [])
    assert host.sh("nft list ruleset") == ""


def test_a_network_that_comes_or_goes_keeps_the_ports(host):
    host.call(create_network, host.paths, FRONT)
    host.call(apply_table, host.paths.instance, [FRONT], [WEB])
    host.call(create_network, host.paths, BACK)
    assert host.call(observe_ports, host.paths.instance) == {WEB}
    assert host.call(observe_table, host.paths.instance).masquerades == {FRONT.pool, BACK.pool}


def test_a_table_of_another_instance_is_left_alone(host):
    host.sh("nft add table ip other && nft add chain ip other keep")
    host.call(create_network, host.paths, FRONT)
    host.call(apply_table, host.paths.instance, [], [])
    assert host.sh("nft list ruleset") == "table ip other {\n\tchain keep {\n\t}\n}\n"


def test_the_program_nft_does_where_the_library_is_missing(host):
    from ansible_collections.stowage.engine.plugins.module_utils._engine.linux import nft

    def with_program():
        nft._LIBRARY = "libnftables.so.0"
        apply_table("stowage", [FRONT], [WEB])
        refresh_table(host.paths)
        return observe_ports("stowage"), nft.list_table("ip", "missing")

    assert host.call(with_program) == ({WEB}, None)


def test_attaching_takes_milliseconds(host):
    host.call(create_network, host.paths, FRONT)
    pids = [host.container()[1] for _rest in range(10)]

    def measure():
        start = time.perf_counter()
        for number, pid in enumerate(pids):
            attach(FRONT, container=f"c{number}", pid=pid, address=f"10.88.0.{10 + number}", instance="stowage")
        return (time.perf_counter() - start) / len(pids)

    assert host.call(measure) < 0.02
