# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The underlay: the link, address and MTU over which this host's tunnels run, found in the kernel."""

from __future__ import annotations

from typing import NamedTuple

from ..errors import InvalidOption, NotFound
from ..linux.netlink import Netlink
from ..linux.rtnetlink import dump_addresses, dump_links, dump_routes


class Underlay(NamedTuple):
    """``device`` has ``address``; its packets may have ``mtu`` bytes."""

    address: str
    device: str
    mtu: int


def observe_underlay(address: str = "", device: str = "") -> Underlay:
    """The underlay that an overlay's options mean on this host.

    With ``address``: the link that has it (``device``, where it is given, must be that link). With ``device`` alone:
    its first address. With neither: the default route's link. Raises InvalidOption and NotFound.
    """
    with Netlink() as netlink:
        links = {link.ifindex: link for link in dump_links(netlink)}
        addresses = dump_addresses(netlink)
        routes = [] if address or device else dump_routes(netlink)
    if address:
        addresses = [entry for entry in addresses if entry.address == address]
        if not addresses:
            raise InvalidOption("address", address, "an IPv4 address that a link of this host has")
    elif not device:
        defaults = sorted((route for route in routes if route.subnet == "0.0.0.0/0"), key=lambda route: route.metric)
        if not defaults:
            raise NotFound("route", "default", "set address to this host's address that the other hosts reach")
        route = defaults[0]
        addresses = [entry for entry in addresses if entry.ifindex == route.ifindex]
        # A route may name the address that its packets come from.
        addresses = [entry for entry in addresses if entry.address == route.source] or addresses
    if device:
        if device not in {link.name for link in links.values()}:
            raise InvalidOption("device", device, "the name of a link of this host")
        addresses = [entry for entry in addresses if links[entry.ifindex].name == device]
    if not addresses:
        wanted = f"a link that has the address {address}" if address else "a link that has an IPv4 address"
        raise InvalidOption("device", device or "(the default route's)", wanted)
    link = links[addresses[0].ifindex]
    return Underlay(addresses[0].address, link.name, link.mtu)
