# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do so that a host has an image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..model.image import Image
from ..model.platform import same_platform
from .change import Change, Fields

# What is told of an image that is not at its registry before an earlier task has pushed it.
UNKNOWN_DIGEST = "as the registry has it"

_LACKING = ("missing_layers", "damaged_layers")


@dataclass(frozen=True)
class _ToImage(Change):
    desired: Image
    current: Image | None

    @property
    def subject(self) -> str:
        return f"image {self.desired.name}"

    @property
    def before(self) -> Fields:
        return told_image(self.current)

    @property
    def after(self) -> Fields:
        return told_image(self.desired)


class PullImage(_ToImage):
    """Fetches what is lacking of an image from its registry."""


@dataclass(frozen=True)
class RestoreImage(_ToImage):
    """Brings back what is gone or damaged of an image that is the wanted one: unpacked again out of what is here, and
    fetched only where that does not do."""

    current: Image

    @property
    def before(self) -> Fields:
        return {name: value for name, value in told_image(self.current).items() if name in _LACKING}

    @property
    def after(self) -> Fields:
        return {name: [] for name in self.before}


class AssembleImage(_ToImage):
    """Makes an image on the host out of its recipe; what is there of it already is kept."""


class TagImage(_ToImage):
    """Gives an image of the host one more name."""


@dataclass(frozen=True)
class RemoveImage(Change):
    """Removes a name, and the content that nothing else uses."""

    current: Image

    @property
    def subject(self) -> str:
        return f"image {self.current.name}"

    @property
    def before(self) -> Fields:
        return told_image(self.current)


def plan_image(desired: Image | None, current: Image | None) -> Iterator[Change]:
    """Yield the changes; ``desired`` None asks for the image's absence, an empty digest takes any image of the name."""
    if desired is None:
        if current is not None:
            yield RemoveImage(current)
    elif (
        current is None
        or desired.digest not in ("", current.digest)
        or not same_platform(desired.platform, current.platform)
    ):
        yield _obtain(desired, current)
    elif current.missing or current.damaged:
        # A recipe is at hand for what no blob has any more.
        yield _obtain(desired, current) if desired.recipe is not None else RestoreImage(desired, current)


def _obtain(desired: Image, current: Image | None) -> Change:
    return PullImage(desired, current) if desired.recipe is None else AssembleImage(desired, current)


def plan_tag(desired: Image, current: Image | None, *, keep: bool = False) -> Iterator[Change]:
    """Yield the change that lets a name mean an image; ``keep`` leaves a name alone that means another."""
    if current is None or (current.digest != desired.digest and not keep):
        yield TagImage(desired, current)


def told_image(image: Image | None) -> Fields:
    """What a change tells of an image."""
    if image is None:
        return {}
    told: Fields = {"digest": image.digest or UNKNOWN_DIGEST}
    if image.platform:
        told["platform"] = image.platform
    if image.layers:
        told["layers"] = list(image.layers)
    if image.missing:
        told["missing_layers"] = list(image.missing)
    if image.damaged:
        told["damaged_layers"] = list(image.damaged)
    return told
