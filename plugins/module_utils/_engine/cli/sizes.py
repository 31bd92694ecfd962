# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sizes in bytes, as people write them behind options."""

from __future__ import annotations

from ..errors import InvalidOption

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50}


def parse_size(option: str, text: str) -> Any:
    """Bytes: a number with or without k, M, G, T or P of 1024 each (``50M``, ``1.5g``, ``64MiB``), or -1."""
    if text == "-1":
        return -1
    lowered = text.strip().lower()
    for ending in ("ib", "b"):
        if lowered.endswith(ending):
            lowered = lowered[: -len(ending)]
            break
    number, unit = (lowered[:-1], lowered[-1:]) if lowered[-1:] in _UNITS else (lowered, "")
    whole, dot, part = number.strip().partition(".")
    if not (whole + part).isascii() or not whole.isdigit() or (dot and not part.isdigit()):
        raise InvalidOption(option, text, "bytes, such as 67108864 or 64M, or -1 for no limit")
    return int(float(number) * (1 << _UNITS[unit])) if dot else int(whole) << _UNITS[unit]
