# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fills what a user left open from what the host has, and refuses what cannot be: before anything is changed.

Pure as the plans are: everything that was observed is passed in.
"""

from __future__ import annotations

import ipaddress
from dataclasses import replace

from .errors import Conflict, InvalidOption, NotFound
from .linux.capabilities import parse_capability
from .model.cgroup import Cgroup
from .model.container import Attachment, Container, ContainerState, Namespaces, Port, WantedContainer
from .model.image import Image
from .model.network import Network
from .model.reference import normalise
from .plan.ids import assign_ids
from .plan.ipam import assign_address
from .runtime.config.defaults import DEFAULT_PATH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .plan.ids import SubordinateIds

    Absent = Callable[[NotFound], None]

# What docker gives a process whose image says nothing (moby, daemon/pkg/oci/defaults).


def refuse(error: NotFound) -> None:
    """What is not there cannot be used."""
    raise error


def resolve_containers(
    wanted: Mapping[str, WantedContainer | None],
    *,
    containers: Mapping[str, ContainerState],
    images: Mapping[str, Image],
    networks: Mapping[str, Network],
    cgroups: Mapping[str, Cgroup],
    subordinate: tuple[SubordinateIds, SubordinateIds] = ((), ()),
    absent: Absent = refuse,
) -> dict[str, Container | None]:
    """The desired containers by name, whole. Raises NotFound, Conflict or InvalidOption.

    ``subordinate`` is what /etc/subuid and /etc/subgid hold.

    ``absent`` is told of images, networks and cgroups that are not there; where it returns, they are taken for granted.
    """
    others = {name: state.container for name, state in containers.items() if name not in wanted}
    desired: dict[str, Container | None] = {}
    taken = _taken_addresses(wanted, others, containers)
    ids = _Ids(wanted, others, containers, subordinate)
    for name, want in wanted.items():
        if want is None:
            desired[name] = None
            continue
        filled = _from_image(want, images, absent)
        if filled.cgroup_parent and filled.cgroup_parent not in cgroups:
            absent(NotFound("cgroup", filled.cgroup_parent, f"make it first (container {name}, cgroup_parent)"))
        current = containers.get(name)
        addressed = _addressed(filled, current, networks, taken, absent)
        desired[name] = replace(filled, networks=addressed, namespaces=ids.namespaces_of(filled, current))
    check_ports([*others.values(), *(container for container in desired.values() if container)])
    return desired


def _from_image(want: WantedContainer, images: Mapping[str, Image], absent: Absent) -> Container:
    container = want.container
    name = normalise(f"container {container.name}: image", container.image)
    image = images.get(name)
    if image is None:
        advice = f"pull or build it first with stowage.engine.image (container {container.name})"
        absent(NotFound("image", name, advice))
        image = Image(name)
    config = image.config
    entrypoint = config.entrypoint or () if want.entrypoint is None else want.entrypoint
    # A new entrypoint drops the image's command, as docker does.
    command = (config.command or () if want.entrypoint is None else ()) if want.command is None else want.command
    # An entrypoint of one empty word is none, as docker and podman have it. An empty command may be an argument of an
    # entrypoint, so that images can have it; as a program it would fail at the start.
    args = (() if entrypoint == ("",) else entrypoint) + command
    if not args and image.digest:
        raise InvalidOption("command", want.command, f"a command, because image {name} has none of its own")
    if args and not args[0] and image.digest:
        told = f"a program's name as the first word of what container {container.name} of image {name} runs"
        raise InvalidOption("command" if args == command else "entrypoint", list(args), told)
    return replace(
        container,
        image=name,
        image_digest=image.digest,
        args=args,
        env=tuple({"PATH": DEFAULT_PATH, **dict(config.env), **dict(want.env)}.items()),
        working_dir=_first(want.working_dir, config.working_dir, "/"),
        user=_first(want.user, config.user, ""),
        stop_signal=_first(want.stop_signal, config.stop_signal, "SIGTERM"),
        hostname=container.hostname or (container.name if container.namespaces.uts == "private" else ""),
        security=replace(
            container.security,
            cap_add=_capabilities("cap_add", container.security.cap_add),
            cap_drop=_capabilities("cap_drop", container.security.cap_drop),
        ),
    )


def _capabilities(option: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Names as the kernel has them, sorted, so that another spelling or order makes no other container."""
    everything = ("ALL", "CAP_ALL")
    return tuple(sorted({"ALL" if name.upper() in everything else parse_capability(name, option) for name in names}))


def _first(*values: str | None) -> str:
    return next((value for value in values if value), "")


