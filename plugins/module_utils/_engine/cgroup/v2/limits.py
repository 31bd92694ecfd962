# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's Limits in the files of a cgroup of v2."""

from __future__ import annotations

import os

from ...model.cgroup import UNLIMITED, Limits
from ..pids import PIDS
from .cpu import CPU
from .cpuset import CPUSET
from .memory import MEMORY

CONTROLLERS = (MEMORY, CPU, CPUSET, PIDS)
# What limits nothing.
_NOTHING = (UNLIMITED, "")


def observe_directory(directory: str) -> Limits:
    """The limits that a cgroup's files hold."""
    values: dict[str, int | str] = {}
    for controller in CONTROLLERS:
        values.update(controller.observe(directory))
    return Limits(**values)  # type: ignore[arg-type]


def observe_both(payload: str) -> Limits | None:
    """The limits of a container, which are on its own cgroup and on the ``payload`` in it; None where that is gone.

    They are to be the same. Where they are not, what is in force counts: the only limit, or the lower of two, and the
    weight of the container's own cgroup, for beside the payload is nothing to compete with.
    """
    if not os.path.isdir(payload):
        return None
    outer, inner = observe_directory(os.path.dirname(payload)).wanted(), observe_directory(payload).wanted()
    values = {field: _in_force(outer[field], value) for field, value in inner.items()}
    return Limits(**{**values, "cpu_weight": outer["cpu_weight"]})  # type: ignore[arg-type]


def _in_force(outer: int | str, inner: int | str) -> int | str:
    if outer in _NOTHING or inner in _NOTHING:
        return inner if outer in _NOTHING else outer
    if isinstance(outer, int) and isinstance(inner, int):
        return min(outer, inner)
    return inner
