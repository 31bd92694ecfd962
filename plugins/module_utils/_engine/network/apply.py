# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make, change and remove networks. Each function may be killed anywhere and called again.

The definition is saved before the first link is made and forgotten after the last is gone; what is there already,
whole or half-made, is brought to what is wanted without taking a container off its network.
"""

from __future__ import annotations

import contextlib
import errno

from ..errors import Conflict, EngineError, InvalidOption
from ..linux.netlink import Netlink
from ..linux.rtnetlink import GONE, add_address, delete_address, delete_link, get_link, set_link
from ..model.network import vtep_address, vtep_mac
from . import sysctl
from .devices import make_bridge, make_vxlan
from .observe import observe_links
from .peers import entries_of, observe_entries, program_entries
from .ports import apply_table, is_current, observe_table
from .state import forget_network, load_networks, save_network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..linux.rtnetlink import Link
    from ..model.network import Network, Vxlan
    from ..paths import Paths
    from .observe import Links


def create_network(paths: Paths, network: Network) -> None:
    """Make the network, or what of it is missing. A network that was not there and cannot be made leaves nothing."""
    with Netlink() as netlink:
        there = get_link(netlink, network.bridge)
        save_network(paths, network)
        try:
            _make(netlink, network)
            refresh_table(paths)
        except EngineError:
            if there is None or there.kind != "bridge":
                with contextlib.suppress(EngineError):
                    remove_network(paths, network)
            raise


def update_network(paths: Paths, current: Network, desired: Network) -> None:
    """Bring a network to ``desired`` while its containers stay on it; only differing entries are touched.

    Another VNI, port, underlay address or device replaces the VXLAN device alone. A new gateway address is the
    bridge's from now on; containers keep the route that they started with.
    """
    save_network(paths, desired)
    with Netlink() as netlink:
        if current.gateway not in ("", desired.gateway) or current.subnet != desired.subnet:
            bridge = get_link(netlink, current.bridge)
            if bridge is not None and current.gateway:
                prefix = int(current.subnet.partition("/")[2])
                netlink.execute([delete_address(bridge.ifindex, current.gateway, prefix)], tolerate=GONE)
        if desired.vxlan is None:
            _remove_link(netlink, desired.vxlan_link, "vxlan")
        _make(netlink, desired)
    refresh_table(paths)


def remove_network(paths: Paths, network: Network) -> None:
    """Remove links and definition. Containers that are still on the network lose it."""
    save_network(paths, network, removing=True)
    with Netlink() as netlink:
        _remove_link(netlink, network.vxlan_link, "vxlan")
        _remove_link(netlink, network.bridge, "bridge")
    refresh_table(paths)
    forget_network(paths, network.name)


def refresh_table(paths: Paths) -> None:
    """Let the nft table have the rules of the networks that are saved, and the ports that it has."""
    networks = [saved.network for saved in load_networks(paths).values() if not saved.removing]
    table = observe_table(paths.instance)
    if not is_current(table, networks, table.forwards):
        apply_table(paths.instance, networks, table.forwards)


def _make(netlink: Netlink, network: Network) -> None:
    links = observe_links(netlink)
    _make_bridge(netlink, network, links)
    if network.vxlan is None:
        return
    tunnel = _make_tunnel(netlink, network, network.vxlan, links)
    current = observe_entries(netlink, [tunnel.ifindex])[tunnel.ifindex]
    program_entries(netlink, tunnel.ifindex, current, entries_of(network.peers))


def _make_bridge(netlink: Netlink, network: Network, links: Links) -> None:
    bridge = _existing(network, network.bridge, "bridge", links)
    if bridge is None:
        make_bridge(network)
        bridge = _made(netlink, network.bridge)
    mac = vtep_mac(network.gateway)
    netlink.execute(
        [
            set_link(
                bridge.ifindex,
                bridge.name,
                up=True,
                mtu=network.mtu if bridge.mtu != network.mtu else 0,
                mac=mac if bridge.mac != mac else "",
            )
        ]
    )
    prefix = int(network.subnet.partition("/")[2])
    netlink.execute([add_address(bridge.ifindex, network.gateway, prefix)], tolerate={errno.EEXIST})
    sysctl.enable_forwarding(bridge.name)
    sysctl.enable_localnet(bridge.name)


def _make_tunnel(netlink: Netlink, network: Network, vxlan: Vxlan, links: Links) -> Link:
    lower = _lower(vxlan, links)
    tunnel = _existing(network, network.vxlan_link, "vxlan", links)
    if tunnel is not None and tunnel.vxlan != (vxlan.vni, vxlan.address, vxlan.port, False, lower):
        _remove_link(netlink, tunnel.name, "vxlan")
        tunnel = None
    if tunnel is None:
        make_vxlan(network, vxlan, lower)
        tunnel = _made(netlink, network.vxlan_link)
    vtep = vtep_address(network.subnet)
    mac = vtep_mac(vtep)
    stale = [
        delete_address(tunnel.ifindex, entry.address, entry.prefix)
        for entry in links.addresses.get(tunnel.ifindex, [])
        if (entry.address, entry.prefix) != (vtep, 32)
    ]
    netlink.execute(stale, tolerate=GONE)
    netlink.execute(
        [
            # Another MAC flushes the neighbours: the tables are read after this.
            set_link(
                tunnel.ifindex,
                tunnel.name,
                up=True,
                mtu=network.mtu if tunnel.mtu != network.mtu else 0,
                mac=mac if tunnel.mac != mac else "",
            ),
            add_address(tunnel.ifindex, vtep, 32),
        ],
        tolerate={errno.EEXIST},
    )
    sysctl.enable_forwarding(tunnel.name)
    return tunnel


def _lower(vxlan: Vxlan, links: Links) -> int:
    """The index of the underlay's link: the one that is named, else the one that has the address."""
    if vxlan.device:
        link = links.by_name.get(vxlan.device)
        if link is None:
            raise InvalidOption("device", vxlan.device, "the name of a link of this host")
        return link.ifindex
    for index, addresses in links.addresses.items():
        if any(entry.address == vxlan.address for entry in addresses):
            return index
    raise InvalidOption("address", vxlan.address, "an IPv4 address that a link of this host has")


def _existing(network: Network, name: str, kind: str, links: Links) -> Link | None:
    link = links.by_name.get(name)
    if link is not None and link.kind != kind:
        raise Conflict(
            f"network {network.name!r} needs a {kind} named {name!r}, but a {link.kind or 'device'} has that name; "
            "rename or remove that link, or give the network another name"
        )
    return link


def _made(netlink: Netlink, name: str) -> Link:
    link = get_link(netlink, name)
    if link is None:
        raise Conflict(f"the link {name!r} was removed by another program while it was set up; run again")
    return link


def _remove_link(netlink: Netlink, name: str, kind: str) -> None:
    """Remove a link of ours; one of another kind that has its name is somebody else's."""
    link = get_link(netlink, name)
    if link is not None and link.kind == kind:
        netlink.execute([delete_link(link.ifindex, name)], tolerate=GONE)
