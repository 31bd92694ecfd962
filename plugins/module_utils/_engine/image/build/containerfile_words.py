# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Words of a Containerfile: split as its instructions split them, and expanded with variables.

The rules are those of a shell, as far as Dockerfile's reference lists them under "Environment replacement": single
quotes keep all, double quotes keep spaces, the escape character keeps what follows; ``${name:-word}``, ``:+``, ``:?``
(each without the colon too), ``#`` and ``##``, ``%`` and ``%%``, ``/`` and ``//`` with patterns. What is malformed is
ValueError, with a reason; whoever knows the line adds it.
"""

from __future__ import annotations

import json
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SPACES = " \t\r\n\v\f"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9]+|[@*#?$!-]")


def split_words(text: str, escape: str = "\\") -> list[str]:
    """The words of ``text`` with their quotes and escapes still on them. A quote that does not end is a word's end."""
    return [text[start:end] for start, end in _word_spans(text, escape)]


def first_word(text: str, escape: str = "\\") -> tuple[str, str]:
    """The first word, as split_words() has it, and what follows it; two empty strings where there is none."""
    for start, end in _word_spans(text, escape):
        return text[start:end], text[end:].lstrip(_SPACES)
    return "", ""


def split_name(text: str) -> tuple[str, str]:
    """An instruction's name in capitals, and the rest of its line."""
    name, *rest = text.strip().split(None, 1) or [""]
    return name.upper(), rest[0] if rest else ""


def split_flags(text: str, escape: str = "\\") -> tuple[list[str], str]:
    """The words in front that begin with ``--``, without their quotes, and the rest. Raises ValueError."""
    flags: list[str] = []
    while text.startswith("--"):
        word, text = first_word(text, escape)
        if word == "--":
            break
        flags.append(unquote(word, escape))
    return flags, text


def parse_json_list(text: str) -> tuple[str, ...] | None:
    """The exec form: a JSON list of strings; None where ``text`` is anything else."""
    if not text.startswith("["):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return tuple(found) if isinstance(found, list) and all(isinstance(item, str) for item in found) else None


def _word_spans(text: str, escape: str) -> Iterator[tuple[int, int]]:
    position, size = 0, len(text)
    while position < size:
        if text[position] in _SPACES:
            position += 1
            continue
        start, quote = position, ""
        while position < size and (quote or text[position] not in _SPACES):
            character = text[position]
            if character == escape and quote != "'":
                position += 1
            elif quote:
                quote = "" if character == quote else quote
            elif character in "'\"":
                quote = character
            position += 1
        yield start, min(position, size)


def unquote(text: str, escape: str = "\\") -> str:
    """``text`` without its quotes and escapes; nothing is expanded. Raises ValueError where a quote does not end."""
    return Expander({}, escape, variables=False).expand(text)


def expand(text: str, variables: Mapping[str, str], escape: str = "\\") -> str:
    """``text`` with variables replaced, quotes and escapes taken off: one word whatever is in it. Raises ValueError."""
    if "$" not in text and "'" not in text and '"' not in text and escape not in text:
        return text
    return Expander(variables, escape).expand(text)


def expand_document(text: str, variables: Mapping[str, str], escape: str = "\\") -> str:
    """A here-document with variables replaced: quotes are as they stand, and the escape character keeps dollars."""
    return Expander(variables, escape).expand_document(text)


def expand_words(text: str, variables: Mapping[str, str], escape: str = "\\") -> list[str]:
    """``text`` expanded and then split, where neither quotes nor escapes keep it together. Raises ValueError."""
    words = []
    for word in split_words(text, escape):
        expanded = expand(word, variables, escape)
        # What a variable brings in is split as well; what was quoted is not.
        words += [expanded] if "'" in word or '"' in word or escape in word else expanded.split()
    return words


