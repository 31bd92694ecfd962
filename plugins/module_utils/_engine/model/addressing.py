# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values that people write for networks, checked and made canonical. Pure; each raises InvalidOption.

Only IPv4: an overlay's tunnel ends compute their MACs from their addresses.
"""

from __future__ import annotations

import ipaddress
import socket

from ..errors import InvalidOption

# RFC 7348: 24 bits; 0 is left to mean "none", as iproute2 and Linux do.
MAX_VNI = (1 << 24) - 1
# RFC 791: every host must take datagrams of 576 bytes; IP's length field has 16 bits.
MIN_MTU, MAX_MTU = 576, 65535
MIN_PREFIX, MAX_PREFIX = 8, 30


def parse_subnet(option: str, value: str) -> str:
    """An IPv4 subnet with room for a tunnel end, a gateway and a container, as ``10.42.1.0/24``."""
    expected = f"an IPv4 subnet such as 10.42.1.0/24, its length from /{MIN_PREFIX} to /{MAX_PREFIX}"
    address, slash, _rest = value.partition("/")
    if not slash:
        raise InvalidOption(option, value, expected)
    try:
        network = ipaddress.IPv4Network(value, strict=False)
    except ValueError as error:
        raise InvalidOption(option, value, expected) from error
    if str(network.network_address) != address:
        raise InvalidOption(option, value, f"the subnet's first address before the slash: {network}")
    if not MIN_PREFIX <= network.prefixlen <= MAX_PREFIX:
        raise InvalidOption(option, value, expected)
    if not _is_unicast(network.network_address) or not _is_unicast(network.broadcast_address):
        raise InvalidOption(option, value, "a subnet of unicast addresses, such as one of 10.0.0.0/8 (RFC 1918)")
    return str(network)


def parse_address(option: str, value: str) -> str:
    """An IPv4 address of one machine."""
    try:
        address = ipaddress.IPv4Address(value)
    except ValueError as error:
        raise InvalidOption(option, value, "an IPv4 address such as 10.42.1.5") from error
    if not _is_unicast(address):
        raise InvalidOption(
            option, value, "a unicast IPv4 address, not one of the loopback, multicast or reserved ranges"
        )
    return str(address)


def parse_address_in(option: str, value: str, subnet: str) -> str:
    """An address that a machine in ``subnet`` can have: not the first (the tunnel end's), not the last (broadcast)."""
    address = ipaddress.IPv4Address(parse_address(option, value))
    network = ipaddress.IPv4Network(subnet)
    if address not in network or address in (network.network_address, network.broadcast_address):
        first, last = network.network_address + 1, network.broadcast_address - 1
        raise InvalidOption(option, value, f"an address of {subnet}, from {first} to {last}")
    return str(address)


def parse_host_ip(option: str, value: str) -> str:
    """An address of the host that ports are published on: 0.0.0.0 for all, and 127.0.0.1 is fine too."""
    try:
        address = ipaddress.IPv4Address(value)
    except ValueError as error:
        raise InvalidOption(option, value, "an IPv4 address of the host, or 0.0.0.0 for all of them") from error
    if address.is_multicast or int(address) == 0xFFFFFFFF:
        raise InvalidOption(option, value, "an IPv4 address of the host, or 0.0.0.0 for all of them")
    return str(address)


def parse_vni(option: str, value: int) -> int:
    return _parse_number(option, value, 1, MAX_VNI)


def parse_mtu(option: str, value: int) -> int:
    """A link's MTU in bytes."""
    return _parse_number(option, value, MIN_MTU, MAX_MTU)


def parse_port(option: str, value: int) -> int:
    """A TCP, UDP or SCTP port."""
    return _parse_number(option, value, 1, 65535)


def default_gateway(subnet: str) -> str:
    """The address that a subnet's bridge has unless another is asked for: the first after the tunnel end's."""
    return str(ipaddress.IPv4Network(subnet).network_address + 1)


def subnet_key(subnet: str) -> tuple[bytes, int]:
    """Sorts subnets by their numbers."""
    address, _rest, prefix = subnet.partition("/")
    return socket.inet_aton(address), int(prefix)


def overlaps(one: str, other: str) -> bool:
    """Whether two subnets have an address in common."""
    (first, last), (others_first, others_last) = _bounds(one), _bounds(other)
    return first <= others_last and others_first <= last


def contains(pool: str, subnet: str) -> bool:
    """Whether all of ``subnet`` lies in ``pool``."""
    (first, last), (pools_first, pools_last) = _bounds(subnet), _bounds(pool)
    return pools_first <= first and last <= pools_last


def _bounds(subnet: str) -> tuple[int, int]:
    """First and last address as numbers; ipaddress takes ten times as long, and an overlay has a thousand subnets."""
    address, prefix = subnet_key(subnet)
    first = int.from_bytes(address, "big")
    return first, first | (0xFFFFFFFF >> prefix)


def _parse_number(option: str, value: int, least: int, most: int) -> int:
    # bool is an int to Python, and True is nobody's port.
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidOption(option, value, f"a whole number from {least} to {most}")
    return value


def _is_unicast(address: ipaddress.IPv4Address) -> bool:
    return not (address.is_multicast or address.is_loopback or address.is_reserved or address.packed[0] == 0)
