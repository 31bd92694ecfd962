# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do so that a host has the image that the controller offers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..model.image import Image
from ..model.transfer import Transfer
from .change import Change, Fields
from .image import told_image


@dataclass(frozen=True)
class TransferImage(Change):
    """Takes what was sent of an image, with what is there of it already."""

    desired: Transfer
    current: Image | None

    @property
    def subject(self) -> str:
        return f"image {self.desired.image.name}"

    @property
    def before(self) -> Fields:
        return told_image(self.current)

    @property
    def after(self) -> Fields:
        sent = [{"digest": digest, "size": size} for digest, size in self.desired.lacking]
        return {**told_image(self.desired.image), "sent": sent}


def plan_transfer(desired: Transfer, current: Image | None) -> Iterator[Change]:
    """Yield what makes the host have the image."""
    if current is None or current.digest != desired.image.digest or current.missing:
        yield TransferImage(desired, current)
