# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do so that a host has a cgroup with the wanted limits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..model.cgroup import Cgroup, Limits
from .change import Change, Fields


@dataclass(frozen=True)
class CreateCgroup(Change):
    desired: Cgroup

    @property
    def subject(self) -> str:
        return f"cgroup {self.desired.path}"

    @property
    def after(self) -> Fields:
        return _told(self.desired)


@dataclass(frozen=True)
class SetLimits(Change):
    """Writes the limits that differ; the processes in the cgroup go on."""

    current: Cgroup
    desired: Cgroup

    @property
    def subject(self) -> str:
        return f"cgroup {self.desired.path}"

    @property
    def before(self) -> Fields:
        return {name: getattr(self.current.limits, name) for name in self.after}

    @property
    def after(self) -> Fields:
        return limits_to_set(self.desired.limits, self.current.limits)


@dataclass(frozen=True)
class RemoveCgroup(Change):
    current: Cgroup

    @property
    def subject(self) -> str:
        return f"cgroup {self.current.path}"

    @property
    def before(self) -> Fields:
        return _told(self.current)


def plan_cgroup(desired: Cgroup | None, current: Cgroup | None) -> Iterator[Change]:
    """Yield the changes; ``desired`` None asks for the cgroup's absence. Limits that are None are left alone."""
    if desired is None:
        if current is not None:
            yield RemoveCgroup(current)
    elif current is None:
        yield CreateCgroup(desired)
    elif limits_to_set(desired.limits, current.limits):
        yield SetLimits(current, desired)


def _told(cgroup: Cgroup) -> Fields:
    return {"path": cgroup.path, **cgroup.limits.wanted()}


def limits_to_set(desired: Limits, current: Limits) -> Fields:
    """The managed limits whose current value is another, by field name."""
    return {name: value for name, value in desired.wanted().items() if getattr(current, name) != value}
