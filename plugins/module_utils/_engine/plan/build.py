# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do so that a host has the image that a Containerfile makes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..model.build import Build, Forecast
from ..model.image import Image
from .change import Change, Fields


@dataclass(frozen=True)
class BuildImage(Change):
    """Builds an image; steps whose layers are there are not done again."""

    build: Build
    forecast: Forecast
    current: Image | None

    @property
    def subject(self) -> str:
        return f"image {self.build.name}"

    @property
    def before(self) -> Fields:
        if self.current is None:
            return {}
        missing = {"missing_layers": list(self.current.missing)} if self.current.missing else {}
        return {"digest": self.current.digest, **missing}

    @property
    def after(self) -> Fields:
        told: Fields = {"digest": self.forecast.digest or "known once its steps have run"}
        steps = [f"{step.line}: {step.text}" for step in self.forecast.steps if step.outcome == "built"]
        if steps:
            told["steps"] = steps
        if self.forecast.pulls:
            told["pulls"] = list(self.forecast.pulls)
        return told


def plan_build(build: Build, forecast: Forecast, current: Image | None) -> Iterator[Change]:
    """Yield what makes the name mean the image that ``forecast`` is of; without a cache that is always something."""
    as_wanted = current is not None and not current.missing and current.digest == forecast.digest
    if not as_wanted or not build.cache:
        yield BuildImage(build, forecast, current)
