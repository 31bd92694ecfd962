# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do so that a host has the image that a container has come to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..model.commit import Commit
from ..model.image import Image
from .change import Change, Fields
from .image import told_image


@dataclass(frozen=True)
class CommitContainer(Change):
    """Makes an image out of a container; ``desired`` is what it was when it was looked at."""

    commit: Commit
    desired: Image
    current: Image | None

    @property
    def subject(self) -> str:
        return f"image {self.commit.name}"

    @property
    def before(self) -> Fields:
        return told_image(self.current)

    @property
    def after(self) -> Fields:
        told = told_image(self.desired) if self.desired.digest else {"digest": "known once the container is there"}
        return {**told, "container": self.commit.container}


def plan_commit(commit: Commit, desired: Image, current: Image | None) -> Iterator[Change]:
    """Yield the change that lets the name mean the image that the container has come to."""
    if current is None or current.missing or current.digest != desired.digest:
        yield CommitContainer(commit, desired, current)
