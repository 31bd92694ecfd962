# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks: a bridge on one host, or an overlay that joins the bridges of many."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from .names import link_name

VXLAN_PORT = 4789
VXLAN_OVERHEAD = 50
BRIDGE_MTU = 1500


@dataclass(frozen=True)
class Peer:
    """Another host of an overlay, as three entries in the kernel; each is None where the kernel lacks it.

    ``subnet`` is the peer's own (``10.42.7.0/24``): its first address is the peer's VTEP. ``fdb`` is the underlay
    address to which frames for the VTEP's MAC go, ``neighbour`` the VTEP's MAC, ``route`` the VTEP via which the
    subnet is reached.
    """

    subnet: str
    fdb: str | None
    neighbour: str | None
    route: str | None

    @classmethod
    def at(cls, subnet: str, address: str) -> Peer:
        """The peer whose host has ``address`` on the underlay, with all that the kernel should hold for it."""
        vtep = vtep_address(subnet)
        return cls(subnet=subnet, fdb=address, neighbour=vtep_mac(vtep), route=vtep)


@dataclass(frozen=True)
class Vxlan:
    """The overlay's tunnel end on this host (RFC 7348). ``address`` is this host's own on the underlay."""

    vni: int
    address: str
    port: int = VXLAN_PORT
    device: str = ""


@dataclass(frozen=True)
class Network:
    """A network as this host has it. ``subnet`` is this host's part; containers get their addresses from it.

    ``pool`` is the whole overlay (the same as ``subnet`` for a bridge): what leaves it is masqueraded where
    ``masquerade`` is set. ``names`` are (name, address) pairs that every container of the network can look up.
    """

    name: str
    subnet: str
    gateway: str
    mtu: int
    pool: str
    vxlan: Vxlan | None = None
    peers: tuple[Peer, ...] = ()
    names: tuple[tuple[str, str], ...] = ()
    masquerade: bool = True
    bridge_up: bool = True
    vxlan_up: bool = True

    @property
    def driver(self) -> str:
        return "bridge" if self.vxlan is None else "overlay"

    @property
    def bridge(self) -> str:
        """The bridge's interface name."""
        return bridge_name(self.name)

    @property
    def vxlan_link(self) -> str:
        """The VXLAN device's interface name."""
        return link_name("sx", self.name)


def bridge_name(network: str) -> str:
    """The interface name of a network's bridge."""
    return link_name("sb", network)


def vtep_address(subnet: str) -> str:
    """The address of a subnet's tunnel end: the subnet's first, as Flannel has it. An overlay asks it of every peer."""
    return subnet.partition("/")[0]


def vtep_mac(address: str) -> str:
    """A tunnel end's MAC, computed from its address so that no host has to be asked: locally administered, unicast."""
    return "0e:53:" + socket.inet_aton(address).hex(":")
