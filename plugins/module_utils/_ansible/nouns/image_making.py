# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images that programs make on the host, which takes long and says much."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..._engine.host import Host
from ..._engine.plan.change import Change
from .image import ImageNoun

_MOST_LINES = 10_000  # of the log that a module returns: the last ones tell what went wrong


class MadeImageNoun(ImageNoun):
    """An image whose making returns a ``log``, and has a lock of its own."""

    locks_host = False

    def __init__(self) -> None:
        super().__init__()
        self.log: list[str] = []

    def apply(self, host: Host, changes: Iterable[Change]) -> None:
        host.apply(changes, self._hear)

    def _hear(self, line: str) -> None:
        self.log.append(line)
        if len(self.log) > _MOST_LINES:
            del self.log[: _MOST_LINES // 10]

    def more(self) -> dict[str, Any]:
        return {"log": self.log}
