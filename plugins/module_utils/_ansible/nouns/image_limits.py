# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of everything that brings images to a host: what their layers may hold. Their documentation is
doc_fragments/image_limits.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..._engine.errors import InvalidOption
from ..._engine.model.image import Limits
from ..._engine.model.quantities import UNLIMITED
from .values import parse_size

LIMIT_OPTIONS: dict[str, Any] = {
    "max_size": {"type": "str", "default": "64G"},
    "max_entries": {"type": "int", "default": 4_000_000},
    "allow_devices": {"type": "bool", "default": True},
    "allow_setuid": {"type": "bool", "default": True},
}
_NO_LIMIT = 2**63 - 1


def parse_image_limits(params: Mapping[str, Any]) -> Limits:
    """Raises InvalidOption."""
    size = parse_size("max_size", params["max_size"], least=1)
    if params["max_entries"] < 1:
        raise InvalidOption("max_entries", params["max_entries"], "a number of files and directories, at least 1")
    return Limits(
        _NO_LIMIT if size is None or size == UNLIMITED else size,
        params["max_entries"],
        params["allow_devices"],
        params["allow_setuid"],
    )
