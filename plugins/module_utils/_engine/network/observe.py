# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The networks of this host as they are: the kernel's links, addresses and tables; the disk's names and pools."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from ..linux.netlink import Netlink
from ..linux.rtnetlink import dump_addresses, dump_links
from ..model.network import Vxlan, vtep_address, vtep_mac
from . import sysctl
from .peers import observe_entries, peers_of
from .ports import observe_table
from .state import load_networks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..linux.rtnetlink import Address, Link
    from ..model.network import Network
    from ..paths import Paths
    from .peers import Entries


class Links(NamedTuple):
    """The links of this network namespace, and their addresses, by index."""

    by_name: dict[str, Link]
    by_index: dict[int, Link]
    addresses: dict[int, list[Address]]


def observe_links(netlink: Netlink) -> Links:
    links = dump_links(netlink)
    addresses: dict[int, list[Address]] = {}
    for address in dump_addresses(netlink):
        addresses.setdefault(address.ifindex, []).append(address)
    return Links({link.name: link for link in links}, {link.ifindex: link for link in links}, addresses)


def observe_networks(paths: Paths) -> dict[str, Network]:
    """Every network that was made here and whose bridge is there, by name: six reads of the kernel for all of them.

    - ``gateway`` is the bridge's address: the one that was asked for if it is there, else another one, else "".
    - ``mtu`` is whichever of the bridge's and the tunnel's is not what was asked for.
    - ``bridge_up``: the bridge is up and its packets are forwarded. ``vxlan_up``: the tunnel's end is up, with its
      MAC and address, and does not learn.
    - ``vxlan`` is None where the device is gone (as it is when its underlay device goes).
    - A network whose removal was cut short is here, with what is left of it, until it is removed or made again.
    """
    saved = load_networks(paths)
    if not saved:
        return {}
    with Netlink() as netlink:
        links = observe_links(netlink)
        names = {network.vxlan_link for network, _rest in saved.values()}
        tunnels = [link.ifindex for link in links.by_name.values() if link.vxlan and link.name in names]
        entries = observe_entries(netlink, tunnels)
    masquerades = observe_table(paths.instance).masquerades
    found = {}
    for name, (network, removing) in saved.items():
        if removing or network.bridge in links.by_name:
            found[name] = _observe(network, links, entries, masquerade=network.pool in masquerades)
    return found


def _observe(network: Network, links: Links, entries: dict[int, Entries], *, masquerade: bool) -> Network:
    bridge = links.by_name.get(network.bridge)
    tunnel = links.by_name.get(network.vxlan_link) if network.vxlan else None
    gateway, prefix = _gateway(network, links.addresses.get(bridge.ifindex, []) if bridge else [])
    mtus = [link.mtu for link in (bridge, tunnel) if link]
    known = [peer.subnet for peer in network.peers]
    return replace(
        network,
        subnet=f"{vtep_address(network.subnet)}/{prefix}",
        gateway=gateway,
        mtu=next((mtu for mtu in mtus if mtu != network.mtu), mtus[0] if mtus else 0),
        vxlan=_vxlan(tunnel, links),
        peers=peers_of(entries[tunnel.ifindex], known, prefix) if tunnel and tunnel.vxlan else (),
        masquerade=masquerade,
        bridge_up=bool(bridge and bridge.up and sysctl.forwards(bridge.name)),
        vxlan_up=network.vxlan is None or (tunnel is not None and is_sound(network, tunnel, links)),
    )


def _gateway(network: Network, addresses: list[Address]) -> tuple[str, str]:
    """The bridge's address and, where it is the wanted one, the prefix length that it really has."""
    for entry in addresses:
        if entry.address == network.gateway:
            return entry.address, str(entry.prefix)
    return addresses[0].address if addresses else "", network.subnet.partition("/")[2]


def _vxlan(tunnel: Link | None, links: Links) -> Vxlan | None:
    if tunnel is None or tunnel.vxlan is None:
        return None
    lower = links.by_index.get(tunnel.vxlan.lower)
    info = tunnel.vxlan
    return Vxlan(vni=info.vni, address=info.local, port=info.port, device=lower.name if lower else "")


def is_sound(network: Network, tunnel: Link, links: Links) -> bool:
    """Whether a tunnel's end can carry frames: up, not learning, with the MAC and the address that peers know."""
    vtep = vtep_address(network.subnet)
    addresses = links.addresses.get(tunnel.ifindex, [])
    return (
        tunnel.up
        and tunnel.vxlan is not None
        and not tunnel.vxlan.learning
        and tunnel.mac == vtep_mac(vtep)
        and any(entry.address == vtep and entry.prefix == 32 for entry in addresses)
        and sysctl.forwards(tunnel.name)
    )
