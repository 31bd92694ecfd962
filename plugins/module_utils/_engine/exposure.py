# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the containers of a host show to one another and to the world: names in /etc/hosts, ports in the nft table.

Both are computed whole from the containers that run, and written only where they differ from what is there.
"""

from __future__ import annotations

import os

from .linux.files import remove_if_exists, write_atomic
from .network.names import hosts_file, write_in_place
from .network.ports import Forward, apply_table, is_current, observe_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .model.container import Container, ContainerState
    from .model.network import Network
    from .paths import Paths


def forwards_of(container: Container) -> list[Forward]:
    """The container's published ports, which lead to its address on its first network."""
    if not container.networks:
        return []
    address = container.networks[0].address
    return [Forward(p.protocol, p.host_ip, p.host_port, address, p.container_port) for p in container.ports]


def apply_ports(paths: Paths, networks: Mapping[str, Network], containers: Iterable[ContainerState]) -> None:
    """Publish the ports of all running containers, and of no others, in one transaction."""
    forwards = [forward for state in containers if state.running for forward in forwards_of(state.container)]
    if not is_current(observe_table(paths.instance), networks.values(), forwards):
        apply_table(paths.instance, networks.values(), forwards)


def names_of(
    container: Container, networks: Mapping[str, Network], containers: Iterable[Container]
) -> list[tuple[str, list[str]]]:
    """(address, names) as a container's /etc/hosts has them: itself, its neighbours, its networks' names, its own."""
    itself = [container.hostname or container.name, container.name]
    entries = [(at.address, [*dict.fromkeys([*itself, *at.aliases])]) for at in container.networks]
    joined = {at.network for at in container.networks}
    for other in containers:
        if other.name != container.name:
            for at in other.networks:
                if at.network in joined:
                    entries.append((at.address, [*dict.fromkeys([other.name, *at.aliases])]))
    known = {(address, name) for address, names in entries for name in names}
    for network in sorted(joined & networks.keys()):
        entries += [(address, [name]) for name, address in networks[network].names if (address, name) not in known]
    return entries + [(address, [name]) for name, address in container.extra_hosts]


def apply_names(paths: Paths, networks: Mapping[str, Network], containers: Iterable[ContainerState]) -> None:
    """Bring the /etc/hosts of every running container up to date, in place: it is bind-mounted there."""
    running = [state.container for state in containers if state.running]
    for container in running:
        content = hosts_file(names_of(container, networks, running))
        write_in_place(os.path.join(paths.container_run(container.name), "hosts"), content)


def names_told(paths: Paths, container: Container, networks: Mapping[str, Network], running: list[Container]) -> bool:
    """Whether the /etc/hosts of a running container has every name that it should; what else is in it, is its own."""
    try:
        with open(os.path.join(paths.container_run(container.name), "hosts"), encoding="utf-8") as file:
            found = {(address, name) for address, *names in map(str.split, file) if names for name in names}
    except (OSError, ValueError):
        return False
    return all((address, name) in found for address, names in names_of(container, networks, running) for name in names)


def write_container_files(
    paths: Paths, container: Container, networks: Mapping[str, Network], containers: Iterable[Container]
) -> None:
    """Write hosts, hostname and resolv.conf before a container is created; they are bound into it."""
    directory = paths.container_run(container.name)
    os.makedirs(directory, mode=0o755, exist_ok=True)
    remove_if_exists(os.path.join(directory, "exit.json"))
    hosts = hosts_file(names_of(container, networks, containers))
    files = {"hosts": hosts, "hostname": f"{container.hostname or container.name}\n", "resolv.conf": _resolv_conf()}
    for name, content in files.items():
        path = os.path.join(directory, name)
        write_atomic(path, content.encode(), mode=0o644, durable=False)
        os.chown(path, *container.namespaces.root)


def _resolv_conf() -> str:
    """The host's own, without name servers on the loopback, which a container cannot reach."""
    try:
        with open("/etc/resolv.conf", encoding="utf-8", errors="replace") as file:
            lines = file.readlines()
    except FileNotFoundError:
        return ""
    return "".join(line for line in lines if not line.startswith(("nameserver 127.", "nameserver ::1")))
