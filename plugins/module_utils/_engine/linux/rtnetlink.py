# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Links, addresses, routes, neighbours and forwarding entries of a network namespace, IPv4: rtnetlink(7).

``dump_*`` read a whole table; the other functions make requests for Netlink.execute(). Addresses and MACs are text
as people write it (``10.0.0.1``, ``0e:53:0a:00:00:01``).
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import NamedTuple

from ..errors import KernelError
from .netlink import NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, Request, attribute, attributes, nest, nested, number, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .netlink import Netlink

# linux/rtnetlink.h
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
RT_TABLE_MAIN = 254
RTN_UNICAST = 1
RTPROT_UNSPEC, RTPROT_STATIC = 0, 4
RT_SCOPE_UNIVERSE, RT_SCOPE_NOWHERE = 0, 255
RTNH_F_ONLINK = 4
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC = 1, 4, 5, 6, 7
# linux/if_link.h, linux/if_addr.h, linux/neighbour.h
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER, IFLA_LINKINFO = 1, 3, 4, 5, 10, 18
IFLA_NET_NS_FD, IFLA_EXT_MASK = 28, 29
IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA = 1, 2, 4, 5
IFLA_VXLAN_ID, IFLA_VXLAN_LINK, IFLA_VXLAN_LOCAL, IFLA_VXLAN_LEARNING, IFLA_VXLAN_PORT = 1, 3, 4, 7, 15
IFLA_BRPORT_MODE = 4
VETH_INFO_PEER = 1
RTEXT_FILTER_SKIP_STATS = 8
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST = 1, 2, 4
NDA_DST, NDA_LLADDR = 1, 2
NUD_PERMANENT = 0x80
NTF_SELF = 2
# linux/if.h
IFF_UP = 0x1
IFF_LOWER_UP = 0x10000

_AF_BRIDGE = 7
_IFINFOMSG = struct.Struct("=BxHiII")  # family, hardware type, index, flags, changed flags
_IFADDRMSG = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, index
_RTMSG = struct.Struct("=BBBBBBBBI")  # family, dst length, src length, tos, table, protocol, scope, type, flags
_NDMSG = struct.Struct("=BxxxiHBB")  # family, index, state, flags, type
_ATTRIBUTE = struct.Struct("=HH")

# What deleting something that is gone already answers.
GONE = frozenset({errno.ENOENT, errno.ESRCH, errno.EADDRNOTAVAIL, errno.ENODEV})


class VxlanInfo(NamedTuple):
    """What only a VXLAN device has. ``lower`` is the index of the link under it, 0 for none."""

    vni: int
    local: str
    port: int
    learning: bool
    lower: int


class Link(NamedTuple):
    """A network interface. ``peer`` is a veth's other end, by its index in the namespace where that is."""

    ifindex: int
    name: str
    flags: int
    mtu: int
    mac: str
    kind: str
    master: int
    peer: int
    vxlan: VxlanInfo | None
    hairpin: bool

    @property
    def up(self) -> bool:
        return bool(self.flags & IFF_UP)

    @property
    def carrier(self) -> bool:
        """Up, and what is below or at the other end is too."""
        return bool(self.flags & IFF_UP and self.flags & IFF_LOWER_UP)


class Address(NamedTuple):
    ifindex: int
    address: str
    prefix: int


class Route(NamedTuple):
    """A unicast route of the main table. ``subnet`` is ``0.0.0.0/0`` for the default; "" where there is no gateway."""

    ifindex: int
    subnet: str
    gateway: str
    metric: int
    source: str


class Neighbour(NamedTuple):
    """An ARP entry (``address`` is at ``mac``), or one of a VXLAN device's fdb (``mac`` is behind ``address``)."""

    ifindex: int
    address: str
    mac: str
    permanent: bool


# Reading ------------------------------------------------------------------------------------------------------------


def dump_links(netlink: Netlink) -> list[Link]:
    """Every link of the namespace."""
    body = _IFINFOMSG.pack(0, 0, 0, 0, 0) + number(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)
    return [_parse_link(*message) for message in netlink.dump(RTM_GETLINK, body, "listing links")]


