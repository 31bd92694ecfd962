from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.stowage.engine.plugins.module_utils._engine.model.network import Peer
from ansible_collections.stowage.engine.plugins.module_utils._engine.network.peers import Entries, entries_of, peers_of

SEVEN = Peer.at("10.42.7.0/24", "192.0.2.7")
EIGHT = Peer.at("10.42.8.0/24", "192.0.2.8")

whole = st.integers(1, 254).map(lambda number: Peer.at(f"10.42.{number}.0/24", f"192.0.2.{number}"))
some = st.tuples(whole, st.booleans(), st.booleans(), st.booleans()).map(
    lambda drawn: replace(
        drawn[0],
        fdb=drawn[0].fdb if drawn[1] else None,
        neighbour=drawn[0].neighbour if drawn[2] else None,
        route=drawn[0].route if drawn[3] else None,
    )
)


@given(st.lists(some, unique_by=lambda peer: peer.subnet, max_size=8))
def test_entries_become_the_peers_that_they_came_from(peers):
    known = [peer.subnet for peer in peers]
    there = [peer for peer in peers if (peer.fdb, peer.neighbour, peer.route) != (None, None, None)]
    assert set(peers_of(entries_of(peers), known, "24")) == set(there)


def test_peers_come_in_the_order_of_their_numbers():
    ten = Peer.at("10.42.10.0/24", "192.0.2.10")
    assert peers_of(entries_of([ten, EIGHT, SEVEN]), [], "24") == (SEVEN, EIGHT, ten)


def test_entries_of_no_known_subnet_are_peers_of_the_usual_length():
    stray = replace(SEVEN, route=None)
    assert peers_of(entries_of([stray]), [], "24") == (stray,)


def test_a_known_peer_without_any_entry_is_none():
    assert peers_of(Entries({}, {}, {}), ["10.42.7.0/24"], "24") == ()


def test_a_subnet_that_changed_its_length_shows_both():
    narrow = Peer.at("10.42.7.0/25", "192.0.2.7")
    assert peers_of(entries_of([SEVEN]), ["10.42.7.0/25"], "24") == (SEVEN, replace(narrow, route=None))
