# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do so that a host has a network as it is wanted. The first plan; the others copy its shape."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..model.network import Network, Peer
from .change import Change, Fields, difference, picked, plain

# A bridge keeps its identity through these; containers stay connected while they are changed. A tunnel too is replaced
# behind the bridge: its device goes whenever the underlay's does, and must come back without the containers noticing.
LIVE_FIELDS = ("gateway", "mtu", "pool", "vxlan", "names", "masquerade", "bridge_up", "vxlan_up")
# Containers have their addresses out of this.
FIXED_FIELDS = ("subnet",)


@dataclass(frozen=True)
class CreateNetwork(Change):
    desired: Network

    @property
    def subject(self) -> str:
        return f"network {self.desired.name}"

    @property
    def after(self) -> Fields:
        overlay = ("vxlan", "peers") if self.desired.vxlan else ()
        return {"driver": self.desired.driver, **picked(self.desired, ("subnet", "gateway", "mtu", *overlay))}


@dataclass(frozen=True)
class UpdateNetwork(Change):
    """Changes a network in place. Of the peers only those that differ are told, by subnet."""

    current: Network
    desired: Network

    @property
    def subject(self) -> str:
        return f"network {self.desired.name}"

    @property
    def fields(self) -> tuple[str, ...]:
        return difference(self.current, self.desired, LIVE_FIELDS)

    @property
    def before(self) -> Fields:
        return {**picked(self.current, self.fields), **_told_peers(self.current, self.desired)}

    @property
    def after(self) -> Fields:
        return {**picked(self.desired, self.fields), **_told_peers(self.desired, self.current)}


@dataclass(frozen=True)
class RecreateNetwork(Change):
    """Removes a network and makes it anew, because of ``reason``: the fields that cannot be changed in place."""

    current: Network
    desired: Network
    reason: tuple[str, ...]

    @property
    def subject(self) -> str:
        return f"network {self.desired.name}"

    @property
    def before(self) -> Fields:
        return picked(self.current, self.reason)

    @property
    def after(self) -> Fields:
        return picked(self.desired, self.reason)


@dataclass(frozen=True)
class RemoveNetwork(Change):
    current: Network

    @property
    def subject(self) -> str:
        return f"network {self.current.name}"

    @property
    def before(self) -> Fields:
        return {"driver": self.current.driver, "subnet": self.current.subnet}


def plan_network(desired: Network | None, current: Network | None) -> Iterator[Change]:
    """Yield the changes; ``desired`` None asks for the network's absence."""
    if desired is None:
        if current is not None:
            yield RemoveNetwork(current)
    elif current is None:
        yield CreateNetwork(desired)
    elif reason := difference(current, desired, FIXED_FIELDS):
        yield RecreateNetwork(current, desired, reason)
    elif difference(current, desired, LIVE_FIELDS) or set(current.peers) != set(desired.peers):
        yield UpdateNetwork(current, desired)


def _told_peers(network: Network, other: Network) -> Fields:
    """The peers of ``network`` that ``other`` has not, or has differently, as {"peer <subnet>": entries}."""
    theirs = set(other.peers)
    return {f"peer {peer.subnet}": _entries(peer) for peer in network.peers if peer not in theirs}


def _entries(peer: Peer) -> Fields:
    entries: Fields = plain(peer)
    del entries["subnet"]
    return entries