def get_link(netlink: Netlink, name: str) -> Link | None:
    """One link by its name; None where there is none."""
    body = _IFINFOMSG.pack(0, 0, 0, 0, 0) + text(IFLA_IFNAME, name) + number(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)
    message = netlink.query(RTM_GETLINK, body, f"looking at the link {name}")
    return _parse_link(*message) if message else None


def _parse_link(data: bytes, start: int, end: int) -> Link:
    _rest, _rest, index, flags, _rest = _IFINFOMSG.unpack_from(data, start)
    found = attributes(data, start + 16, end)
    info = nested(found.get(IFLA_LINKINFO, b""))
    kind = info.get(IFLA_INFO_KIND, b"").rstrip(b"\0").decode()
    lower = _number(found.get(IFLA_LINK))
    port = nested(info.get(IFLA_INFO_SLAVE_DATA, b"")) if info.get(IFLA_INFO_SLAVE_KIND) == b"bridge\0" else {}
    return Link(
        ifindex=index,
        name=found[IFLA_IFNAME].rstrip(b"\0").decode(errors="surrogateescape"),
        flags=flags,
        mtu=_number(found.get(IFLA_MTU)),
        mac=found.get(IFLA_ADDRESS, b"").hex(":"),
        kind=kind,
        master=_number(found.get(IFLA_MASTER)),
        peer=lower,
        vxlan=_parse_vxlan(nested(info.get(IFLA_INFO_DATA, b""))) if kind == "vxlan" else None,
        hairpin=port.get(IFLA_BRPORT_MODE, b"\0") != b"\0",
    )


def _parse_vxlan(data: dict[int, bytes]) -> VxlanInfo:
    return VxlanInfo(
        vni=_number(data.get(IFLA_VXLAN_ID)),
        local=socket.inet_ntoa(data[IFLA_VXLAN_LOCAL]) if IFLA_VXLAN_LOCAL in data else "",
        port=int.from_bytes(data.get(IFLA_VXLAN_PORT, b""), "big"),
        learning=data.get(IFLA_VXLAN_LEARNING, b"\0") != b"\0",
        lower=_number(data.get(IFLA_VXLAN_LINK)),
    )


def dump_addresses(netlink: Netlink) -> list[Address]:
    """Every IPv4 address of the namespace."""
    found = []
    for data, start, end in netlink.dump(RTM_GETADDR, _IFADDRMSG.pack(socket.AF_INET, 0, 0, 0, 0), "listing addresses"):
        _rest, prefix, _rest, _rest, index = _IFADDRMSG.unpack_from(data, start)
        values = attributes(data, start + 8, end)
        local = values.get(IFA_LOCAL) or values.get(IFA_ADDRESS)
        if local:
            found.append(Address(index, socket.inet_ntoa(local), prefix))
    return found


def dump_routes(netlink: Netlink) -> list[Route]:
    """The main table's IPv4 routes that have one next hop."""
    body = _RTMSG.pack(socket.AF_INET, 0, 0, 0, RT_TABLE_MAIN, 0, 0, RTN_UNICAST, 0)
    try:
        messages = netlink.dump(RTM_GETROUTE, body, "listing routes")
    except KernelError as error:
        if error.errno == errno.ENOENT:  # the table is made with the first route
            return []
        raise
    found = []
    unpack, ntoa = _RTMSG.unpack_from, socket.inet_ntoa
    for data, start, end in messages:
        _rest, prefix, _rest, _rest, table, _rest, _rest, kind, _rest = unpack(data, start)
        if table != RT_TABLE_MAIN or kind != RTN_UNICAST:
            continue
        values = attributes(data, start + 12, end)
        if RTA_OIF in values:
            gateway, source = values.get(RTA_GATEWAY), values.get(RTA_PREFSRC)
            found.append(
                Route(
                    _number(values[RTA_OIF]),
                    f"{ntoa(values.get(RTA_DST, bytes(4)))}/{prefix}",
                    ntoa(gateway) if gateway else "",
                    _number(values.get(RTA_PRIORITY)),
                    ntoa(source) if source else "",
                )
            )
    return found


