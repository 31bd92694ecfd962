# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kinds of value that a schema is made of: each checks a value, or raises Fault with the place, value and expectation.

A fault gathers its place on the way out, so that a value that is right costs no text of a path. Unknown names of an
object are passed over, and null is the same as absent, because Go writes an empty list as null.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


class Fault(Exception):
    """``value`` is not what is ``expected`` at ``place``."""

    def __init__(self, value: object, expected: str, place: str = "") -> None:
        super().__init__(expected)
        self.value = value
        self.expected = expected
        self.place = place

    def inside(self, place: str) -> Fault:
        """The same, one level further out."""
        self.place = f"{place}.{self.place}" if self.place and self.place[0] != "[" else place + self.place
        return self


class Kind:
    """What a value can be. ``check`` raises Fault."""

    def check(self, value: Any) -> None:
        raise NotImplementedError


class Flag(Kind):
    """true or false."""

    def check(self, value: Any) -> None:
        if value is not True and value is not False:
            raise Fault(value, "true or false")


class Number(Kind):
    """An integer within bounds."""

    def __init__(self, low: int, high: int) -> None:
        self.low = low
        self.high = high

    def check(self, value: Any) -> None:
        # To Python true is 1.
        if isinstance(value, bool) or not isinstance(value, int) or not self.low <= value <= self.high:
            raise Fault(value, f"a number from {self.low} to {self.high}")


class Text(Kind):
    """A string that the kernel can be given, and that ``fits``; ``expected`` says what that is.

    ``errors``: with surrogateescape, bytes of a command line that are not UTF-8 are let through (os.fsdecode()).
    """

    def __init__(
        self,
        expected: str = "a string without NUL",
        fits: Callable[[str], bool] | None = None,
        *,
        errors: str = "strict",
    ) -> None:
        self.expected = expected
        self.fits = fits
        self.errors = errors

    def check(self, value: Any) -> None:
        if not isinstance(value, str) or not _is_plain(value, self.errors) or (self.fits and not self.fits(value)):
            raise Fault(value, self.expected)


class Word(Kind):
    """One of a few words, given apart by spaces or as a collection."""

    def __init__(self, words: Any) -> None:
        self.words = frozenset(words.split(" ") if isinstance(words, str) else words)

    def check(self, value: Any) -> None:
        if not isinstance(value, str) or value not in self.words:
            raise Fault(value, "one of " + ", ".join(sorted(self.words - {""})))


class List(Kind):
    """Items of one kind."""

    def __init__(self, item: Kind) -> None:
        self.item = item

    def check(self, value: Any) -> None:
        if not isinstance(value, (list, tuple)):
            raise Fault(value, "a list")
        self.check_items(value)

    def check_items(self, items: Any) -> None:
        check = self.item.check
        for index, item in enumerate(items):
            try:
                check(item)
            except Fault as fault:
                raise fault.inside(f"[{index}]") from None


class Texts(List):
    """Many strings: looked at together, and one by one only where that finds a fault."""

    item: Text

    def check_items(self, items: Any) -> None:
        try:
            fits = self.item.fits
            if _is_plain("".join(items), self.item.errors) and (fits is None or all(map(fits, items))):
                return
        except TypeError:
            pass
        super().check_items(items)


class Map(Kind):
    """Names of one kind, with values of another."""

    def __init__(self, name: Kind, item: Kind) -> None:
        self.name = name
        self.item = item

    def check(self, value: Any) -> None:
        if not isinstance(value, dict):
            raise Fault(value, "an object")
        name: object = ""
        try:
            for name, item in value.items():
                self.name.check(name)
                self.item.check(item)
        except Fault as fault:
            told = str(name)[:80]
            raise fault.inside(told if told.isprintable() else repr(told)) from None


class Object(Kind):
    """Members by name, and which of them must be there."""

    def __init__(self, members: Mapping[str, Kind], *required: str) -> None:
        self.members = members
        self.required = required

    def check(self, value: Any) -> None:
        if not isinstance(value, dict):
            raise Fault(value, "an object")
        find, name = self.members.get, ""
        try:
            for name, item in value.items():
                kind = find(name)
                if kind is not None and item is not None:
                    kind.check(item)
            for name in self.required:
                if value.get(name) is None:
                    raise Fault(value.get(name), "a value, which is required")
        except Fault as fault:
            raise fault.inside(name) from None


def _is_plain(text: str, errors: str) -> bool:
    """Without NUL, and without halves of surrogates, which JSON can have and UTF-8 cannot, but as ``errors`` says."""
    if "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode(errors=errors)
    except UnicodeEncodeError:
        return False
    return True
