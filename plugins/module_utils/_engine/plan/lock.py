# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do so that a lock file says what is wanted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .change import Change, Fields
from .image import UNKNOWN_DIGEST


@dataclass(frozen=True)
class LockImage(Change):
    """Writes what a name means. ``current`` is empty where nothing was locked, ``digest`` while nobody knows it."""

    name: str
    digest: str
    current: str

    @property
    def subject(self) -> str:
        return f"image {self.name}"

    @property
    def before(self) -> Fields:
        return {"digest": self.current} if self.current else {}

    @property
    def after(self) -> Fields:
        return {"digest": self.digest or UNKNOWN_DIGEST}


@dataclass(frozen=True)
class UnlockImage(Change):
    """Takes a name out of the file."""

    name: str
    current: str

    @property
    def subject(self) -> str:
        return f"image {self.name}"

    @property
    def before(self) -> Fields:
        return {"digest": self.current}


def plan_lock(desired: Mapping[str, str | None], current: Mapping[str, str]) -> Iterator[Change]:
    """Yield the changes for names and their digests; None takes a name out, other names of the file stay.

    An empty digest is one that nobody knows before the run, so it is told as a change, whatever is locked.
    """
    for name, digest in sorted(desired.items()):
        there = current.get(name, "")
        if digest is None:
            if there:
                yield UnlockImage(name, there)
        elif not digest or digest != there:
            yield LockImage(name, digest, there)