def dump_neighbours(netlink: Netlink) -> list[Neighbour]:
    """Every IPv4 neighbour whose MAC is known."""
    return _dump_neighbours(netlink, socket.AF_INET, "listing neighbours")


def dump_fdb(netlink: Netlink) -> list[Neighbour]:
    """Every forwarding entry that leads to an IPv4 address: those of VXLAN devices."""
    return _dump_neighbours(netlink, _AF_BRIDGE, "listing forwarding entries")


def _dump_neighbours(netlink: Netlink, family: int, what: str) -> list[Neighbour]:
    found = []
    header, unpack, ntoa = _NDMSG.unpack_from, _ATTRIBUTE.unpack_from, socket.inet_ntoa
    for data, start, end in netlink.dump(RTM_GETNEIGH, _NDMSG.pack(family, 0, 0, 0, 0), what):
        _rest, index, state, _rest, _rest = header(data, start)
        address = mac = b""
        offset = start + 12
        # attributes() in place: two of up to eight are wanted, and there may be thousands of these.
        while offset < end and not (address and mac):
            length, kind = unpack(data, offset)
            if kind == NDA_DST:
                address = data[offset + 4 : offset + length]
            elif kind == NDA_LLADDR:
                mac = data[offset + 4 : offset + length]
            offset += (length + 3) & ~3
        if len(address) == 4 and mac:
            found.append(Neighbour(index, ntoa(address), mac.hex(":"), bool(state & NUD_PERMANENT)))
    return found


def _number(value: bytes | None) -> int:
    return int.from_bytes(value, "little" if _LITTLE else "big") if value else 0


_LITTLE = struct.pack("=H", 1)[0] == 1


# Writing ------------------------------------------------------------------------------------------------------------


def set_link(
    index: int, name: str, *, up: bool = False, mtu: int = 0, mac: str = "", master: int | None = None, rename: str = ""
) -> Request:
    """Change what is given of a link: bring it up, its MTU, MAC, bridge (0: none), name. ``name`` is for errors."""
    body = _IFINFOMSG.pack(0, 0, index, IFF_UP if up else 0, IFF_UP if up else 0)
    if mtu:
        body += number(IFLA_MTU, mtu)
    if mac:
        body += attribute(IFLA_ADDRESS, _mac(mac))
    if master is not None:
        body += number(IFLA_MASTER, master)
    if rename:
        body += text(IFLA_IFNAME, rename)
    return Request(RTM_NEWLINK, 0, body, ("changing the link", name))


def delete_link(index: int, name: str) -> Request:
    return Request(RTM_DELLINK, 0, _IFINFOMSG.pack(0, 0, index, 0, 0), ("deleting the link", name))


def add_veth(name: str, peer: str, netns: int, *, master: int, mtu: int, mac: str) -> Request:
    """A veth(4) pair: ``name`` here, up and on the bridge ``master``; ``peer`` with ``mac`` in the namespace ``netns``.

    ``netns`` is a descriptor: a pid could be another's by now.
    """
    inside = _IFINFOMSG.pack(0, 0, 0, 0, 0) + text(IFLA_IFNAME, peer) + number(IFLA_MTU, mtu)
    inside += attribute(IFLA_ADDRESS, _mac(mac)) + number(IFLA_NET_NS_FD, netns)
    body = _IFINFOMSG.pack(0, 0, 0, IFF_UP, IFF_UP) + text(IFLA_IFNAME, name) + number(IFLA_MTU, mtu)
    body += number(IFLA_MASTER, master)
    data = nest(IFLA_INFO_DATA, attribute(VETH_INFO_PEER, inside))
    body += nest(IFLA_LINKINFO, text(IFLA_INFO_KIND, "veth"), data)
    return Request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body, ("making the link", name))


