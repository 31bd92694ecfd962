# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was asked of a network, on disk: the kernel forgets it at reboot, and never knew the names and the pool.

A definition is written before the first link is made. When a network goes, its definition is marked first, so that a
removal that was killed halfway is still seen, and finished, by the next run.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from ..errors import StateCorrupt
from ..linux.files import list_directory, read_json, remove_if_exists, write_json
from ..model.network import Network, Peer, Vxlan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..paths import Paths


class Definition(NamedTuple):
    """A saved network; ``removing`` where its removal has begun."""

    network: Network
    removing: bool


def save_network(paths: Paths, network: Network, *, removing: bool = False) -> None:
    """Write the definition, if it is not there already word for word."""
    path = paths.network_file(network.name)
    wanted = _to_json(network, removing)
    if read_json(path) == wanted:
        return
    os.makedirs(paths.networks, mode=0o755, exist_ok=True)
    write_json(path, wanted, mode=0o644)


def forget_network(paths: Paths, name: str) -> None:
    remove_if_exists(paths.network_file(name))


def load_networks(paths: Paths) -> dict[str, Definition]:
    """Every saved network, by name. Raises StateCorrupt."""
    found = {}
    for file in list_directory(paths.networks):
        if file.endswith(".json") and not file.startswith("."):
            path = os.path.join(paths.networks, file)
            saved = read_json(path)
            try:
                found[saved["name"]] = Definition(_from_json(saved), bool(saved["removing"]))
            except (KeyError, TypeError, ValueError) as error:
                raise StateCorrupt(path, f"not a network ({type(error).__name__}: {error})") from error
    return found


def _to_json(network: Network, removing: bool) -> dict[str, Any]:
    vxlan = network.vxlan
    return {
        "name": network.name,
        "subnet": network.subnet,
        "gateway": network.gateway,
        "mtu": network.mtu,
        "pool": network.pool,
        "masquerade": network.masquerade,
        "vxlan": vxlan and {"vni": vxlan.vni, "address": vxlan.address, "port": vxlan.port, "device": vxlan.device},
        # The other entries of a peer follow from these two (Peer.at).
        "peers": {peer.subnet: peer.fdb for peer in network.peers},
        "names": [list(pair) for pair in network.names],
        "removing": removing,
    }


def _from_json(saved: dict[str, Any]) -> Network:
    vxlan = saved["vxlan"]
    return Network(
        name=saved["name"],
        subnet=saved["subnet"],
        gateway=saved["gateway"],
        mtu=saved["mtu"],
        pool=saved["pool"],
        vxlan=vxlan and Vxlan(vni=vxlan["vni"], address=vxlan["address"], port=vxlan["port"], device=vxlan["device"]),
        peers=tuple(Peer.at(subnet, address) for subnet, address in saved["peers"].items()),
        names=tuple((name, address) for name, address in saved["names"]),
        masquerade=saved["masquerade"],
    )
