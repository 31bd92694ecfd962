# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Model values out of YAML by the type hints of their dataclasses: a field of the wrong name or type is refused."""

from __future__ import annotations

import types
import typing
from dataclasses import fields, is_dataclass
from typing import Any


def build(hint: Any, value: Any, place: str = "") -> Any:
    """``value`` (dicts, lists, scalars) as ``hint`` wants it; ``place`` is where in the file it stands.

    Pairs such as a container's ``env`` are written as a mapping, bytes as a string.
    """
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return None if value is None else build(next(part for part in parts if part is not type(None)), value, place)
    if is_dataclass(hint):
        return _build_dataclass(hint, value, place)
    if origin is dict:
        return {
            name: None if item is None else build(parts[1], item, f"{place}.{name}") for name, item in value.items()
        }
    if origin is tuple:
        if isinstance(value, dict):
            value = [list(pair) for pair in value.items()]
        if not isinstance(value, list):
            raise TypeError(f"{place or 'the file'}: a list is expected, not {value!r}")
        kinds = [parts[0]] * len(value) if parts[-1] is Ellipsis else parts
        return tuple(build(kind, item, f"{place}[{n}]") for n, (kind, item) in enumerate(zip(kinds, value)))
    if hint is bytes and isinstance(value, str):
        return value.encode()
    if not isinstance(value, hint) or isinstance(value, bool) != (hint is bool):  # True is an int to isinstance()
        raise TypeError(f"{place or 'the file'}: {hint.__name__} is expected, not {value!r}")
    return value


def _build_dataclass(hint: Any, value: Any, place: str) -> Any:
    hints = typing.get_type_hints(hint)
    names = {field.name for field in fields(hint)}
    if not isinstance(value, dict) or not names.issuperset(value):
        raise TypeError(
            f"{place or 'the file'}: fields of {hint.__name__} are expected ({sorted(names)}), not {value!r}"
        )
    return hint(**{name: build(hints[name], item, f"{place}.{name}".strip(".")) for name, item in value.items()})
