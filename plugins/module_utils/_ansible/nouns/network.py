# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The noun ``network``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

from ..._engine.errors import InvalidOption
from ..._engine.host import Host
from ..._engine.model.addressing import (
    contains,
    default_gateway,
    overlaps,
    parse_address,
    parse_address_in,
    parse_mtu,
    parse_port,
    parse_subnet,
    parse_vni,
    subnet_key,
)
from ..._engine.model.names import parse_name
from ..._engine.model.network import VXLAN_PORT, Network, Peer, Vxlan
from ..._engine.plan.change import Change
from ..._engine.plan.network import plan_network
from ..run import INFO_SPEC, Noun, Wanted, run, run_info
from .values import parse_host_name

ARGUMENT_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "driver": {"type": "str", "choices": ["bridge", "overlay"], "default": "bridge"},
    "subnet": {"type": "str"},
    "gateway": {"type": "str"},
    "pool": {"type": "str"},
    "mtu": {"type": "int"},
    "vni": {"type": "int"},
    "address": {"type": "str"},
    "device": {"type": "str"},
    "port": {"type": "int", "default": VXLAN_PORT},
    "peers": {
        "type": "list",
        "elements": "dict",
        "options": {
            "name": {"type": "str"},
            "subnet": {"type": "str", "required": True},
            "address": {"type": "str", "required": True},
        },
    },
    "names": {"type": "dict"},
    "masquerade": {"type": "bool", "default": True},
}
REQUIRED_IF = [("driver", "overlay", ["vni", "address", "pool"])]


def network_wanted(params: Mapping[str, Any]) -> Wanted:
    """The module's parameters as {name: Network, or None where it is to be absent}."""
    name = parse_name("name", params["name"])
    if params["state"] == "absent":
        return {name: None}
    if params["subnet"] is None:
        raise InvalidOption("subnet", None, "this host's part of the network, such as 10.42.1.0/24")
    subnet = parse_subnet("subnet", params["subnet"])
    overlay = params["driver"] == "overlay"
    if not overlay:
        _refuse_overlay_options(params)
    pool = parse_subnet("pool", params["pool"]) if params["pool"] else subnet
    if not contains(pool, subnet):
        raise InvalidOption("subnet", subnet, f"a part of pool {pool}")
    network = Network(
        name=name,
        subnet=subnet,
        gateway=_gateway(params["gateway"], subnet),
        mtu=parse_mtu("mtu", params["mtu"]) if params["mtu"] is not None else 0,
        pool=pool,
        vxlan=_vxlan(params) if overlay else None,
        peers=_peers(params["peers"] or [], subnet, pool),
        names=tuple(_name(*pair) for pair in sorted((params["names"] or {}).items())),
        masquerade=params["masquerade"],
    )
    return {name: network}


def _refuse_overlay_options(params: Mapping[str, Any]) -> None:
    for option in ("vni", "address", "device", "peers", "pool"):
        if params[option]:
            raise InvalidOption(option, params[option], "nothing, because only driver overlay uses it")


def _gateway(value: str | None, subnet: str) -> str:
    return default_gateway(subnet) if value is None else parse_address_in("gateway", value, subnet)


def _name(name: str, address: Any) -> tuple[str, str]:
    return parse_host_name("names", name), parse_address(f"names: {name}", address)


def _vxlan(params: Mapping[str, Any]) -> Vxlan:
    return Vxlan(
        vni=parse_vni("vni", params["vni"]),
        address=parse_address("address", params["address"]),
        port=parse_port("port", params["port"]),
        device=params["device"] or "",
    )


def _peers(given: list[Mapping[str, Any]], subnet: str, pool: str) -> tuple[Peer, ...]:
    peers = []
    for number, peer in enumerate(given):
        option = f"peers[{number}]"
        theirs = parse_subnet(f"{option}: subnet", peer["subnet"])
        if not contains(pool, theirs):
            raise InvalidOption(f"{option}: subnet", theirs, f"a part of pool {pool}")
        peers.append(Peer.at(theirs, parse_address(f"{option}: address", peer["address"])))
    _refuse_overlaps([subnet, *(peer.subnet for peer in peers)])
    return tuple(sorted(peers, key=lambda peer: subnet_key(peer.subnet)))


def _refuse_overlaps(subnets: list[str]) -> None:
    """Sorted, subnets that overlap are neighbours: an overlay may have thousands. The first is this host's own."""
    places = sorted(range(len(subnets)), key=lambda place: subnet_key(subnets[place]))
    for one, other in zip(places, places[1:]):
        if overlaps(subnets[one], subnets[other]):
            earlier, later = sorted((one, other))
            whose = f"peers[{earlier - 1}]" if earlier else "this host's own"
            expected = f"a subnet that does not overlap {subnets[earlier]} ({whose})"
            raise InvalidOption(f"peers[{later - 1}]: subnet", subnets[later], expected)


class NetworkNoun(Noun):
    name = "network"

    def observe(self, host: Host) -> Mapping[str, Network]:
        return host.observe_networks()

    def resolve(self, host: Host, wanted: Wanted) -> Wanted:
        return {name: network and host.resolve_network(network) for name, network in wanted.items()}

    def plan(self, desired: Wanted, current: Mapping[str, Any]) -> Iterable[Change]:
        for name, network in desired.items():
            yield from plan_network(network, current.get(name))

    def tell(self, thing: Network) -> dict[str, Any]:
        return {"driver": thing.driver, **super().tell(thing), "names": dict(thing.names)}


# The modules --------------------------------------------------------------------------------------


def run_network() -> NoReturn:
    module = AnsibleModule(ARGUMENT_SPEC, required_if=REQUIRED_IF, supports_check_mode=True)
    run(module, NetworkNoun(), network_wanted)


def run_network_info() -> NoReturn:
    run_info(AnsibleModule(INFO_SPEC, supports_check_mode=True), NetworkNoun())
