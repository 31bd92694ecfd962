# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An overlay computed from an inventory: each host's subnet, its peers, every container's address and name.

Pure, and free of order: the same hosts and containers give the same result whichever host asks, so nothing has to
be agreed upon at run time. A new host takes a free subnet; only where it hashes to another's place, and comes before
that host by name, does the other move; hosts that must never move give their subnet.
"""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass, field

from ..errors import Conflict, InvalidOption
from ..model.addressing import (
    contains,
    default_gateway,
    overlaps,
    parse_address,
    parse_address_in,
    parse_subnet,
    subnet_key,
)
from ..model.names import parse_name
from ..model.network import Peer
from .ipam import assign_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


@dataclass(frozen=True)
class Place:
    """A container of the overlay. ``address`` may be empty; ``aliases`` are further names for it."""

    name: str
    address: str = ""
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Member:
    """A host of the overlay: its name in the inventory, its address on the underlay, its subnet if it chose one."""

    host: str
    address: str
    subnet: str = ""
    containers: tuple[Place, ...] = ()


@dataclass(frozen=True)
class Overlay:
    """``subnets`` and ``underlay`` by host, ``addresses`` by host and container, ``names`` to address."""

    pool: str
    underlay: Mapping[str, str]
    subnets: Mapping[str, str]
    addresses: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)

    def peers(self, host: str) -> tuple[Peer, ...]:
        """Everyone but ``host``, in the order of their subnets, as observe_networks() has them."""
        others = [(subnet, self.underlay[other]) for other, subnet in self.subnets.items() if other != host]
        others.sort(key=lambda pair: subnet_key(pair[0]))
        return tuple(Peer.at(subnet, address) for subnet, address in others)


def plan_overlay(pool: str, members: Iterable[Member], *, prefix: int = 24) -> Overlay:
    """Compute the overlay of ``members`` in ``pool``; hosts that chose no subnet get one of length ``prefix``.

    Raises InvalidOption and Conflict, naming hosts and containers.
    """
    pool = parse_subnet("pool", pool)
    members = sorted(members, key=lambda member: member.host)
    underlay: dict[str, str] = {}
    for member in members:
        address = parse_address(f"{member.host}: address", member.address)
        if member.host in underlay:
            raise Conflict(f"host {member.host} is listed twice in the overlay; list it once")
        holder = _key_of(underlay, address)
        if holder:
            raise Conflict(f"hosts {holder} and {member.host} both have the underlay address {address}; correct one")
        if ipaddress.IPv4Address(address) in ipaddress.IPv4Network(pool):
            raise Conflict(
                f"underlay address {address} of host {member.host} is in the pool {pool}; choose another pool"
            )
        underlay[member.host] = address
    subnets = _assign_subnets(pool, members, prefix)
    addresses = {member.host: _assign_addresses(member, subnets[member.host]) for member in members}
    return Overlay(pool, underlay, subnets, addresses, _names(members, addresses))


def _assign_subnets(pool: str, members: Sequence[Member], prefix: int) -> dict[str, str]:
    """Chosen subnets first; then, in the order of host names, the place that a name hashes to or the next free one."""
    subnets: dict[str, str] = {}
    for member in members:
        if member.subnet:
            option = f"{member.host}: subnet"
            subnet = parse_subnet(option, member.subnet)
            if not contains(pool, subnet):
                raise InvalidOption(option, subnet, f"a part of the pool {pool}")
            for other, theirs in subnets.items():
                if overlaps(subnet, theirs):
                    raise Conflict(
                        f"subnets {theirs} of host {other} and {subnet} of {member.host} overlap; change one"
                    )
            subnets[member.host] = subnet
    free = [member.host for member in members if not member.subnet]
    if not free:
        return subnets
    whole = ipaddress.IPv4Network(pool)
    if not whole.prefixlen <= prefix <= 30:
        raise InvalidOption("prefix", prefix, f"a length from {whole.prefixlen} (the pool's) to 30")
    count = 1 << (prefix - whole.prefixlen)
    taken = _taken_places(whole, prefix, subnets.values())
    for host in free:
        start = int.from_bytes(hashlib.sha256(host.encode()).digest()[:8], "big")
        place = next((at for at in ((start + step) % count for step in range(count)) if at not in taken), None)
        if place is None:
            raise Conflict(
                f"the pool {pool} has {count} subnets of /{prefix}, none is left for host {host}; "
                "use a larger pool or a longer prefix"
            )
        taken.add(place)
        first = int(whole.network_address) + (place << (32 - prefix))
        subnets[host] = f"{ipaddress.IPv4Address(first)}/{prefix}"
    return {member.host: subnets[member.host] for member in members}


def _taken_places(pool: ipaddress.IPv4Network, prefix: int, chosen: Iterable[str]) -> set[int]:
    """The numbers of the /``prefix`` parts of the pool that chosen subnets, of whatever length, reach into."""
    taken: set[int] = set()
    base, shift = int(pool.network_address), 32 - prefix
    for subnet in chosen:
        network = ipaddress.IPv4Network(subnet)
        first = (int(network.network_address) - base) >> shift
        last = (int(network.broadcast_address) - base) >> shift
        taken.update(range(first, last + 1))
    return taken


def _assign_addresses(member: Member, subnet: str) -> dict[str, str]:
    gateway = default_gateway(subnet)
    found: dict[str, str] = {}
    for place in member.containers:
        name = parse_name(f"{member.host}: container", place.name)
        if name in found:
            raise Conflict(f"host {member.host} lists container {name} twice; list it once")
        found[name] = ""
        if place.address:
            option = f"{member.host}: address of container {name}"
            address = parse_address_in(option, place.address, subnet)
            if address == gateway:
                raise InvalidOption(option, address, f"an address of {subnet} other than its gateway's")
            holder = _key_of(found, address)
            if holder:
                raise Conflict(f"containers {holder} and {name} of host {member.host} both want {address}; change one")
            found[name] = address
    for name in sorted(found):
        if not found[name]:
            found[name] = assign_address(subnet, gateway, name, set(found.values()))
    return found


def _names(members: Iterable[Member], addresses: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    names: dict[str, str] = {}
    owners: dict[str, str] = {}
    for member in members:
        for place in member.containers:
            owner = f"container {place.name} of host {member.host}"
            for name in (place.name, *(parse_name(f"{owner}: alias", alias) for alias in place.aliases)):
                if owners.setdefault(name, owner) != owner:
                    raise Conflict(f"the name {name} belongs to {owners[name]} and to {owner}; rename one")
                names[name] = addresses[member.host][place.name]
    return dict(sorted(names.items()))


def _key_of(mapping: Mapping[str, str], wanted: str) -> str:
    return next((key for key, value in mapping.items() if value == wanted), "")
