from __future__ import annotations

import ipaddress
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import Conflict, EngineError, InvalidOption
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.network import Peer
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.overlay import Member, Place, plan_overlay

POOL = "10.42.0.0/16"
A = Member(
    "node-a", "192.0.2.1", containers=(Place("web", aliases=("www",)), Place("db", "10.42.7.9")), subnet="10.42.7.0/24"
)
B = Member("node-b", "192.0.2.2", containers=(Place("client"),))


def members(count):
    return [Member(f"node-{number:04}", f"198.18.{number // 250}.{number % 250 + 1}") for number in range(count)]


def test_two_hosts():
    overlay = plan_overlay(POOL, [A, B])
    assert overlay.subnets["node-a"] == "10.42.7.0/24"
    assert overlay.addresses["node-a"]["db"] == overlay.names["db"] == "10.42.7.9"
    assert overlay.names["www"] == overlay.names["web"]
    assert set(overlay.names) == {"web", "www", "db", "client"}
    assert overlay.peers("node-b") == (Peer.at("10.42.7.0/24", "192.0.2.1"),)
    assert overlay.peers("node-a") == (Peer.at(overlay.subnets["node-b"], "192.0.2.2"),)


def test_the_order_of_the_inventory_does_not_matter():
    assert plan_overlay(POOL, [A, B]) == plan_overlay(POOL, [B, A])


@given(st.sets(st.text("abcdef", min_size=1, max_size=6), max_size=16))
def test_subnets_never_overlap_and_lie_in_the_pool(names):
    hosts = [Member(name, f"192.0.2.{number + 1}") for number, name in enumerate(sorted(names))]
    subnets = [ipaddress.IPv4Network(text) for text in plan_overlay("10.42.0.0/20", hosts).subnets.values()]
    assert len(set(subnets)) == len(names)
    assert all(subnet.subnet_of(ipaddress.IPv4Network("10.42.0.0/20")) for subnet in subnets)
    assert not any(one.overlaps(other) for one, other in itertools.combinations(subnets, 2))


def test_adding_a_host_rarely_moves_another():
    before = plan_overlay(POOL, members(50)).subnets
    moved = 0
    for number in range(50):
        after = plan_overlay(POOL, [*members(50), Member(f"extra-{number}", "192.0.2.1")]).subnets
        moved += sum(after[host] != subnet for host, subnet in before.items())
    # 50 of 256 places are taken: about a fifth of the newcomers meets one who then steps aside.
    assert moved < 25


def test_chosen_subnets_of_any_length_are_stepped_around():
    chosen = Member("big", "192.0.2.9", subnet="10.42.0.0/17")
    small = Member("small", "192.0.2.8", subnet="10.42.255.128/25")
    overlay = plan_overlay(POOL, [chosen, small, *members(127)])
    assert len(overlay.subnets) == 129
    with pytest.raises(Conflict, match="none is left for host"):
        plan_overlay(POOL, [chosen, small, *members(128)])


def test_a_thousand_hosts_with_peers():
    overlay = plan_overlay("10.64.0.0/10", members(1000))
    peers = overlay.peers("node-0000")
    assert len(peers) == 999
    keys = [int(ipaddress.IPv4Network(peer.subnet).network_address) for peer in peers]
    assert keys == sorted(keys)


@pytest.mark.parametrize(
    ("hosts", "kind", "words"),
    [
        ([A, Member("node-c", "192.0.2.3", subnet="10.42.7.128/25")], Conflict, "10.42.7.0/24 of host node-a"),
        ([A, Member("node-c", "192.0.2.1")], Conflict, "hosts node-a and node-c both have the underlay address"),
        ([A, A], Conflict, "node-a is listed twice"),
        ([Member("node-c", "10.42.3.4")], Conflict, "is in the pool"),
        ([Member("node-c", "nowhere")], InvalidOption, "node-c: address: 'nowhere'"),
        ([Member("node-c", "192.0.2.3", subnet="10.43.0.0/24")], InvalidOption, "a part of the pool 10.42.0.0/16"),
        ([Member("node-c", "192.0.2.3", subnet="10.42.0.0")], InvalidOption, "node-c: subnet"),
        ([A, Member("node-c", "192.0.2.3", containers=(Place("web"),))], Conflict, "the name web belongs to"),
        ([A, Member("node-c", "192.0.2.3", containers=(Place("x", aliases=("www",)),))], Conflict, "the name www"),
        ([Member("node-c", "192.0.2.3", containers=(Place("x"), Place("x")))], Conflict, "lists container x twice"),
        ([Member("node-c", "192.0.2.3", containers=(Place("../x"),))], InvalidOption, "node-c: container: '../x'"),
        (
            [Member("c", "192.0.2.3", "10.42.3.0/24", (Place("x", "10.42.4.5"),))],
            InvalidOption,
            "container x: '10.42.4.5'",
        ),
        ([Member("c", "192.0.2.3", "10.42.3.0/24", (Place("x", "10.42.3.1"),))], InvalidOption, "gateway"),
        (
            [Member("c", "192.0.2.3", "10.42.3.0/24", (Place("x", "10.42.3.5"), Place("y", "10.42.3.5")))],
            Conflict,
            "containers x and y of host c both want 10.42.3.5",
        ),
    ],
)
def test_faults_are_told(hosts, kind, words):
    with pytest.raises(EngineError) as caught:
        plan_overlay(POOL, hosts)
    assert caught.type is kind
    assert words in str(caught.value)


def test_the_pool_and_the_prefix_are_checked():
    with pytest.raises(InvalidOption, match=r"^pool: "):
        plan_overlay("10.42.0.0", [A])
    with pytest.raises(InvalidOption, match=r"^prefix: "):
        plan_overlay(POOL, [B], prefix=12)
