# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where COPY and ADD take files from: the build's context, or what another stage or image has.

Promise: no path and no link leads out of it. What cannot be found, or is meant to lead out, is ValueError with a
reason.
"""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from .ignore import Ignore, compile_glob, is_glob
from .view import View, entries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .view import Found


class Origin:
    """``told`` is what people call it. ``owner`` is what its files get; None: they keep theirs."""

    def __init__(
        self, told: str, view: View, *, ignore: Ignore | None = None, owner: tuple[int, int] | None = None
    ) -> None:
        self.told = told
        self.view = view
        self.ignore = ignore or Ignore()
        self.owner = owner


class Source(NamedTuple):
    """Something that was named, or that a pattern matched. ``path`` is relative to the origin, as it was written."""

    path: bytes
    found: Found
    # How many of the path's parts are not repeated below the destination, with --parents.
    pivot: int = 0


def context_origin(directory: str, ignore: Ignore) -> Origin:
    """The build's context: its files become root's."""
    return Origin("the context", View([directory] if directory else []), ignore=ignore, owner=(0, 0))


def find_sources(origin: Origin, text: str) -> list[Source]:
    """What ``text``, a path or a pattern, names; a pattern may match nothing. Raises ValueError."""
    parts, pivot = _parts(origin, text)
    if not is_glob(text):
        path = b"/".join(parts)
        found = origin.view.find(origin.view.resolve(path))
        if found is None:
            raise ValueError(f"{text!r} is not in {origin.told}")
        if path and origin.ignore.excludes(os.fsdecode(path)):
            raise ValueError(f"{text!r} is left out of {origin.told} by its ignore file")
        return [Source(path, found, pivot)]
    root = origin.view.find(b"")
    matches = {} if root is None else dict(_glob(origin, root, (), parts))
    ignored = origin.ignore.excludes
    return [Source(path, found, pivot) for path, found in sorted(matches.items()) if not ignored(os.fsdecode(path))]


def walk(origin: Origin, source: Source) -> Iterator[tuple[bytes, Found]]:
    """Everything in a directory that is not left out, by its path relative to ``source``; a directory before its
    content."""
    path = os.fsdecode(source.path)
    yield from _walk(origin.ignore, source.found, path, b"", origin.ignore.above(path))


def _walk(
    ignore: Ignore, directory: Found, path: str, inner: bytes, above: Sequence[bool]
) -> Iterator[tuple[bytes, Found]]:
    for entry in entries(directory):
        name = f"{path}/{os.fsdecode(entry.name)}" if path else os.fsdecode(entry.name)
        excluded, matched = ignore.match(name, above) if ignore else (False, above)
        relative = inner + b"/" + entry.name if inner else entry.name
        if not excluded:
            yield relative, entry
        # With an exception (!), what is in a directory that is left out may be wanted.
        if entry.is_directory and (not excluded or ignore.has_exceptions):
            yield from _walk(ignore, entry, name, relative, matched)


def _parts(origin: Origin, text: str) -> tuple[list[bytes], int]:
    """The parts of a path inside ``origin``, and how many come before ``/./``."""
    parts: list[bytes] = []
    pivot = 0
    for index, part in enumerate(os.fsencode(text).split(b"/")):
        if part == b"..":
            if not parts:
                raise ValueError(f"the path {text!r} leaves {origin.told}")
            parts.pop()
        elif part == b"." and index:
            pivot = len(parts)
        elif part not in (b"", b"."):
            parts.append(part)
    if b"\0" in os.fsencode(text):
        raise ValueError(f"the path {text!r} has a zero byte")
    return parts, min(pivot, len(parts))


def _glob(
    origin: Origin, directory: Found, done: tuple[bytes, ...], parts: Sequence[bytes]
) -> Iterator[tuple[bytes, Found]]:
    """The paths below ``directory``, which ``done`` leads to, that match ``parts``, each of them a name's pattern."""
    part, rest = parts[0], parts[1:]
    if part == b"**":
        if rest:
            yield from _glob(origin, directory, done, rest)
        for entry in entries(directory):
            if not rest:
                yield b"/".join((*done, entry.name)), entry
            elif entry.is_directory:
                yield from _glob(origin, entry, (*done, entry.name), parts)
        return
    if is_glob(os.fsdecode(part)):
        pattern = compile_glob(os.fsdecode(part))
        matches = [entry for entry in entries(directory) if pattern.fullmatch(os.fsdecode(entry.name))]
    else:
        found = origin.view.find(origin.view.resolve(b"/".join((*done, part))))
        matches = [found._replace(name=part)] if found else []
    for entry in matches:
        if not rest:
            yield b"/".join((*done, entry.name)), entry
        elif entry.is_directory:
            yield from _glob(origin, entry, (*done, entry.name), rest)


def is_regular(found: Found) -> bool:
    return stat.S_ISREG(found.stat.st_mode)
