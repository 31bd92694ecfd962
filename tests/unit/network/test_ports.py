from __future__ import annotations

from ansible_collections.stowage.engine.plugins.module_utils._engine.model.network import Network
from ansible_collections.stowage.engine.plugins.module_utils._engine.network.ports import (
    Forward,
    Table,
    parse_table,
    render_table,
)

FRONT = Network(name="front", subnet="10.88.0.0/24", gateway="10.88.0.1", mtu=1500, pool="10.88.0.0/24")
CLOSED = Network("closed", "10.89.0.0/24", "10.89.0.1", 1500, "10.89.0.0/24", masquerade=False)
WEB = Forward("tcp", "0.0.0.0", 8080, "10.88.0.5", 80)
DNS = Forward("udp", "192.0.2.1", 53, "10.88.0.6", 5353)


def test_the_table_is_replaced_whole():
    text = render_table("stowage", [FRONT, CLOSED], [WEB, DNS])
    assert text.startswith("add table ip stowage\ndelete table ip stowage\ntable ip stowage {\n")
    assert "elements = { 6 . 8080 : 10.88.0.5 . 80 }" in text
    assert "elements = { 192.0.2.1 . 17 . 53 : 10.88.0.6 . 5353 }" in text
    assert "ip saddr 10.88.0.0/24 ip daddr != { 10.88.0.0/24, 224.0.0.0/4 } masquerade" in text
    assert "ip saddr 10.89.0.0/24 ip daddr != " not in text
    assert "ct status dnat ip saddr 10.89.0.0/24 ip daddr 10.89.0.0/24 masquerade" in text
    assert 'iifname "sb-front" ip daddr 127.0.0.0/8 drop' in text


def test_without_networks_and_ports_there_is_no_table():
    assert render_table("stowage", [], []) == "add table ip stowage\ndelete table ip stowage\n"


def test_order_does_not_matter():
    assert render_table("s", [FRONT, CLOSED], [WEB, DNS]) == render_table("s", [CLOSED, FRONT], [DNS, WEB])


def rule(chain, comment):
    return {"rule": {"family": "ip", "table": "stowage", "chain": chain, "handle": 1, "comment": comment, "expr": []}}


def test_maps_and_rules_are_read_whether_protocols_have_names_or_numbers():
    elements = [[{"concat": ["tcp", 8080]}, {"concat": ["10.88.0.5", 80]}]]
    somewhere = [[{"concat": ["192.0.2.1", 17, 53]}, {"concat": ["10.88.0.6", 5353]}]]
    table = parse_table(
        [
            {"metainfo": {"version": "1.0.6"}},
            {"table": {"family": "ip", "name": "stowage", "handle": 1}},
            {"map": {"name": "ports", "elem": elements}},
            {"map": {"name": "address_ports", "elem": somewhere}},
            rule("postrouting", "leaving the pool 10.88.0.0/24"),
        ]
    )
    assert table == Table(forwards=frozenset({WEB, DNS}), masquerades=frozenset({"10.88.0.0/24"}))
    assert not table.publishing


def test_no_table_is_an_empty_one():
    assert parse_table([]) == Table()
