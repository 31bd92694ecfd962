# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that become file names, link names and cgroup names: strict, so that none of them can escape a path."""

from __future__ import annotations

import hashlib

from ..errors import InvalidOption

MAX_NAME = 63
_FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_REST = _FIRST | frozenset("_.-")

_EXPECTED = f"1 to {MAX_NAME} letters, digits, '_', '.' or '-', a letter or digit first"

# netdevice(7): IFNAMSIZ is 16 with the closing zero.
_MAX_LINK_NAME = 15
_DIGITS = 8


def parse_name(option: str, value: str) -> str:
    """Return ``value`` if it can name a container, network or cgroup, as docker's rule is; else raise InvalidOption."""
    if not _is_name(value):
        raise InvalidOption(option, _shown(value), _EXPECTED)
    return value


def parse_path_name(option: str, value: str) -> str:
    """A cgroup path: names joined by ``/``, none of which may be ``.``, ``..`` or empty."""
    if not all(_is_name(part) for part in value.split("/")):
        raise InvalidOption(option, _shown(value), f"names joined by '/', each of {_EXPECTED}")
    return value


def _is_name(text: str) -> bool:
    return 0 < len(text) <= MAX_NAME and text[0] in _FIRST and _REST.issuperset(text)


def _shown(value: str) -> str:
    return value if len(value) <= 80 else value[:77] + "..."


def link_name(prefix: str, name: str) -> str:
    """A network interface's name out of ours: readable where it fits in 15 bytes, else shortened with a hash."""
    whole = f"{prefix}-{name}"
    if len(whole) <= _MAX_LINK_NAME:
        return whole
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGITS]
    return f"{whole[: _MAX_LINK_NAME - _DIGITS]}{digest}"
