# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The peers of an overlay in the kernel: a forwarding entry, a neighbour and a route for each, as Flannel has them.

Frames for a peer's subnet go to its VTEP (route), whose MAC is known (neighbour), and from the MAC to the peer's
underlay address (the VXLAN device's fdb). Nothing is learnt and nothing is flooded.
"""

from __future__ import annotations

import socket
from typing import NamedTuple

from ..linux.rtnetlink import (
    GONE,
    delete_fdb,
    delete_neighbour,
    delete_route,
    dump_fdb,
    dump_neighbours,
    dump_routes,
    replace_fdb,
    replace_neighbour,
    replace_route,
)
from ..model.addressing import subnet_key
from ..model.network import Peer, vtep_address, vtep_mac

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from ..linux.netlink import Netlink, Request

# The part of a tunnel end's MAC that is the same for all; the rest is its address.
_MAC_PREFIX = vtep_mac("0.0.0.0")[: -len("00:00:00:00")]


class Entries(NamedTuple):
    """Three tables of one VXLAN device: MAC to underlay address, VTEP to MAC, subnet to VTEP."""

    fdb: dict[str, str]
    neighbours: dict[str, str]
    routes: dict[str, str]


def observe_entries(netlink: Netlink, indexes: Collection[int]) -> dict[int, Entries]:
    """What the kernel holds for the VXLAN devices of these indexes: three dumps for all of them.

    Neighbours that the kernel resolved itself do not count (only permanent ones are ours), nor do routes with a
    metric, nor forwarding entries for MACs that are no tunnel end's.
    """
    found = {index: Entries({}, {}, {}) for index in indexes}
    if not found:
        return found
    for entry in dump_fdb(netlink):
        if entry.ifindex in found and entry.mac.startswith(_MAC_PREFIX):
            found[entry.ifindex].fdb[entry.mac] = entry.address
    for entry in dump_neighbours(netlink):
        if entry.ifindex in found and entry.permanent:
            found[entry.ifindex].neighbours[entry.address] = entry.mac
    for route in dump_routes(netlink):
        if route.ifindex in found and route.metric == 0:
            found[route.ifindex].routes[route.subnet] = route.gateway
    return found


def entries_of(peers: Iterable[Peer]) -> Entries:
    """The entries that these peers are; those that are None are left out."""
    entries = Entries({}, {}, {})
    for peer in peers:
        vtep = vtep_address(peer.subnet)
        if peer.fdb is not None:
            entries.fdb[vtep_mac(vtep)] = peer.fdb
        if peer.neighbour is not None:
            entries.neighbours[vtep] = peer.neighbour
        if peer.route is not None:
            entries.routes[peer.subnet] = peer.route
    return entries


def peers_of(entries: Entries, known: Iterable[str], prefix: str) -> tuple[Peer, ...]:
    """The peers that these entries are, in the order of their addresses.

    ``known`` are the subnets that were asked for: one of which the kernel holds nothing is no peer. An entry of no
    known subnet and without a route is a peer too, of a subnet with ``prefix`` (such as ``24``): it is to go.
    """
    subnets = set(entries.routes)
    subnets.update(known)
    vteps = {subnet.partition("/")[0] for subnet in subnets}
    strays = {_vtep_of(mac) for mac in entries.fdb}
    strays.update(entries.neighbours)
    subnets.update(f"{vtep}/{prefix}" for vtep in strays - vteps)
    macs = {_vtep_of(mac): address for mac, address in entries.fdb.items()}
    peers = []
    for subnet in sorted(subnets, key=subnet_key):
        vtep = subnet.partition("/")[0]
        fdb, neighbour, route = macs.get(vtep), entries.neighbours.get(vtep), entries.routes.get(subnet)
        if not (fdb is None and neighbour is None and route is None):
            peers.append(Peer(subnet=subnet, fdb=fdb, neighbour=neighbour, route=route))
    return tuple(peers)


def program_entries(netlink: Netlink, index: int, current: Entries, desired: Entries) -> None:
    """Turn ``current`` into ``desired``, touching only what differs: first what goes, then what comes."""
    netlink.execute(list(_deletions(index, current, desired)), tolerate=GONE)
    netlink.execute(list(_settings(index, current, desired)))


def _deletions(index: int, current: Entries, desired: Entries) -> Iterator[Request]:
    yield from (delete_route(index, subnet) for subnet in current.routes.keys() - desired.routes.keys())
    yield from (delete_neighbour(index, vtep) for vtep in current.neighbours.keys() - desired.neighbours.keys())
    yield from (delete_fdb(index, mac) for mac in current.fdb.keys() - desired.fdb.keys())


def _settings(index: int, current: Entries, desired: Entries) -> Iterator[Request]:
    for mac, address in desired.fdb.items():
        if current.fdb.get(mac) != address:
            yield replace_fdb(index, mac, address)
    for vtep, mac in desired.neighbours.items():
        if current.neighbours.get(vtep) != mac:
            yield replace_neighbour(index, vtep, mac)
    for subnet, gateway in desired.routes.items():
        if current.routes.get(subnet) != gateway:
            yield replace_route(index, subnet, gateway)


def _vtep_of(mac: str) -> str:
    return socket.inet_ntoa(bytes.fromhex(mac[len(_MAC_PREFIX) :].replace(":", "")))
