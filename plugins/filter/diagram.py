# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter diagram: a picture of what runs where, as text for a terminal or as Mermaid for a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

Found = Mapping[str, Any]


def diagram(found: Mapping[str, Found], form: str = "text") -> str:
    """Draw {host: {"address", "containers", "networks"}} as ``text`` or ``mermaid``."""
    drawers = {"text": _text, "mermaid": _mermaid}
    if form not in drawers:
        raise AnsibleFilterError(f"diagram: form {form!r} is not known; expected text or mermaid")
    hosts = {host: found[host] for host in sorted(found)}
    return drawers[form](hosts)


def _text(hosts: Mapping[str, Found]) -> str:
    blocks = [(host, _host_lines(seen), seen.get("address", "")) for host, seen in hosts.items()]
    width = max([44, *(len(line) + 4 for _host, lines, _address in blocks for line in lines)])
    shared = _overlays(hosts)
    drawn: list[str] = []
    for number, (host, lines, address) in enumerate(blocks):
        if number and shared:
            drawn += [f"{'║':>8}  {name} (VXLAN {vni})" for name, vni in shared.items()]
        title = f"─ {host} " + (f"─ {address} " if address else "")
        drawn.append("┌" + title + "─" * (width - 2 - len(title)) + "┐")
        drawn += ["│ " + line.ljust(width - 4) + " │" for line in lines]
        drawn.append("└" + "─" * (width - 2) + "┘")
    return "\n".join(drawn) + "\n"


def _host_lines(seen: Found) -> list[str]:
    lines = []
    placed = set()
    for network in sorted(seen.get("networks", []), key=lambda network: network["name"]):
        lines.append(f"{network['name']}  {network['subnet']}  {network['driver']}")
        for container in _on(seen, network["name"]):
            placed.add(container["name"])
            lines.append("  " + _container_line(container, _address(container, network["name"])))
    alone = [container for container in seen.get("containers", []) if container["name"] not in placed]
    if alone:
        lines.append("no network")
        lines += ["  " + _container_line(container, "") for container in sorted(alone, key=lambda c: str(c["name"]))]
    return lines or ["nothing runs here"]


def _container_line(container: Found, address: str) -> str:
    mark = "●" if container["running"] else "○"
    parts = [f"{mark} {container['name']:<12}", f"{address:<15}" if address else "", _short(container["image"])]
    parts += [f":{port['host_port']}→{port['container_port']}/{port['protocol']}" for port in container["ports"]]
    return " ".join(part for part in parts if part).rstrip()


def _mermaid(hosts: Mapping[str, Found]) -> str:
    lines = ["graph LR"]
    for index, (host, seen) in enumerate(hosts.items()):
        address = seen.get("address", "")
        lines.append(f'  subgraph h{index}["{host}{" " + address if address else ""}"]')
        for network in sorted(seen.get("networks", []), key=lambda network: network["name"]):
            lines.append(f'    {_node(index, "n", network["name"])}(["{network["name"]} {network["subnet"]}"])')
        for container in sorted(seen.get("containers", []), key=lambda c: str(c["name"])):
            node = _node(index, "c", container["name"])
            lines.append(f'    {node}["{container["name"]}<br/>{_short(container["image"])}"]')
            for at in container["networks"]:
                lines.append(f"    {node} ---|{at['address']}| {_node(index, 'n', at['network'])}")
            for port in container["ports"]:
                lines.append(f'    {_node(index, "p", port["host_port"])}((":{port["host_port"]}")) --> {node}')
        lines.append("  end")
    for name, vni in _overlays(hosts).items():
        ends = [_node(index, "n", name) for index, seen in enumerate(hosts.values()) if _has(seen, name)]
        lines += [f"  {one} <-->|VXLAN {vni}| {other}" for one, other in zip(ends, ends[1:])]
    return "\n".join(lines) + "\n"


def _overlays(hosts: Mapping[str, Found]) -> dict[str, int]:
    """Name to VNI of the overlays that more than one host has."""
    found: dict[str, list[int]] = {}
    for seen in hosts.values():
        for network in seen.get("networks", []):
            if network.get("vxlan"):
                found.setdefault(network["name"], []).append(network["vxlan"]["vni"])
    return {name: vnis[0] for name, vnis in sorted(found.items()) if len(vnis) > 1}


def _has(seen: Found, name: str) -> bool:
    return any(network["name"] == name for network in seen.get("networks", []))


def _on(seen: Found, network: str) -> Sequence[Found]:
    joined = [c for c in seen.get("containers", []) if any(at["network"] == network for at in c["networks"])]
    return sorted(joined, key=lambda container: str(container["name"]))


def _address(container: Found, network: str) -> str:
    return next((str(at["address"]) for at in container["networks"] if at["network"] == network), "")


def _short(image: str) -> str:
    return image.removeprefix("docker.io/").removeprefix("library/")


def _node(host: int, kind: str, name: object) -> str:
    return f"h{host}{kind}_" + "".join(c if c.isalnum() else "_" for c in str(name))


class FilterModule:
    """The filters of this file, as Ansible asks for them."""

    def filters(self) -> dict[str, Any]:
        return {"diagram": diagram}
