# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files of a build's context are left out: ``.containerignore``, ``.dockerignore`` (Dockerfile reference, the
section of that name; patterns as Go's filepath.Match() has them, and ``**``).

The last pattern that matches a path, or a directory that it is in, decides. Malformed patterns are InvalidOption.
"""

from __future__ import annotations

import os
import re

from ...errors import InvalidOption, KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# In the context, unless there is one beside the Containerfile, with its name in front.
_NAMES = (".containerignore", ".dockerignore")


class Ignore:
    """Patterns in their order. A walk hands the ``matched`` of a directory on to what is in it."""

    def __init__(self, patterns: Iterable[str] = (), where: str = "patterns") -> None:
        self._rules: list[tuple[bool, re.Pattern[str]]] = []
        for pattern in patterns:
            keeps = pattern.startswith("!")
            cleaned = os.path.normpath(pattern[keeps:].strip()).lstrip("/")
            if cleaned not in ("", "."):
                self._rules.append((keeps, compile_glob(cleaned, where)))
        self.has_exceptions = any(keeps for keeps, _rule in self._rules)
        self.nothing: Sequence[bool] = (False,) * len(self._rules)

    def __bool__(self) -> bool:
        return bool(self._rules)

    def match(self, path: str, above: Sequence[bool]) -> tuple[bool, Sequence[bool]]:
        """Whether ``path`` is left out, and which rules match it; ``above`` is that of the directory it is in."""
        matched = [over or bool(rule.fullmatch(path)) for over, (_keeps, rule) in zip(above, self._rules)]
        last = next((index for index in range(len(matched) - 1, -1, -1) if matched[index]), -1)
        return last >= 0 and not self._rules[last][0], matched

    def excludes(self, path: str) -> bool:
        """Whether ``path`` is left out, by itself or with a directory that it is in."""
        if not self._rules:
            return False
        excluded, above = False, self.nothing
        parts = path.split("/")
        for depth in range(1, len(parts) + 1):
            excluded, above = self.match("/".join(parts[:depth]), above)
        return excluded

    def above(self, path: str) -> Sequence[bool]:
        """The rules that match the directory ``path`` or one that it is in."""
        above = self.nothing
        parts = path.split("/") if path else []
        for depth in range(1, len(parts) + 1):
            above = self.match("/".join(parts[:depth]), above)[1]
        return above


def read_ignore(context: str, file: str) -> Ignore:
    """The patterns for a build; none where there is no such file. Raises InvalidOption, KernelError."""
    beside = [file + name for name in _NAMES] if file else []
    for path in [*beside, *(os.path.join(context, name) for name in _NAMES)]:
        try:
            with open(path, encoding="utf-8-sig", errors="surrogateescape") as lines:
                # Only a line that begins with the sign is a comment.
                return Ignore([line.strip() for line in lines if line.strip() and not line.startswith("#")], path)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise KernelError("reading what the build's context leaves out", error) from error
    return Ignore()


def compile_glob(pattern: str, where: str = "pattern") -> re.Pattern[str]:
    """A pattern for whole paths: ``*`` and ``?`` stop at slashes, ``**`` does not. Raises InvalidOption."""
    parts: list[str] = []
    position, size = 0, len(pattern)
    while position < size:
        character = pattern[position]
        if pattern.startswith("**/", position):
            parts.append("(?:.*/)?")
            position += 3
        elif pattern.startswith("**", position):
            parts.append(".*")
            position += 2
        elif character == "[":
            end = _class_end(pattern, position)
            if end < 0:
                raise InvalidOption(where, pattern, "a pattern whose '[' has a ']'")
            content = pattern[position + 1 : end]
            negated = content[:1] in ("^", "!")
            parts.append(f"[{'^/' if negated else ''}{_escape_class(content[negated:])}]")
            position = end + 1
        else:
            if character == "\\" and position + 1 < size:
                position += 1
                character = pattern[position]
                parts.append(re.escape(character))
            else:
                parts.append({"*": "[^/]*", "?": "[^/]"}.get(character) or re.escape(character))
            position += 1
    try:
        return re.compile("".join(parts), re.DOTALL)
    except re.error as error:
        raise InvalidOption(where, pattern, f"a pattern with ranges that go up ({error})") from error


def is_glob(text: str) -> bool:
    """Whether ``text`` can match other names than itself."""
    return any(character in text for character in "*?[")


def _class_end(pattern: str, start: int) -> int:
    position = start + 1
    position += pattern[position : position + 1] in ("^", "!")
    first = position
    while position < len(pattern):
        if pattern[position] == "\\":
            position += 1
        elif pattern[position] == "]" and position > first:
            return position
        position += 1
    return -1


def _escape_class(content: str) -> str:
    return re.sub(r"([\[\]&~|^])", r"\\\1", content)
