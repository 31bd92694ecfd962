# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container's place in a network: a veth pair from the network's bridge into its network namespace.

All of it is raw netlink, a handful of messages, so that starting a container never waits for pyroute2's import.
"""

from __future__ import annotations

import errno
import os

from ..errors import KernelError, NotFound
from ..linux.netlink import Netlink
from ..linux.rtnetlink import (
    GONE,
    add_address,
    add_veth,
    delete_address,
    delete_link,
    dump_addresses,
    dump_links,
    get_link,
    replace_route,
    set_hairpin,
    set_link,
)
from ..model.names import link_name
from ..model.network import vtep_mac
from ..paths import Paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..linux.rtnetlink import Link
    from ..model.network import Network

_DEFAULT_INSTANCE = Paths().instance
_LOOPBACK = 1  # the index of lo in every namespace (net/core/dev.c, LOOPBACK_IFINDEX)


def host_link(instance: str, container: str, network: str) -> str:
    """The name of the host's end of the link between a container and a network; engines with other roots share none."""
    whole = f"{container}.{network}"
    return link_name("sv", whole if instance == _DEFAULT_INSTANCE else f"{whole}.{instance}")


def attach(
    network: Network,
    *,
    container: str,
    pid: int,
    address: str,
    instance: str,
    interface: str = "",
    default_route: bool | None = None,
) -> None:
    """Put the container whose process is ``pid`` on the network, or repair what of that is broken.

    The container's end is ``interface``, or else the one that it has, or the next of eth0, eth1, ...; it has the
    default route (unless told otherwise, eth0 alone has), or else one to its network's pool. Its MAC follows from
    ``address``, so that neighbours' ARP entries stay true when a container is made anew.
    Raises NotFound where the bridge or the process is gone, KernelError.
    """
    name = host_link(instance, container, network.name)
    try:
        netns = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise NotFound("process", str(pid), f"container {container!r} ended before it joined its network") from error
    try:
        with Netlink() as outside, Netlink(netns) as inside:
            bridge = get_link(outside, network.bridge)
            if bridge is None:
                raise NotFound("network", network.name, "its bridge is gone; run the task that makes the network again")
            links = dump_links(inside)
            end = _find_end(outside, name, links)
            if end is None:
                end = interface or _next_end(links)
                mac = vtep_mac(address)
                pair = add_veth(name, end, netns, master=bridge.ifindex, mtu=network.mtu, mac=mac)
                outside.execute([pair, set_hairpin(name)])
            else:
                _repair_host_link(outside, name, bridge, network.mtu)
            _configure(inside, end, network, address, end == "eth0" if default_route is None else default_route)
    finally:
        os.close(netns)


def detach(network: str, *, container: str, instance: str) -> None:
    """Take a container off a network: its end of the link goes with the host's. It may be off already."""
    name = host_link(instance, container, network)
    with Netlink() as netlink:
        link = get_link(netlink, name)
        if link is not None:
            netlink.execute([delete_link(link.ifindex, name)], tolerate=GONE)


def observe_attached() -> dict[str, str]:
    """The host's links to containers that are up at both ends, each with the bridge that it is on."""
    with Netlink() as netlink:
        links = dump_links(netlink)
    bridges = {link.ifindex: link.name for link in links if link.kind == "bridge"}
    return {
        link.name: bridges[link.master]
        for link in links
        if link.kind == "veth" and link.carrier and link.hairpin and link.master in bridges
    }


def _find_end(outside: Netlink, name: str, inside: list[Link]) -> str | None:
    """The container's end of a link that is there already. A link that leads elsewhere is removed: it is of a
    container of that name which is no more."""
    link = get_link(outside, name)
    if link is None:
        return None
    for end in inside:
        if end.kind == "veth" and end.ifindex == link.peer and end.peer == link.ifindex:
            return end.name
    outside.execute([delete_link(link.ifindex, name)], tolerate=GONE)
    return None


def _next_end(links: list[Link]) -> str:
    taken = {link.name for link in links}
    return next(name for name in map("eth{}".format, range(len(links) + 1)) if name not in taken)


def _repair_host_link(outside: Netlink, name: str, bridge: Link, mtu: int) -> None:
    link = get_link(outside, name)
    if link is not None:
        outside.execute([set_link(link.ifindex, name, up=True, mtu=mtu, master=bridge.ifindex), set_hairpin(name)])


def _configure(inside: Netlink, end: str, network: Network, address: str, default_route: bool) -> None:
    link = get_link(inside, end)
    if link is None:
        raise KernelError(f"setting up {end}", OSError(errno.ENODEV, os.strerror(errno.ENODEV), end))
    prefix = int(network.subnet.partition("/")[2])
    other = [entry for entry in dump_addresses(inside) if entry.ifindex == link.ifindex and entry.address != address]
    inside.execute([delete_address(link.ifindex, entry.address, entry.prefix) for entry in other], tolerate=GONE)
    requests = [
        set_link(_LOOPBACK, "lo", up=True),
        set_link(link.ifindex, end, up=True, mtu=network.mtu),
        add_address(link.ifindex, address, prefix),
    ]
    if default_route:
        requests.append(replace_route(link.ifindex, "0.0.0.0/0", network.gateway))
    elif network.pool != network.subnet:
        requests.append(replace_route(link.ifindex, network.pool, network.gateway))
    inside.execute(requests, tolerate={errno.EEXIST})
