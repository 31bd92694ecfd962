# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do so that a registry has an image of this host."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..model.registry import RemoteImage
from .change import Change, Fields


@dataclass(frozen=True)
class PushImage(Change):
    """Sends what the registry lacks of images, and lets a name of the registry mean them."""

    desired: RemoteImage
    current: RemoteImage | None

    @property
    def subject(self) -> str:
        return f"image {self.desired.name}"

    @property
    def before(self) -> Fields:
        return {"digest": self.current.digest} if self.current else {}

    @property
    def after(self) -> Fields:
        return {"digest": self.desired.digest or "as this host will have it", "images": list(self.desired.images)}


@dataclass(frozen=True)
class WithdrawImage(Change):
    """Takes a name away from a registry; content stays until the registry collects its garbage."""

    current: RemoteImage

    @property
    def subject(self) -> str:
        return f"image {self.current.name}"

    @property
    def before(self) -> Fields:
        return {"digest": self.current.digest}


def plan_push(desired: RemoteImage | None, current: RemoteImage | None) -> Iterator[Change]:
    """Yield the change; a registry that has the same digest under that name has all of it. None asks for absence."""
    if desired is None:
        if current is not None:
            yield WithdrawImage(current)
    elif current is None or current.digest != desired.digest:
        yield PushImage(desired, current)