def set_hairpin(name: str) -> Request:
    """Let the bridge send a frame back out of the port that it came from (``ip link set ... type bridge_slave``)."""
    body = _IFINFOMSG.pack(0, 0, 0, 0, 0) + text(IFLA_IFNAME, name)
    data = nest(IFLA_INFO_SLAVE_DATA, attribute(IFLA_BRPORT_MODE, b"\1"))
    body += nest(IFLA_LINKINFO, text(IFLA_INFO_SLAVE_KIND, "bridge"), data)
    return Request(RTM_NEWLINK, 0, body, ("setting hairpin mode of", name))


def add_address(index: int, address: str, prefix: int) -> Request:
    """Adding one that is there answers EEXIST."""
    what = ("adding the address", f"{address}/{prefix}")
    return Request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, _address(index, address, prefix), what)


def delete_address(index: int, address: str, prefix: int) -> Request:
    return Request(RTM_DELADDR, 0, _address(index, address, prefix), ("deleting the address", f"{address}/{prefix}"))


def _address(index: int, address: str, prefix: int) -> bytes:
    raw = socket.inet_aton(address)
    body = _IFADDRMSG.pack(socket.AF_INET, prefix, 0, 0, index)
    body += attribute(IFA_LOCAL, raw) + attribute(IFA_ADDRESS, raw)
    if prefix < 31:
        wild = 0xFFFFFFFF >> prefix
        broadcast = (int.from_bytes(raw, "big") | wild).to_bytes(4, "big")
        body += attribute(IFA_BROADCAST, broadcast)
    return body


def replace_route(index: int, subnet: str, gateway: str) -> Request:
    """A static route of metric 0. ``onlink``: the kernel need not know how to reach the gateway itself."""
    head = _route(index, subnet, RTPROT_STATIC, RT_SCOPE_UNIVERSE, RTNH_F_ONLINK)
    body = head + attribute(RTA_GATEWAY, socket.inet_aton(gateway))
    return Request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, body, ("setting the route to", subnet, "via", gateway))


def delete_route(index: int, subnet: str) -> Request:
    """Whoever made it: RT_SCOPE_NOWHERE and RTPROT_UNSPEC match any (fib_table_delete() in fib_trie.c)."""
    body = _route(index, subnet, RTPROT_UNSPEC, RT_SCOPE_NOWHERE, 0)
    return Request(RTM_DELROUTE, 0, body, ("deleting the route to", subnet))


def _route(index: int, subnet: str, protocol: int, scope: int, flags: int) -> bytes:
    address, _rest, prefix = subnet.partition("/")
    head = _RTMSG.pack(socket.AF_INET, int(prefix), 0, 0, RT_TABLE_MAIN, protocol, scope, RTN_UNICAST, flags)
    return head + attribute(RTA_DST, socket.inet_aton(address)) + number(RTA_OIF, index)


def replace_neighbour(index: int, address: str, mac: str) -> Request:
    """A permanent ARP entry."""
    body = _neighbour(socket.AF_INET, index, 0, address, mac)
    return Request(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, body, ("setting the neighbour", address))


def delete_neighbour(index: int, address: str) -> Request:
    body = _neighbour(socket.AF_INET, index, 0, address, "")
    return Request(RTM_DELNEIGH, 0, body, ("deleting the neighbour", address))


def replace_fdb(index: int, mac: str, address: str) -> Request:
    """A permanent forwarding entry of a VXLAN device; NTF_SELF: of the device's own table, not its bridge's."""
    body = _neighbour(_AF_BRIDGE, index, NTF_SELF, address, mac)
    what = ("setting the forwarding entry", mac, "to", address)
    return Request(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, body, what)


def delete_fdb(index: int, mac: str) -> Request:
    body = _neighbour(_AF_BRIDGE, index, NTF_SELF, "", mac)
    return Request(RTM_DELNEIGH, 0, body, ("deleting the forwarding entry", mac))


def _neighbour(family: int, index: int, flags: int, address: str, mac: str) -> bytes:
    body = _NDMSG.pack(family, index, NUD_PERMANENT, flags, 0)
    if address:
        body += attribute(NDA_DST, socket.inet_aton(address))
    if mac:
        body += attribute(NDA_LLADDR, _mac(mac))
    return body


def _mac(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))
