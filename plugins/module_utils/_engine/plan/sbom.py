# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do so that a host has an image's bill of materials."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..model.sbom import Sbom
from .change import Change, Fields


@dataclass(frozen=True)
class WriteSbom(Change):
    desired: Sbom
    current: Sbom | None

    @property
    def subject(self) -> str:
        return f"sbom {self.desired.path}"

    @property
    def before(self) -> Fields:
        return {"digest": self.current.digest} if self.current else {}

    @property
    def after(self) -> Fields:
        return {"digest": self.desired.digest or "as the image will have it"}


@dataclass(frozen=True)
class RemoveSbom(Change):
    current: Sbom

    @property
    def subject(self) -> str:
        return f"sbom {self.current.path}"

    @property
    def before(self) -> Fields:
        return {"digest": self.current.digest}


def plan_sbom(desired: Sbom | None, current: Sbom | None) -> Iterator[Change]:
    """Yield the changes; ``desired`` None asks for the file's absence."""
    if desired is None:
        if current is not None:
            yield RemoveSbom(current)
    elif current is None or current.digest != desired.digest:
        yield WriteSbom(desired, current)
