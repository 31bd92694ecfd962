# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Published ports and masquerading: one nft table of our own, replaced in one transaction.

The table ``ip <instance>`` holds two maps (ports on every address of the host, ports on one address) that the
prerouting chain (connections from other machines and containers) and the output chain (from the host itself) look up,
and what must be masqueraded: what leaves an overlay's pool, what a container sends to a port that leads back into its
own bridge, and what the host sends from 127.0.0.1. Each rule has a comment, by which a missing rule is seen.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..linux.nft import apply_ruleset, list_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from typing import Any

    from ..model.network import Network

ANY_ADDRESS = "0.0.0.0"
# RFC 5237's registry, netinet/in.h. Numbers, because nft needs /etc/protocols for the names, and hosts may lack it.
_PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
_PROTOCOL_NAMES = {str(number): name for name, number in _PROTOCOLS.items()}

# (chain, comment) of the rules without which no port is published.
_PUBLISHING = {
    ("prerouting", "ports of one address"),
    ("prerouting", "ports of all addresses"),
    ("output", "ports of one address"),
    ("output", "ports of all addresses"),
    ("postrouting", "published to the host itself"),
}
_HAIRPIN = "published to neighbours: "
_MASQUERADE = "leaving the pool "


@dataclass(frozen=True, order=True)
class Forward:
    """A port of the host (``host_ip`` 0.0.0.0: of every address) that leads to a container's address and port."""

    protocol: str
    host_ip: str
    host_port: int
    address: str
    container_port: int


@dataclass(frozen=True)
class Table:
    """What the kernel has: ``forwards`` as the maps say, whether rules look them up (``publishing``), and the subnets
    of ``hairpins`` and pools of ``masquerades`` that have their rule."""

    forwards: frozenset[Forward] = frozenset()
    publishing: bool = False
    hairpins: frozenset[str] = frozenset()
    masquerades: frozenset[str] = frozenset()


def observe_ports(instance: str) -> frozenset[Forward]:
    """The ports that are published now: none where the maps are there and the rules that use them are not."""
    table = observe_table(instance)
    return table.forwards if table.publishing else frozenset()


def observe_table(instance: str) -> Table:
    """Our table as the kernel has it; an empty one where there is none."""
    return parse_table(list_table("ip", instance) or [])


def is_current(table: Table, networks: Collection[Network], forwards: Collection[Forward]) -> bool:
    """Whether the table is what apply_table() would make it, which takes the kernel 5 ms."""
    return (
        table.publishing == bool(networks or forwards)
        and table.forwards == set(forwards)
        and table.hairpins == {network.subnet for network in networks}
        and table.masquerades == {network.pool for network in networks if network.masquerade}
    )


def apply_table(instance: str, networks: Iterable[Network], forwards: Iterable[Forward]) -> None:
    """Make our table exactly this, in one transaction; without networks and ports there is none."""
    apply_ruleset(render_table(instance, networks, forwards))


def render_table(instance: str, networks: Iterable[Network], forwards: Iterable[Forward]) -> str:
    """The ruleset that replaces the table. ``add`` before ``delete``, so that it may be missing."""
    networks = sorted(networks, key=lambda network: network.name)
    forwards = sorted(forwards)
    ruleset = f"add table ip {instance}\ndelete table ip {instance}\n"
    if not networks and not forwards:
        return ruleset
    anywhere = [_element(forward) for forward in forwards if forward.host_ip == ANY_ADDRESS]
    somewhere = [f"{forward.host_ip} . {_element(forward)}" for forward in forwards if forward.host_ip != ANY_ADDRESS]
    lookup = (
        'dnat ip to ip daddr . meta l4proto . th dport map @address_ports comment "ports of one address"',
        'fib daddr type local dnat ip to meta l4proto . th dport map @ports comment "ports of all addresses"',
    )
    lines = [
        f"table ip {instance} {{",
        *_map("ports", "inet_proto . inet_service", anywhere),
        *_map("address_ports", "ipv4_addr . inet_proto . inet_service", somewhere),
        *_chain("prerouting", "nat hook prerouting priority -100", lookup),
        *_chain("output", "nat hook output priority -100", lookup),
        *_chain("postrouting", "nat hook postrouting priority 100", _masquerades(networks)),
        *_chain("loopback", "filter hook prerouting priority -300", _guards(networks)),
        "}",
    ]
    return ruleset + "\n".join(lines) + "\n"


def _element(forward: Forward) -> str:
    return f"{_PROTOCOLS[forward.protocol]} . {forward.host_port} : {forward.address} . {forward.container_port}"


def _map(name: str, key: str, elements: list[str]) -> list[str]:
    lines = [f"  map {name} {{", f"    type {key} : ipv4_addr . inet_service"]
    if elements:
        lines.append(f"    elements = {{ {', '.join(elements)} }}")
    return [*lines, "  }"]


def _chain(name: str, hook: str, rules: Iterable[str]) -> list[str]:
    return [f"  chain {name} {{", f"    type {hook}; policy accept;", *(f"    {rule}" for rule in rules), "  }"]


def _masquerades(networks: list[Network]) -> list[str]:
    rules = ['ct status dnat ip saddr 127.0.0.0/8 masquerade comment "published to the host itself"']
    for subnet in sorted({network.subnet for network in networks}):
        # The answer would otherwise go straight to the neighbour, from an address that it never called.
        rules.append(f'ct status dnat ip saddr {subnet} ip daddr {subnet} masquerade comment "{_HAIRPIN}{subnet}"')
    for pool in sorted({network.pool for network in networks if network.masquerade}):
        # Multicast (224.0.0.0/4) is left alone: it is not answered.
        rules.append(f'ip saddr {pool} ip daddr != {{ {pool}, 224.0.0.0/4 }} masquerade comment "{_MASQUERADE}{pool}"')
    return rules


def _guards(networks: list[Network]) -> list[str]:
    """route_localnet on a bridge would let its containers reach services on the host's 127.0.0.1 (CVE-2020-8558)."""
    return [
        f'iifname "{network.bridge}" ip daddr 127.0.0.0/8 drop comment "no way from {network.bridge} to 127.0.0.0/8"'
        for network in networks
    ]


def parse_table(objects: Iterable[dict[str, Any]]) -> Table:
    """A table out of what libnftables-json(5) lists of it."""
    forwards: set[Forward] = set()
    rules: set[tuple[str, str]] = set()
    for entry in objects:
        if "rule" in entry:
            rules.add((entry["rule"]["chain"], entry["rule"].get("comment", "")))
        elif entry.get("map", {}).get("name") in ("ports", "address_ports"):
            for key, value in entry["map"].get("elem", []):
                forwards.add(_parse_element(key["concat"], value["concat"]))
    after = [comment for chain, comment in rules if chain == "postrouting"]
    return Table(
        forwards=frozenset(forwards),
        publishing=rules >= _PUBLISHING,
        hairpins=frozenset(comment[len(_HAIRPIN) :] for comment in after if comment.startswith(_HAIRPIN)),
        masquerades=frozenset(comment[len(_MASQUERADE) :] for comment in after if comment.startswith(_MASQUERADE)),
    )


def _parse_element(key: list[Any], value: list[Any]) -> Forward:
    host_ip, protocol, port = key if len(key) == 3 else [ANY_ADDRESS, *key]
    name = _PROTOCOL_NAMES.get(str(protocol), str(protocol))
    return Forward(name, host_ip, int(port), value[0], int(value[1]))
