# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lines of a Containerfile: parser directives, comments, continuations and here-documents.

A logical line has the number of its first physical line, from 1. What is malformed is InvalidContainerfile.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ...errors import InvalidContainerfile
from .containerfile_words import parse_json_list, split_flags, split_name, split_words, unquote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_DIRECTIVE = re.compile(r"#[ \t]*([A-Za-z][A-Za-z0-9_-]*)[ \t]*=[ \t]*(.*?)[ \t]*")
_DIRECTIVES = ("syntax", "escape", "check")
_HEREDOC = re.compile(r"([0-9]*)<<(-?)([^<]+)", re.DOTALL)
# What may have here-documents; ONBUILD may be in front of it.
_WITH_HEREDOCS = ("ADD", "COPY", "RUN")


class Heredoc(NamedTuple):
    """A here-document: ``content`` ends with a newline unless it is empty; ``expands`` unless its name was quoted.

    ``content`` has the tabs at the beginnings of lines, which ``chomp`` (``<<-``) wants off.
    """

    name: str
    content: str
    expands: bool = True
    chomp: bool = False

    @property
    def chomped(self) -> str:
        """The content as a file has it."""
        return re.sub(r"(?m)^\t+", "", self.content) if self.chomp else self.content


class Line(NamedTuple):
    """One instruction as it is written, on one line; ``number`` is where it begins."""

    number: int
    text: str
    heredocs: tuple[Heredoc, ...] = ()


class Lines(NamedTuple):
    """All of a file: its directives by name (``escape`` is always there), and its instructions."""

    directives: Mapping[str, str]
    lines: tuple[Line, ...]


def read_lines(text: str, file: str) -> Lines:
    """Take ``text`` apart; ``file`` is its name for errors."""
    physical = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    directives = _read_directives(physical, file)
    escape = directives["escape"]
    reader = _Reader(physical, file, escape)
    return Lines(directives, tuple(iter(reader.read, None)))


def _read_directives(physical: list[str], file: str) -> dict[str, str]:
    """``# name=value`` in the first lines, until the first that is none; an unknown name is a comment like another."""
    found: dict[str, str] = {}
    for number, line in enumerate(physical, 1):
        match = _DIRECTIVE.fullmatch(line.strip())
        name = match.group(1).lower() if match else ""
        if match is None or name not in _DIRECTIVES:
            break
        if name in found:
            raise InvalidContainerfile(file, number, f"the directive {name} is there twice")
        found[name] = match.group(2)
        if name == "escape" and found[name] not in ("\\", "`"):
            raise InvalidContainerfile(file, number, f"the directive escape is {found[name]!r}; it can be \\ or `")
    return {"escape": "\\", **found}


class _Reader:
    """Reads logical lines, one after the other."""

    def __init__(self, physical: list[str], file: str, escape: str) -> None:
        self._physical = physical
        self._file = file
        self._escape = escape
        self._at = 0

    def read(self) -> Line | None:
        """The next instruction with its here-documents; None at the end."""
        while self._at < len(self._physical):
            line = self._physical[self._at].strip()
            self._at += 1
            if not line or line.startswith("#"):
                continue
            number = self._at
            text = self._continued(line)
            if text.strip():
                return Line(number, text.strip(), self._heredocs(number, text))
        return None

    def _continued(self, line: str) -> str:
        """``line`` with those that it goes on in; comments and empty lines in between do not count."""
        parts, more = self._without_escape(line)
        pieces = [parts]
        while more and self._at < len(self._physical):
            following = self._physical[self._at]
            self._at += 1
            if not following.strip() or following.lstrip().startswith("#"):
                continue
            parts, more = self._without_escape(following)
            pieces.append(parts)
        return "".join(pieces)

    def _without_escape(self, line: str) -> tuple[str, bool]:
        """Without the escape character at its end, and whether there was one; a doubled one is a character itself."""
        stripped = line.rstrip(" \t\r")
        if stripped.endswith(self._escape) and not stripped.endswith(2 * self._escape):
            return stripped[:-1], True
        return line, False

    def _heredocs(self, number: int, text: str) -> tuple[Heredoc, ...]:
        if "<<" not in text:
            return ()
        name, rest = split_name(text)
        if name == "ONBUILD":
            name, rest = split_name(rest)
        if name not in _WITH_HEREDOCS:
            return ()
        try:
            rest = split_flags(rest, self._escape)[1]
        except ValueError as error:
            raise InvalidContainerfile(self._file, number, str(error)) from error
        if parse_json_list(rest) is not None:
            return ()
        markers = (parse_heredoc(word, self._escape) for word in split_words(rest, self._escape))
        return tuple(self._read_heredoc(number, marker) for marker in markers if marker)

    def _read_heredoc(self, number: int, marker: Heredoc) -> Heredoc:
        content: list[str] = []
        while self._at < len(self._physical):
            line = self._physical[self._at]
            self._at += 1
            if (line.lstrip("\t") if marker.chomp else line) == marker.name:
                return marker._replace(content="".join(f"{one}\n" for one in content))
            content.append(line)
        raise InvalidContainerfile(self._file, number, f"the here-document has no end: no line is {marker.name!r}")


def parse_heredoc(word: str, escape: str = "\\") -> Heredoc | None:
    """The here-document that a word begins (``<<EOF``, ``3<<-"EOF"``), without content; None where it begins none."""
    match = _HEREDOC.fullmatch(word)
    if match is None:
        return None
    try:
        name = unquote(match.group(3), escape)
    except ValueError:
        return None
    return Heredoc(name, "", name == match.group(3), bool(match.group(2))) if name else None
