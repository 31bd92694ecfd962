# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which address a container gets. Pure, and the same on the controller and on every host."""

from __future__ import annotations

import hashlib
import ipaddress

from ..errors import Conflict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container


def assign_address(subnet: str, gateway: str, name: str, taken: Container[str]) -> str:
    """An address of ``subnet`` for the container ``name``: where its name hashes to, or the next that is free.

    The same name gets the same address again as long as that is free. The first address is the tunnel end's, the last
    broadcast; both and the gateway are nobody's. Raises Conflict where the subnet is full.
    """
    network = ipaddress.IPv4Network(subnet)
    base = int(network.network_address) + 1
    count = max(network.num_addresses - 2, 0)
    start = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    for step in range(count):
        address = str(ipaddress.IPv4Address(base + (start + step) % count))
        if address != gateway and address not in taken:
            return address
    raise Conflict(
        f"no address is left in {subnet} for container {name!r}; remove containers, or give the network a larger subnet"
    )
