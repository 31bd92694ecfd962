# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An overlay of a thousand peers on one host: three entries in the kernel for each."""

from __future__ import annotations

import time
from collections.abc import Iterator

from ansible_collections.stowage.engine.plugins.module_utils._engine.model.names import link_name
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.network import vtep_address, vtep_mac
from tests.bench import peers
from tests.bench.frame import Row, take_turns
from tests.bench.scene import apply_in, look_in, parse_in, scene
from tests.kernel.host.world import absent

TITLE = "An overlay of a thousand peers"
NOTE = (
    "A forwarding entry, a neighbour and a route a peer, on a VXLAN device in a network namespace. Programming: the "
    "overlay is there without peers. From nothing: bridge, device and nft table too, with the import of pyroute2. "
    "Peer: the same 3,000 entries by `bridge -batch` and `ip -batch`, on the same device."
)
COUNT = 1000
_ROUNDS = 7
_NAME = "backplane"
_LINK = link_name("sx", _NAME)


def measure() -> Iterator[Row]:
    with scene() as world:
        world.sh(
            "ip link add eth0 type veth peer name far && ip link set eth0 up && ip link set far up "
            "&& ip addr add 192.0.2.1/24 dev eth0"
        )
        medians = take_turns(
            _ROUNDS,
            {
                "whole": lambda: _from_nothing(world, bare=False),
                "program": lambda: _program(world),
                "parse": lambda: parse_in(world, _task(COUNT)),
                "again": lambda: look_in(world, _task(COUNT)),
                "iproute2": lambda: _by_iproute2(world),
            },
        )
    yield Row(
        "programming 1,000 peers: observe, plan, apply",
        medians["program"],
        medians["iproute2"],
        "ip and bridge -batch",
        wanted=100,
    )
    yield Row("the whole overlay from nothing", medians["whole"], medians["iproute2"], "ip and bridge -batch")
    yield Row("an unchanged second run: observe, plan", medians["again"], wanted=50)
    yield Row("reading the parameters of 1,000 peers, before either", medians["parse"])


def _subnets(count: int) -> list[tuple[str, str]]:
    """(subnet, underlay address) of the other hosts."""
    return [(f"10.{64 + n // 256}.{n % 256}.0/24", f"192.0.2.{2 + n % 250}") for n in range(1, count + 1)]


def _task(count: int):
    others = [{"subnet": subnet, "address": address} for subnet, address in _subnets(count)]
    return "network", {
        "name": _NAME, "driver": "overlay", "vni": 42, "pool": "10.64.0.0/10", "subnet": "10.64.0.0/24",
        "address": "192.0.2.1", "peers": others,
    }  # fmt: skip


def _from_nothing(world, *, bare: bool) -> float:
    _clear(world)
    return apply_in(world, _task(0 if bare else COUNT), with_plan=True)


def _program(world) -> float:
    _from_nothing(world, bare=True)
    return apply_in(world, _task(COUNT), with_plan=True)


def _by_iproute2(world) -> float:
    _from_nothing(world, bare=True)
    ip, bridge = [], []
    for subnet, address in _subnets(COUNT):
        vtep = vtep_address(subnet)
        bridge.append(f"fdb replace {vtep_mac(vtep)} dev {_LINK} dst {address} self permanent")
        ip.append(f"neigh replace {vtep} lladdr {vtep_mac(vtep)} dev {_LINK} nud permanent")
        ip.append(f"route replace {subnet} via {vtep} dev {_LINK} onlink")
    batches = [(world.directory / "bridge", bridge), (world.directory / "ip", ip)]
    for path, lines in batches:
        path.write_text("\n".join(lines) + "\n")

    def program() -> float:
        start = time.perf_counter()
        for path, _lines in batches:
            peers.timed_program([peers.program(path.name), "-batch", str(path)])
        return (time.perf_counter() - start) * 1000

    took = world.call(program)
    entries = int(world.sh(f"ip route show dev {_LINK} | wc -l"))
    if entries < COUNT:
        raise RuntimeError(f"iproute2 made {entries} routes, not {COUNT}")
    _clear(world)
    world.run(_task(COUNT))  # for the unchanged run of the next round
    return took


def _clear(world) -> None:
    world.run(*absent([_task(0)]))
