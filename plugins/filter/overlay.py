# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter overlay: what every host must know of an overlay network, computed from the inventory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import EngineError
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.overlay import Member, Place, plan_overlay


def overlay(
    hosts: Sequence[str], hostvars: Mapping[str, Any], *, name: str, pool: str, prefix: int = 24
) -> dict[str, Any]:
    """{host: {"subnet", "address", "peers", "names", "addresses"}} for the overlay ``name`` over ``hosts``."""
    try:
        planned = plan_overlay(pool, [_member(host, hostvars[host], name) for host in hosts], prefix=prefix)
    except EngineError as error:
        raise AnsibleFilterError(f"overlay {name}: {error}") from error
    return {
        host: {
            "subnet": subnet,
            "address": planned.underlay[host],
            "peers": [
                {"name": other, "subnet": theirs, "address": planned.underlay[other]}
                for other, theirs in planned.subnets.items()
                if other != host
            ],
            "names": dict(planned.names),
            "addresses": dict(planned.addresses[host]),
        }
        for host, subnet in planned.subnets.items()
    }


def _member(host: str, known: Mapping[str, Any], name: str) -> Member:
    address = known.get("stowage_address") or known.get("ansible_host") or host
    places = []
    for container in known.get("stowage_containers") or []:
        for at in container.get("networks") or []:
            if at["name"] == name and container.get("state", "started") != "absent":
                places.append(Place(container["name"], at.get("ipv4_address") or "", tuple(at.get("aliases") or ())))
    subnet = (known.get("stowage_subnets") or {}).get(name, "")
    return Member(host=host, address=str(address), subnet=str(subnet), containers=tuple(places))


class FilterModule:
    """The filters of this file, as Ansible asks for them."""

    def filters(self) -> dict[str, Any]:
        return {"overlay": overlay}
