# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Links that move from one network namespace to another, and their addresses of either family: rtnetlink(7).

A link that moves goes down and loses its addresses (dev_change_net_namespace() in net/core/dev.c); MTU, MAC and the
like stay with it. Errors: KernelError.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from .netlink import NLM_F_CREATE, NLM_F_EXCL, Request, attribute, attributes, number, text
from .rtnetlink import (
    IFA_ADDRESS,
    IFA_BROADCAST,
    IFA_LOCAL,
    IFF_UP,
    IFLA_IFNAME,
    IFLA_NET_NS_FD,
    RT_SCOPE_UNIVERSE,
    RTM_GETADDR,
    RTM_NEWADDR,
    RTM_NEWLINK,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .netlink import Netlink

# linux/if_addr.h
IFA_FLAGS = 8
IFA_F_PERMANENT = 0x80
# What a user chose of an address, and not what the kernel found out about it.
_CHOSEN = 0x02 | 0x10 | 0x100 | 0x200 | 0x400  # NODAD, HOMEADDRESS, MANAGETEMPADDR, NOPREFIXROUTE, MCAUTOJOIN

_IFINFOMSG = struct.Struct("=BxHiII")  # family, hardware type, index, flags, changed flags
_IFADDRMSG = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, index


class PermanentAddress(NamedTuple):
    """An address of global scope that does not expire; the values are the kernel's own bytes."""

    family: int
    prefix: int
    flags: int
    local: bytes
    address: bytes
    broadcast: bytes


def dump_permanent_addresses(netlink: Netlink, index: int) -> list[PermanentAddress]:
    """Those of one link, of any family."""
    found = []
    for data, start, end in netlink.dump(RTM_GETADDR, _IFADDRMSG.pack(0, 0, 0, 0, 0), "listing addresses"):
        family, prefix, flags, scope, owner = _IFADDRMSG.unpack_from(data, start)
        values = attributes(data, start + _IFADDRMSG.size, end)
        if IFA_FLAGS in values:
            flags = struct.unpack("=I", values[IFA_FLAGS])[0]
        if owner == index and flags & IFA_F_PERMANENT and scope == RT_SCOPE_UNIVERSE:
            found.append(
                PermanentAddress(
                    family,
                    prefix,
                    flags & _CHOSEN,
                    values.get(IFA_LOCAL, b""),
                    values.get(IFA_ADDRESS, b""),
                    values.get(IFA_BROADCAST, b""),
                )
            )
    return found


def add_permanent_address(index: int, address: PermanentAddress) -> Request:
    """Give a link the address that another had, or itself elsewhere."""
    family, prefix, flags, *values = address
    body = _IFADDRMSG.pack(family, prefix, 0, RT_SCOPE_UNIVERSE, index) + number(IFA_FLAGS, flags)
    for kind, value in zip((IFA_LOCAL, IFA_ADDRESS, IFA_BROADCAST), values):
        if value:
            body += attribute(kind, value)
    told = (values[0] or values[1]).hex(":")
    return Request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, body, ("adding the address", f"{told}/{prefix}"))


def take_link_down(index: int, name: str) -> Request:
    """The opposite of rtnetlink.set_link(up=True)."""
    return Request(RTM_NEWLINK, 0, _IFINFOMSG.pack(0, 0, index, 0, IFF_UP), ("taking down the link", name))


def move_link(index: int, name: str, netns: int, new_name: str) -> Request:
    """Into the namespace that the descriptor ``netns`` is, as ``new_name``; ``%d`` in it is for the kernel to fill."""
    body = _IFINFOMSG.pack(0, 0, index, 0, 0) + text(IFLA_IFNAME, new_name) + number(IFLA_NET_NS_FD, netns)
    return Request(RTM_NEWLINK, 0, body, ("moving the link", name, "as", new_name))
