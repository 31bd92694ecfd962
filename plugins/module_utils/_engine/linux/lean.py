# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a launcher needs of contextlib and json, without what those bring along.

Python's own start takes 7 ms; json, with re and enum, 7 more, contextlib, with collections and functools, 4: measured
on the machine of docs/benchmarks.md. They are most of what a container's start would wait for, and memory of every
monitor. `_json` is the C part of json, in every CPython since 2.7; where it is missing json itself serves.
"""

from __future__ import annotations

import os

try:
    import _json

    _c: Any = _json
except ImportError:  # another Python than CPython
    _c = None

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

_SPACE = " \t\n\r"


class suppress:
    """``with suppress(OSError):`` as contextlib has it."""

    def __init__(self, *kinds: type[BaseException]) -> None:
        self._kinds = kinds

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> bool:
        return kind is not None and issubclass(kind, self._kinds)


class Descriptor:
    """A file descriptor that ``with`` closes; ``with`` gives the number."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __enter__(self) -> int:
        return self.fd

    def __exit__(self, *_error: object) -> None:
        os.close(self.fd)


class _Context:
    """What the scanner of `_json` asks of a json.JSONDecoder."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int

    @staticmethod
    def parse_constant(name: str) -> float:
        return {"-Infinity": -float("inf"), "Infinity": float("inf"), "NaN": float("nan")}[name]


def loads(content: str | bytes) -> Any:
    """json.loads(). Raises ValueError that says where."""
    text = content.decode("utf-8") if isinstance(content, bytes) else content
    start = len(text) - len(text.lstrip(_SPACE))
    if _c is not None:
        try:
            value, end = _c.make_scanner(_Context)(text, start)
            if not text[end:].strip(_SPACE):
                return value
        except (StopIteration, SystemError):  # the second for what ends in the middle, such as "{"
            pass
    import json  # for its words about the fault, or for want of _json

    return json.loads(text)


def dumps(value: Any) -> str:
    """json.dumps(). Raises TypeError for what JSON does not have."""
    if _c is None:
        import json  # for want of _json

        return json.dumps(value)
    encode = _c.make_encoder({}, _refuse, _c.encode_basestring_ascii, None, ": ", ", ", False, False, True)
    return "".join(encode(value, 0))


def _refuse(value: object) -> Any:
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def compact(value: Any) -> str:
    """JSON without a space, as Go writes it."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{dumps(str(key))}:{compact(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(compact, value)) + "]"
    return dumps(value)


def indented(value: Any, indent: str, margin: str = "") -> str:
    """JSON on a line for each item: json.dumps() of C before Python 3.14 has no indent."""
    inner = margin + indent
    if isinstance(value, dict) and value:
        items = [f"{inner}{dumps(str(key))}: {indented(item, indent, inner)}" for key, item in value.items()]
        return "{\n" + ",\n".join(items) + "\n" + margin + "}"
    if isinstance(value, (list, tuple)) and value:
        return "[\n" + ",\n".join(inner + indented(item, indent, inner) for item in value) + "\n" + margin + "]"
    return dumps(value)
