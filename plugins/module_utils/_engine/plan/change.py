# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A change: one step from the current to the desired state, that can say what it is but not do it.

Check mode prints changes, a real run applies the same ones, ``changed`` means that there are any, and a diff is
their before and after. Each noun's changes stand beside its plan, named verb first.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import Any

Fields = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """The base of all changes. ``before`` and ``after`` hold only what differs, as plain values."""

    @property
    def subject(self) -> str:
        """Kind and name of what is changed, such as ``network backplane``."""
        raise NotImplementedError

    @property
    def before(self) -> Fields:
        return {}

    @property
    def after(self) -> Fields:
        return {}

    @property
    def verb(self) -> str:
        """The first word of the class's name, in lower case."""
        name = type(self).__name__
        end = next((at for at, letter in enumerate(name) if at and letter.isupper()), len(name))
        return name[:end].lower()

    def describe(self) -> Fields:
        """The change as a module returns it."""
        return {
            "change": type(self).__name__,
            "subject": self.subject,
            "before": self.before,
            "after": self.after,
            "summary": str(self),
        }

    def __str__(self) -> str:
        before, after = self.before, self.after
        told = ", ".join(_told(name, before, after) for name in {**before, **after})
        return f"{self.verb} {self.subject}" + (f" ({told})" if told else "")


def _told(name: str, before: Fields, after: Fields) -> str:
    """One field in few words: from what to what, or only what where all of it comes or goes."""
    values = [side.get(name) for side in (before, after) if side]
    if any(isinstance(value, (list, dict)) for value in values):
        return name
    return f"{name}: {' -> '.join(_word(value) for value in values)}"


def _word(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    text = str(value)
    return text[7:19] if text.startswith("sha256:") else text


def plain(value: Any) -> Any:
    """A model value as JSON and YAML know it: dicts, lists, strings, numbers. Bytes are told by their length.

    A field that its class leaves out of repr() is a secret, and is left out here too.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value) if field.repr}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    return value


def difference(current: Any, desired: Any, names: tuple[str, ...]) -> tuple[str, ...]:
    """The fields out of ``names`` in which two values of one model differ, in that order."""
    return tuple(name for name in names if getattr(current, name) != getattr(desired, name))


def picked(value: Any, names: tuple[str, ...]) -> Fields:
    """Some fields of a model value, as plain values."""
    return {name: plain(getattr(value, name)) for name in names}
