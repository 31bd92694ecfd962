# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""As much of TOML 1.0 as files of containers-registries.conf(5) are written in; Python has tomllib only since 3.11.

Tables, arrays of tables, dotted and quoted keys, strings on one line, integers, booleans, arrays and inline tables.
Anything else (dates, floats, strings over several lines) is a TomlError with its line.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SKIPPED = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BLANK = re.compile(r"[ \t]*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_BASIC = re.compile(r'"((?:[^"\\\n]|\\.)*)"')
_LITERAL = re.compile(r"'([^'\n]*)'")
_WORD = re.compile(r"true\b|false\b|[+-]?[0-9][0-9_]*(?![0-9.:T_-])")
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)")
_ESCAPED = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}
_END = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\r?\n|\Z)")


class TomlError(Exception):
    """``str(error)`` begins with the line."""


def parse_toml(text: str) -> dict[str, Any]:
    """The document as dicts, lists, strings, integers and booleans. Raises TomlError."""
    return _Reader(text).document()


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def document(self) -> dict[str, Any]:
        root: dict[str, Any] = {}
        table = root
        while True:
            self.skip(_SKIPPED)
            if self.at == len(self.text):
                return root
            if self.text.startswith("[[", self.at):
                table = self.array_of_tables(root)
            elif self.text.startswith("[", self.at):
                self.at += 1
                table = self.descend(root, self.key("]"))
                self.take("]")
            else:
                self.pair(table)
            if not (end := _END.match(self.text, self.at)):
                raise self.fault("something after what should end the line")
            self.at = end.end()

    def array_of_tables(self, root: dict[str, Any]) -> dict[str, Any]:
        self.at += 2
        *above, name = self.key("]")
        self.take("]]")
        found = self.descend(root, above).setdefault(name, [])
        if not isinstance(found, list):
            raise self.fault(f"{name!r} is there already, and no array of tables")
        found.append({})
        table: dict[str, Any] = found[-1]
        return table

    def pair(self, table: dict[str, Any]) -> None:
        *above, name = self.key("=")
        self.take("=")
        self.skip(_BLANK)
        value = self.value()
        into = self.descend(table, above)
        if name in into:
            raise self.fault(f"{name!r} is there twice")
        into[name] = value

    def descend(self, table: Any, names: list[str]) -> dict[str, Any]:
        for name in names:
            table = table.setdefault(name, {})
            if isinstance(table, list) and table:  # the last of an array of tables
                table = table[-1]
            if not isinstance(table, dict):
                raise self.fault(f"{name!r} is there already, and no table")
        found: dict[str, Any] = table
        return found

    def key(self, end: str) -> list[str]:
        names = []
        while True:
            self.skip(_BLANK)
            quote = self.text[self.at : self.at + 1]
            if quote in ('"', "'"):
                names.append(self.string())
            elif match := _BARE.match(self.text, self.at):
                self.at = match.end()
                names.append(match.group())
            else:
                raise self.fault("a key is expected")
            self.skip(_BLANK)
            if not self.text.startswith(".", self.at):
                break
            self.at += 1
        if not self.text.startswith(end, self.at):
            raise self.fault(f"{end!r} is expected after the key {'.'.join(names)!r}")
        return names

    def value(self) -> Any:
        first = self.text[self.at : self.at + 1]
        if first in ('"', "'"):
            return self.string()
        if first == "[":
            return self.array()
        if first == "{":
            return self.inline_table()
        if match := _WORD.match(self.text, self.at):
            self.at = match.end()
            word = match.group()
            return word == "true" if word in ("true", "false") else int(word)
        raise self.fault("a string, an integer, a boolean, an array or an inline table is expected")

    def string(self) -> str:
        if self.text.startswith(('"""', "'''"), self.at):
            raise self.fault("strings over several lines are not read here")
        match = (_BASIC if self.text[self.at] == '"' else _LITERAL).match(self.text, self.at)
        if not match:
            raise self.fault("a string has no end on its line")
        self.at = match.end()
        return match.group(1) if match.re is _LITERAL else _ESCAPE.sub(self.unescape, match.group(1))

    def unescape(self, match: re.Match[str]) -> str:
        what = match.group(1)
        if what in _ESCAPED:
            return _ESCAPED[what]
        if len(what) == 1 or int(what[1:], 16) > 0x10FFFF:
            raise self.fault(f"\\{what} is no escape")
        return chr(int(what[1:], 16))

    def array(self) -> list[Any]:
        self.at += 1
        found: list[Any] = []
        while True:
            self.skip(_SKIPPED)
            if self.text.startswith("]", self.at):
                self.at += 1
                return found
            found.append(self.value())
            self.skip(_SKIPPED)
            if self.text.startswith(",", self.at):
                self.at += 1
            elif not self.text.startswith("]", self.at):
                raise self.fault("',' or ']' is expected in an array")

    def inline_table(self) -> dict[str, Any]:
        self.at += 1
        found: dict[str, Any] = {}
        self.skip(_BLANK)
        if self.text.startswith("}", self.at):
            self.at += 1
            return found
        while True:
            self.pair(found)
            self.skip(_BLANK)
            if self.text.startswith("}", self.at):
                self.at += 1
                return found
            self.take(",")

    def skip(self, pattern: re.Pattern[str]) -> None:
        if match := pattern.match(self.text, self.at):
            self.at = match.end()

    def take(self, word: str) -> None:
        if not self.text.startswith(word, self.at):
            raise self.fault(f"{word!r} is expected")
        self.at += len(word)

    def fault(self, what: str) -> TomlError:
        return TomlError(f"line {self.text.count(chr(10), 0, self.at) + 1}: {what}")
