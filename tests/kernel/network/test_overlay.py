"""An overlay in the kernel: made, observed, drifted, repaired, changed, removed; and what crosses it."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import replace

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.model.network import Network, Peer, Vxlan
from ansible_collections.stowage.engine.plugins.module_utils._engine.network.apply import (
    create_network,
    remove_network,
    update_network,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.network.attach import attach
from ansible_collections.stowage.engine.plugins.module_utils._engine.network.observe import observe_networks
from tests.kernel.network.conftest import Failed, fetch, serve

ONE, TWO = "10.42.1.0/24", "10.42.2.0/24"


def overlay(number=1, peers=((2, TWO),), **changed):
    network = Network(
        name="backplane",
        subnet=f"10.42.{number}.0/24",
        gateway=f"10.42.{number}.1",
        mtu=1450,
        pool="10.42.0.0/16",
        vxlan=Vxlan(vni=42, address=f"192.0.2.{number}", device="eth0"),
        peers=tuple(Peer.at(subnet, f"192.0.2.{at}") for at, subnet in peers),
        names=(("web", "10.42.1.5"),),
    )
    return replace(network, **changed)


def echo():
    """Answer every datagram to port 7 with itself."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("0.0.0.0", 7))
        while True:
            sock.sendto(*sock.recvfrom(2000))


def send(address, size):
    """The size of the packet that comes back for one of ``size`` that must not be fragmented."""
    headers = 28
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER, IP_PMTUDISC_DO
        sock.settimeout(0.2)
        for _rest in range(20):
            try:
                sock.sendto(bytes(size - headers), (address, 7))
                return len(sock.recv(2000)) + headers
            except (TimeoutError, ConnectionError):
                continue
    return 0


def observed(host):
    return host.call(observe_networks, host.paths).get("backplane")


def repair(host, desired):
    host.call(update_network, host.paths, observed(host), desired)
    assert observed(host) == desired


def test_what_is_made_is_observed_and_removed_without_a_trace(host):
    before = host.sh("ip link; nft list ruleset; ip route")
    host.call(create_network, host.paths, overlay())
    assert observed(host) == overlay()
    host.call(create_network, host.paths, overlay())
    assert observed(host) == overlay()
    details = host.sh("ip -d link show sx-backplane")
    assert "dstport 4789" in details
    assert "nolearning" in details
    host.call(remove_network, host.paths, overlay())
    host.call(remove_network, host.paths, overlay())
    assert host.call(observe_networks, host.paths) == {}
    assert host.sh("ip link; nft list ruleset; ip route") == before
    assert os.listdir(host.paths.networks) == []


DRIFTS = [
    ("bridge fdb del 0e:53:0a:2a:02:00 dev sx-backplane", {"peer": {"fdb": None}}),
    ("bridge fdb replace 0e:53:0a:2a:02:00 dst 192.0.2.99 dev sx-backplane self permanent",
     {"peer": {"fdb": "192.0.2.99"}}),
    ("ip neigh del 10.42.2.0 dev sx-backplane", {"peer": {"neighbour": None}}),
    ("ip neigh replace 10.42.2.0 lladdr 02:00:00:00:00:01 dev sx-backplane nud permanent",
     {"peer": {"neighbour": "02:00:00:00:00:01"}}),
    ("ip route del 10.42.2.0/24", {"peer": {"route": None}}),
    ("ip link set sx-backplane down", {"peer": {"route": None, "neighbour": None}, "vxlan_up": False}),
    ("ip link set sx-backplane down && ip link set sx-backplane up", {"peer": {"route": None, "neighbour": None}}),
    ("ip link set sb-backplane down", {"bridge_up": False}),
    ("sysctl -qw net.ipv4.ip_forward=0", {"bridge_up": False, "vxlan_up": False}),
    ("ip link set sb-backplane mtu 1400", {"mtu": 1400}),
    ("ip link set sx-backplane mtu 1400", {"mtu": 1400}),
    ("ip addr del 10.42.1.1/24 dev sb-backplane", {"gateway": ""}),
    ("ip addr flush dev sb-backplane && ip addr add 10.42.1.9/24 dev sb-backplane", {"gateway": "10.42.1.9"}),
    ("ip addr del 10.42.1.0/32 dev sx-backplane", {"peer": {"route": None, "neighbour": None}, "vxlan_up": False}),
    ("ip link set sx-backplane type vxlan learning", {"vxlan_up": False}),
    ("ip link del sx-backplane", {"vxlan": None, "peers": (), "vxlan_up": False}),
    ("nft flush ruleset", {"masquerade": False}),
]  # fmt: skip