def _taken_addresses(
    wanted: Mapping[str, WantedContainer | None],
    others: Mapping[str, Container],
    containers: Mapping[str, ContainerState],
) -> dict[str, dict[str, str]]:
    """Network to address to the container that holds it: what was asked for by number, and who is there already."""
    taken: dict[str, dict[str, str]] = {}
    asked = {name: want.container for name, want in wanted.items() if want is not None}
    for holders in (others, asked):
        for name, container in holders.items():
            for attachment in container.networks:
                if not attachment.address:
                    continue
                holder = taken.setdefault(attachment.network, {}).setdefault(attachment.address, name)
                if holder != name:
                    raise Conflict(
                        f"containers {holder} and {name} both want address {attachment.address} on network "
                        f"{attachment.network}; give one of them another ipv4_address"
                    )
    for name in asked:
        if name in containers:
            for attachment in containers[name].container.networks:
                taken.setdefault(attachment.network, {}).setdefault(attachment.address, name)
    return taken


def _addressed(
    container: Container,
    current: ContainerState | None,
    networks: Mapping[str, Network],
    taken: dict[str, dict[str, str]],
    absent: Absent,
) -> tuple[Attachment, ...]:
    """The container's attachments, each with an address: the one asked for, the one it has, or the next free one."""
    had = {attachment.network: attachment.address for attachment in current.container.networks} if current else {}
    placed = []
    for attachment in container.networks:
        network = networks.get(attachment.network)
        if network is None:
            known = ", ".join(sorted(networks)) or "none"
            advice = f"container {container.name} asks for it; there are: {known}"
            absent(NotFound("network", attachment.network, advice))
            placed.append(replace(attachment, address=attachment.address or had.get(attachment.network, "")))
            continue
        holders = taken.setdefault(network.name, {})
        address = attachment.address
        if address and not _fits(address, network):
            raise InvalidOption(
                f"networks of container {container.name}: ipv4_address",
                address,
                f"a free address of {network.subnet} other than the gateway {network.gateway}",
            )
        if not address:
            address = had.get(network.name, "")
            if not (address and _fits(address, network) and holders.get(address) == container.name):
                address = assign_address(network.subnet, network.gateway, container.name, holders)
        holders[address] = container.name
        placed.append(replace(attachment, address=address, connected=True))
    return tuple(placed)


class _Ids:
    """Host ids for user namespaces, no range twice: one that a container has, or another is to have, is taken."""

    def __init__(
        self,
        wanted: Mapping[str, WantedContainer | None],
        others: Mapping[str, Container],
        containers: Mapping[str, ContainerState],
        subordinate: tuple[SubordinateIds, SubordinateIds],
    ) -> None:
        asked = {name: want.container for name, want in wanted.items() if want}
        had = {name: containers[name].container for name in asked if name in containers}
        self.maps = {name: (one.namespaces.uid_map, one.namespaces.gid_map) for name, one in {**others, **had}.items()}
        given = {name: one.namespaces for name, one in asked.items() if one.namespaces.userns != "auto"}
        self.maps.update({name: (one.uid_map, one.gid_map) for name, one in given.items()})
        self.subordinate = subordinate

    def namespaces_of(self, container: Container, current: ContainerState | None) -> Namespaces:
        wanted = container.namespaces
        if wanted.userns != "auto":
            return wanted
        had = current.container.namespaces if current else wanted
        if had.userns == "auto" and had.uid_map and had.gid_map:
            return replace(wanted, uid_map=had.uid_map, gid_map=had.gid_map)
        name = container.name
        others = [maps for other, maps in self.maps.items() if other != name]
        uid_map, gid_map = (
            assign_ids(name, self.subordinate[kind], [maps[kind] for maps in others]) for kind in (0, 1)
        )
        self.maps[name] = (uid_map, gid_map)
        return replace(wanted, uid_map=uid_map, gid_map=gid_map)


def _fits(address: str, network: Network) -> bool:
    subnet = ipaddress.IPv4Network(network.subnet)
    reserved = (str(subnet.network_address), str(subnet.broadcast_address), network.gateway)
    return ipaddress.IPv4Address(address) in subnet and address not in reserved


def check_ports(containers: Iterable[Container]) -> None:
    """Raise Conflict where two containers publish one port of the host."""
    holders: dict[tuple[str, int], list[tuple[Port, str]]] = {}
    for container in containers:
        for port in container.ports:
            same = holders.setdefault((port.protocol, port.host_port), [])
            for other, name in same:
                if "0.0.0.0" in (port.host_ip, other.host_ip) or port.host_ip == other.host_ip:
                    where = f"{port.host_ip}:{port.host_port}/{port.protocol}"
                    who = f"containers {name} and {container.name} both publish"
                    if name == container.name:
                        who = f"container {name} twice publishes"
                    raise Conflict(f"{who} {where}; change one of them")
            same.append((port, container.name))
