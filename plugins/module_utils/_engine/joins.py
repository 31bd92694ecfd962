# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers in namespaces of other containers: refused where that cannot be, and held against the kernel.

Errors: NotFound, Conflict.
"""

from __future__ import annotations

import os

from .errors import Conflict, NotFound
from .plan.joining import find_circle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .model.container import Container, ContainerState

    Absent = Callable[[NotFound], None]

# Options, and what proc_pid_ns(5) calls the namespace.
_LINKS = {"pid_mode": "pid", "ipc_mode": "ipc", "network_mode": "net"}


def check_joins(desired: Mapping[str, Container | None], current: Mapping[str, ContainerState], absent: Absent) -> None:
    """Raise Conflict where containers join one another in a circle, or one that is not to run; tell ``absent`` of one
    that nobody makes and that does not run."""
    joining = {name: one for name, one in desired.items() if one and one.namespaces.joined}
    if not joining:
        return
    others = {name: state.container for name, state in current.items() if name not in desired}
    circle = " -> ".join(find_circle({**others, **{name: one for name, one in desired.items() if one}}))
    if circle:
        raise Conflict(f"containers join one another's namespaces in a circle: {circle}; take one out of it")
    for name, container in joining.items():
        if container.running is False or (container.running is None and name in current):
            continue  # its namespaces come with its process
        for option, other in container.namespaces.joined.items():
            _check_joined(name, option, other, desired, current, absent)


def _check_joined(
    joining: str,
    option: str,
    name: str,
    desired: Mapping[str, Container | None],
    current: Mapping[str, ContainerState],
    absent: Absent,
) -> None:
    why = f"container {joining} joins its namespace ({option})"
    state = current.get(name)
    other = desired.get(name, state and state.container)
    if option == "ipc_mode" and other and other.namespaces.userns != "keep":
        told = f"container {name} has ids of its own (userns), so nobody else can write to its shared memory"
        raise Conflict(f"container {joining}, {option}: {told}; leave one of the two out")
    if option == "network_mode" and other and (further := other.namespaces.joined.get(option)):
        # Its /etc/hosts is that one's, too.
        raise Conflict(f"container {joining}, {option}: container {name} has the network of {further}; name that one")
    runs = state is not None and state.running
    if name in desired:
        wanted = desired[name]
        if wanted is None or wanted.running is False:
            told = "be absent" if wanted is None else "be stopped"
            raise Conflict(f"container {name} cannot {told}: {why}; change one of the two")
        if wanted.running or state is None or runs:
            return
    if state is None:
        absent(NotFound("container", name, f"{why}; make it first, or in the same task"))
    elif not runs:
        absent(NotFound("running container", name, f"{why}; start it first, or in the same task"))


def refuse_joined(ending: Iterable[str], changed: Iterable[str], states: Mapping[str, ContainerState]) -> None:
    """Raise Conflict where a container that is going to end for good is joined by one that runs and is not changed."""
    ends = set(ending)
    for name, state in states.items():
        if state.running and name not in changed:
            for option, other in state.container.namespaces.joined.items():
                if other in ends:
                    raise Conflict(
                        f"container {other} cannot end: container {name} runs in its namespace ({option}); stop or "
                        f"remove that first, or both together"
                    )


def observe_stale(state: ContainerState, states: Mapping[str, ContainerState]) -> tuple[str, ...]:
    """The options by which a running container joined namespaces that are no longer those of the container named."""
    joined = state.container.namespaces.joined
    return tuple(option for option, other in joined.items() if not _shares(_LINKS[option], state, states.get(other)))


def _shares(link: str, state: ContainerState, other: ContainerState | None) -> bool:
    if other is None or not other.running:
        return False
    try:
        found = [os.stat(f"/proc/{pid}/ns/{link}") for pid in (state.pid, other.pid)]
    except OSError:
        return False  # one of them ended just now
    return found[0].st_ino == found[1].st_ino and found[0].st_dev == found[1].st_dev