@pytest.mark.parametrize(("command", "differs"), DRIFTS, ids=[command for command, _rest in DRIFTS])
def test_drift_is_seen_as_it_is_and_repaired(host, command, differs):
    host.call(create_network, host.paths, overlay())
    host.sh(command)
    differs = dict(differs)
    peer = differs.pop("peer", None)
    expected = overlay(**differs)
    if peer:
        expected = replace(expected, peers=(replace(expected.peers[0], **peer),))
    assert observed(host) == expected
    repair(host, overlay())


def test_another_mac_on_the_tunnel_is_seen_and_flushed_neighbours_come_back(host):
    host.call(create_network, host.paths, overlay())
    host.sh("ip link set sx-backplane address 02:00:00:00:00:07")
    assert not observed(host).vxlan_up
    repair(host, overlay())


def test_strays_on_our_tunnel_are_seen_and_removed(host):
    host.call(create_network, host.paths, overlay())
    host.sh("bridge fdb add 0e:53:0a:2a:09:00 dst 192.0.2.9 dev sx-backplane self permanent")
    host.sh("ip neigh add 10.42.8.0 lladdr 02:00:00:00:00:08 dev sx-backplane nud permanent")
    host.sh("ip route add 10.42.16.0/20 via 10.42.16.0 dev sx-backplane onlink")
    strays = [peer for peer in observed(host).peers if peer.subnet != TWO]
    assert strays == [
        Peer("10.42.8.0/24", None, "02:00:00:00:00:08", None),
        Peer("10.42.9.0/24", "192.0.2.9", None, None),
        Peer("10.42.16.0/20", None, None, "10.42.16.0"),
    ]
    repair(host, overlay())


@pytest.mark.parametrize(
    "changed",
    [
        {"peers": ()},
        {"peers": ((3, "10.42.3.0/24"), (4, "10.42.4.0/24"))},
        {"peers": ((9, TWO),)},
        {"peers": ((2, "10.42.2.0/25"),)},
        {"mtu": 1300},
        {"masquerade": False},
        {"names": (("db", "10.42.2.7"),)},
        {"gateway": "10.42.1.254"},
        {"vxlan": Vxlan(vni=43, address="192.0.2.1", device="eth0")},
        {"vxlan": Vxlan(vni=42, address="192.0.2.1", port=8472, device="eth0")},
        {"vxlan": Vxlan(vni=42, address="203.0.113.1", device="eth1")},
    ],
    ids=str,
)
def test_changes_are_made_while_a_container_stays(host, changed):
    host.sh("ip link add eth1 type bridge && ip link set eth1 up && ip addr add 203.0.113.1/24 dev eth1")
    host.call(create_network, host.paths, overlay())
    container, pid = host.container()
    host.call(lambda: attach(overlay(), container="web", pid=pid, address="10.42.1.5", instance="stowage"))
    container.start(serve(80, "web"))
    assert host.call(fetch, "10.42.1.5", 80) == "10.42.1.1 web"
    repair(host, overlay(**changed))
    assert host.call(fetch, "10.42.1.5", 80).endswith(" web")
    repair(host, overlay())


