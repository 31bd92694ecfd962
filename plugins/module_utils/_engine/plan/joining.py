# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers that join namespaces of others: in which order they start, and what it takes when those others change.

A container's namespaces are of its process: who joined them must join again when there is another one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..model.container import Container, ContainerState
from .change import Change
from .container import (
    CreateContainer,
    RecreateContainer,
    RejoinContainer,
    RestartContainer,
    StartContainer,
    plan_container,
)

_RENEWING = (CreateContainer, RecreateContainer, StartContainer, RestartContainer)


def plan_containers(
    desired: Mapping[str, Container | None],
    current: Mapping[str, ContainerState],
    orders: Mapping[str, Mapping[str, bool]] | None = None,
) -> Iterator[Change]:
    """Yield the changes of all, those of a container before those of the ones that join it.

    ``orders`` are further arguments of plan_container(), by name. ``desired`` has no circle (check_joins()).
    """
    renewed: set[str] = set()
    for name in _ordered(desired):
        container, state = desired[name], current.get(name)
        changes = list(plan_container(container, state, **(orders or {}).get(name, {})))
        if container is not None and container.running and state is not None and state.running:
            joined = container.namespaces.joined
            lost = tuple(option for option, other in joined.items() if other in renewed)
            if lost and not any(isinstance(change, _RENEWING) for change in changes):
                changes.append(RejoinContainer(state, container, lost))
        if any(isinstance(change, _RENEWING) for change in changes):
            renewed.add(name)
        yield from changes


def in_waves(containers: Mapping[str, Container]) -> list[list[str]]:
    """The names, those first that join none of the others, then those that join only these, and so on; the last are
    those of a circle, if there is one."""
    waves, left = _sorted(containers)
    return [*waves, left] if left else waves


def find_circle(containers: Mapping[str, Container]) -> list[str]:
    """Containers that join one another in a circle, the first one at the end again; empty where there is none."""
    _waves, left = _sorted(containers)
    path = left[:1]
    while path and path[-1] not in path[:-1]:
        others = containers[path[-1]].namespaces.joined.values()
        path.append(next(other for other in others if other in left))
    return path[path.index(path[-1]) :] if path else []


def _sorted(containers: Mapping[str, Container]) -> tuple[list[list[str]], list[str]]:
    """Waves, and what is left: circles, and who joins them."""
    waves: list[list[str]] = []
    left = {name: {*one.namespaces.joined.values()} for name, one in containers.items()}
    while wave := [name for name, others in left.items() if left.keys().isdisjoint(others)]:
        waves.append(wave)
        for name in wave:
            del left[name]
    return waves, list(left)


def _ordered(desired: Mapping[str, Container | None]) -> list[str]:
    """The names as they came, but for those that join others, which follow these."""
    if not any(container and container.namespaces.joined for container in desired.values()):
        return list(desired)
    waves = in_waves({name: container for name, container in desired.items() if container})
    return [*(name for name in desired if desired[name] is None), *(name for wave in waves for name in wave)]
