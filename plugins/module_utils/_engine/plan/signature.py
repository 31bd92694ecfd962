# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do so that an image in its registry is signed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..model.trust import Signing
from .change import Change, Fields


@dataclass(frozen=True)
class SignImage(Change):
    """Adds a signature beside those that are there."""

    desired: Signing

    @property
    def subject(self) -> str:
        return f"signature {self.desired.name}"

    @property
    def after(self) -> Fields:
        return {"digest": self.desired.digest, "as": self.desired.identity}


def plan_signature(desired: Signing, current: Signing | None) -> Iterator[Change]:
    """Yield the changes: another signature unless there is one of that digest, key and identity."""
    if desired != current:
        yield SignImage(desired)
