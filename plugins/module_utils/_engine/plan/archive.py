# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do so that an archive holds images of the host, or the host those of an archive."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..model.archive import Archive
from ..model.image import Image
from .change import Change, Fields
from .image import told_image


@dataclass(frozen=True)
class ExportImages(Change):
    """Writes an archive anew."""

    desired: Archive
    current: Archive | None

    @property
    def subject(self) -> str:
        return f"archive {self.desired.path}"

    @property
    def before(self) -> Fields:
        return _told(self.current)

    @property
    def after(self) -> Fields:
        return _told(self.desired)


@dataclass(frozen=True)
class LoadImage(Change):
    """Loads an image out of the archive at ``path``; what is there of it already is kept."""

    desired: Image
    current: Image | None
    path: str

    @property
    def subject(self) -> str:
        return f"image {self.desired.name}"

    @property
    def before(self) -> Fields:
        return told_image(self.current)

    @property
    def after(self) -> Fields:
        return told_image(self.desired) if self.desired.digest else {"digest": "as the archive has it"}


def plan_export(desired: Archive, current: Archive | None) -> Iterator[Change]:
    """Yield what makes an archive hold just what is wanted, in the format that is wanted."""
    if current != desired:
        yield ExportImages(desired, current)


def plan_load(desired: Image, current: Image | None, path: str) -> Iterator[Change]:
    """Yield what makes the host have an image of the archive at ``path``."""
    if current is None or current.digest != desired.digest or current.missing:
        yield LoadImage(desired, current, path)


def _told(archive: Archive | None) -> Fields:
    if archive is None:
        return {}
    told: Fields = {"format": archive.format, "compression": archive.compression, "images": dict(archive.images)}
    return told if archive.whole else {**told, "whole": False}