def test_containers_on_two_hosts_talk_by_their_own_addresses(two_hosts):
    one, two = two_hosts
    one.call(create_network, one.paths, overlay(1, ((2, TWO),)))
    two.call(create_network, two.paths, overlay(2, ((1, ONE),)))
    web, pid = one.container()
    client, other = two.container()
    one.call(lambda: attach(overlay(1), container="web", pid=pid, address="10.42.1.5", instance="stowage"))
    two.call(lambda: attach(overlay(2), container="client", pid=other, address="10.42.2.5", instance="stowage"))
    web.start(serve(80, "web"))
    assert client.call(fetch, "10.42.1.5", 80) == "10.42.2.5 web"
    # The host itself reaches it too, from its tunnel's end.
    assert two.call(fetch, "10.42.1.5", 80) == "10.42.2.0 web"
    # 1,450 bytes and not one more: the tunnel's 50 fit into the underlay's 1,500.
    web.start(echo)
    assert client.call(send, "10.42.1.5", 1450) == 1450
    with pytest.raises(Failed, match="Message too long"):
        client.call(send, "10.42.1.5", 1451)
    two.sh("bridge fdb del 0e:53:0a:2a:01:00 dev sx-backplane")
    with pytest.raises(Failed):
        client.call(fetch, "10.42.1.5", 80, 0.3)
    repair(two, overlay(2, ((1, ONE),)))
    assert client.call(fetch, "10.42.1.5", 80) == "10.42.2.5 web"


def test_what_leaves_the_pool_has_the_hosts_address_if_it_is_masqueraded(two_hosts):
    one, two = two_hosts
    one.call(create_network, one.paths, overlay(1))
    client, pid = one.container()
    one.call(lambda: attach(overlay(1), container="client", pid=pid, address="10.42.1.5", instance="stowage"))
    two.start(serve(80, "outside"))
    assert client.call(fetch, "192.0.2.2", 80) == "192.0.2.1 outside"


def test_faults_say_what_to_do(host):
    create = overlay()
    with pytest.raises(Failed, match=r"InvalidOption: device: 'eth9'"):
        host.call(create_network, host.paths, replace(create, vxlan=Vxlan(42, "192.0.2.1", device="eth9")))
    with pytest.raises(Failed, match=r"InvalidOption: address: '192\.0\.2\.77'"):
        host.call(create_network, host.paths, replace(create, vxlan=Vxlan(42, "192.0.2.77")))
    host.sh("ip link add vx type vxlan id 7 dstport 4789 local 192.0.2.1 dev eth0 nolearning")
    with pytest.raises(Failed, match="Conflict: network 'backplane': another VXLAN device of this host has VNI 7"):
        host.call(create_network, host.paths, replace(create, vxlan=Vxlan(7, "192.0.2.1", device="eth0")))
    host.sh("ip link add sb-backplane type ifb")
    with pytest.raises(Failed, match="Conflict: network 'backplane' needs a bridge named 'sb-backplane', but a ifb"):
        host.call(create_network, host.paths, create)
    host.sh("ip link del sb-backplane && ip link del vx")
    # None of them left anything behind.
    assert "backplane" not in host.sh("ip link; nft list ruleset")
    assert os.listdir(host.paths.networks) == []
    host.call(create_network, host.paths, create)
    assert observed(host) == create


def test_without_pyroute2_the_package_is_named_and_nothing_stays(host):
    def without():
        sys.modules["pyroute2"] = None
        create_network(host.paths, overlay())

    with pytest.raises(Failed, match=r"Unsupported: networks need the Python library pyroute2.*python3-pyroute2"):
        host.call(without)
    assert host.call(observe_networks, host.paths) == {}
    assert os.listdir(host.paths.networks) == []


def test_repairing_peers_needs_no_pyroute2(host):
    host.call(create_network, host.paths, overlay())
    host.sh("bridge fdb del 0e:53:0a:2a:02:00 dev sx-backplane")
    current = observed(host)

    def without():
        sys.modules["pyroute2"] = None
        update_network(host.paths, current, overlay())

    host.call(without)
    assert observed(host) == overlay()


def many(count):
    return tuple(
        Peer.at(f"10.{64 + number // 256}.{number % 256}.0/24", f"198.18.{number // 250}.{number % 250 + 1}")
        for number in range(1, count + 1)
    )


def test_a_thousand_peers_are_programmed_and_seen(host):
    """More entries than one batch or one receive buffer takes; how long it takes is `make bench`'s to say."""
    empty = overlay(peers=(), subnet="10.64.0.0/24", gateway="10.64.0.1", pool="10.64.0.0/10")
    full = replace(empty, peers=many(1000))

    def program():
        create_network(host.paths, empty)
        update_network(host.paths, empty, full)
        return observe_networks(host.paths)["backplane"] == full

    assert host.call(program)
