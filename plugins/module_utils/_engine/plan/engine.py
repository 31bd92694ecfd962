# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do so that a host has the engine and its commands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..model.engine import Engine
from .change import Change, Fields, difference, picked

FIELDS = ("digest", "directory")


@dataclass(frozen=True)
class InstallEngine(Change):
    current: Engine | None
    desired: Engine

    @property
    def subject(self) -> str:
        return "engine"

    @property
    def before(self) -> Fields:
        return picked(self.current, self._fields) if self.current else {}

    @property
    def after(self) -> Fields:
        return picked(self.desired, self._fields)

    @property
    def _fields(self) -> tuple[str, ...]:
        return difference(self.current, self.desired, FIELDS) if self.current else FIELDS


@dataclass(frozen=True)
class RemoveEngine(Change):
    current: Engine

    @property
    def subject(self) -> str:
        return "engine"

    @property
    def before(self) -> Fields:
        return picked(self.current, FIELDS)


def plan_engine(desired: Engine | None, current: Engine | None) -> Iterator[Change]:
    """Yield the changes; ``desired`` None asks for its absence."""
    if desired is None:
        if current is not None:
            yield RemoveEngine(current)
    elif current != desired:
        yield InstallEngine(current, desired)