class Expander:
    """One text, read once from its beginning; see the functions above."""

    def __init__(self, values: Mapping[str, str], escape: str, *, variables: bool = True) -> None:
        self._values = values
        self._escape = escape
        self._expands = variables
        self._text = ""
        self._at = 0

    def expand(self, text: str) -> str:
        self._text, self._at = text, 0
        return self._until("")

    def expand_document(self, text: str) -> str:
        self._text, self._at = text, 0
        parts: list[str] = []
        while self._at < len(text):
            character = self._next()
            if character == "$":
                parts.append(self._variable())
            elif character == self._escape and self._peek() in ("$", self._escape):
                parts.append(self._next())
            else:
                parts.append(character)
        return "".join(parts)

    def _next(self) -> str:
        character = self._text[self._at : self._at + 1]
        self._at += 1
        return character

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _until(self, stop: str, *, raw: bool = False) -> str:
        """What comes before ``stop``, or all there is. ``raw`` keeps escapes: what is read is a pattern."""
        parts: list[str] = []
        while self._at < len(self._text):
            character = self._next()
            if stop and character == stop:
                return "".join(parts)
            if character == "'":
                parts.append(self._single_quoted())
            elif character == '"':
                parts.append(self._double_quoted())
            elif character == "$" and self._expands:
                parts.append(self._variable())
            elif character == self._escape:
                following = self._next()
                parts.append(character + following if raw else following)
            else:
                parts.append(character)
        if stop:
            raise ValueError(f"'{stop}' is missing in {self._text!r}")
        return "".join(parts)

    def _single_quoted(self) -> str:
        end = self._text.find("'", self._at)
        if end < 0:
            raise ValueError(f"a single quote does not end in {self._text!r}")
        content = self._text[self._at : end]
        self._at = end + 1
        return content

    def _double_quoted(self) -> str:
        parts: list[str] = []
        while self._at < len(self._text):
            character = self._next()
            if character == '"':
                return "".join(parts)
            if character == "$" and self._expands:
                parts.append(self._variable())
            elif character == self._escape and self._peek() in ('"', "$", self._escape):
                parts.append(self._next())
            else:
                parts.append(character)
        raise ValueError(f"a double quote does not end in {self._text!r}")

    def _variable(self) -> str:
        """What stands behind a dollar sign."""
        if self._peek() != "{":
            name = self._name()
            return self._values.get(name, "") if name else "$"
        self._at += 1
        name = self._name()
        if not name:
            raise ValueError(f"a name is missing after '${{' in {self._text!r}")
        value = self._values.get(name)
        modifier = self._next()
        if modifier == "}":
            return value or ""
        empty_too = modifier == ":"
        if empty_too:
            modifier = self._next()
        if modifier in ("+", "-", "?") and modifier:
            return self._alternative(name, value, modifier, empty_too=empty_too)
        if empty_too or modifier not in ("#", "%", "/") or not modifier:
            raise ValueError(f"${{{name}{':' if empty_too else ''}{modifier}...}} is not supported in {self._text!r}")
        return self._matched(value or "", modifier)

    def _alternative(self, name: str, value: str | None, modifier: str, *, empty_too: bool) -> str:
        word = self._until("}")
        there = bool(value) if empty_too else value is not None
        if modifier == "+":
            return word if there else ""
        if there:
            return value or ""
        if modifier == "-":
            return word
        raise ValueError(f"{name}: {word or 'it is not set'}")

    def _matched(self, value: str, modifier: str) -> str:
        """A prefix (#) or suffix (%) taken off, the shortest that matches, the longest if doubled; or / replaced."""
        twice = self._peek() == modifier
        if twice:
            self._at += 1
        if modifier == "/":
            pattern = self._until("/", raw=True)
            replacement = self._until("}")
            found = re.compile(_pattern(pattern, greedy=True), re.DOTALL)
            return found.sub(lambda _match: replacement, value, count=0 if twice else 1)
        pattern = self._until("}", raw=True)
        if modifier == "#":
            match = re.match(_pattern(pattern, greedy=twice), value, re.DOTALL)
            return value[match.end() :] if match else value
        # The shortest suffix is what the last beginning that matches up to the end has.
        whole = re.compile(_pattern(pattern, greedy=True), re.DOTALL)
        starts = range(len(value) + 1) if twice else range(len(value), -1, -1)
        start = next((start for start in starts if whole.fullmatch(value, start)), len(value))
        return value[:start]

    def _name(self) -> str:
        match = _NAME.match(self._text, self._at)
        if not match:
            return ""
        self._at = match.end()
        return match.group()


def _pattern(text: str, *, greedy: bool) -> str:
    """A shell's pattern of ``*``, ``?`` and escaped characters as a regular expression."""
    parts, characters = [], iter(text)
    for character in characters:
        if character == "*":
            parts.append(".*" if greedy else ".*?")
        elif character == "?":
            parts.append(".")
        else:
            parts.append(re.escape(next(characters, "\\") if character == "\\" else character))
    return "".join(parts)
