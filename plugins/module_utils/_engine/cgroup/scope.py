# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A scope of systemd's for a container of the command line (--systemd-cgroup), which has no monitor to be made with.

systemd makes a scope with a process in it. That is a keeper: a child that waits until the init is there, for that is to
be born in a cgroup that has its limits already. systemd removes the scope with its last process.
"""

from __future__ import annotations

import _signal as signal
import os

from ..errors import BusError, InvalidOption
from ..linux.inherited import set_parent_death_signal
from ..linux.lean import suppress
from .place import parse_scope
from .properties import legacy_properties, resource_properties

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from .resources import Resources
    from .units import Property, Units

_PREFIX = "org.systemd.property."
# GVariant's words for types (GVariant Text Format, "Types of numbers"), as D-Bus has them.
_TYPES = dict(
    zip(
        "boolean byte int16 uint16 int32 uint32 int64 uint64 double string objectpath".split(" "),  # noqa: SIM905 - short
        "bynqiuxtdso",
    )
)


def start_keeper(
    units: Units, cgroups_path: str, resources: Resources, properties: Sequence[Property], *, v1: bool = False
) -> int:
    """Start the scope ``slice:prefix:name`` with a child of ours in it, whose pid is returned.

    On v1, where a cgroup's own directory has its limits, they are properties from the start.
    """
    slice_name, scope = parse_scope(cgroups_path)
    accounting = ("CPUAccounting", "MemoryAccounting", "TasksAccounting", "BlockIOAccounting" if v1 else "IOAccounting")
    wanted: list[Property] = [(name, "b", True) for name in accounting]
    wanted += [("DefaultDependencies", "b", False), *properties]
    keeper = os.fork()
    if keeper == 0:
        try:
            # We are to be ended by whoever made us, or with it.
            set_parent_death_signal(signal.SIGKILL)
            while True:
                signal.pause()
        finally:
            os._exit(0)
    try:
        units.start_scope(scope, slice_name, keeper, wanted)
        if v1:
            update_scope(units, cgroups_path, resources, v1=True)
    except BaseException:
        end_keeper(keeper)
        raise
    return keeper


def end_keeper(pid: int) -> None:
    """End the child that start_keeper() made."""
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def update_scope(
    units: Units, cgroups_path: str, resources: Resources, directory: str = "", *, v1: bool = False
) -> None:
    """Set the properties that ``resources`` ask for; ``directory`` has what is in force: v2's, or of v1 that of cpu."""
    properties = legacy_properties(resources, directory) if v1 else resource_properties(resources, directory)
    if properties:
        try:
            units.set_properties(parse_scope(cgroups_path)[1], properties)
        except BusError as error:
            # A container that has ended by now has no scope any more.
            if not error.name.endswith(".NoSuchUnit"):
                raise


def parse_properties(annotations: Mapping[str, str]) -> list[Property]:
    """The properties that annotations ``org.systemd.property.<name>`` ask for, as runc and crun have them.

    Their values are in GVariant's text format: ``uint64 5``, ``'text'``, ``true``, ``['a', 'b']``. ``...Sec`` is
    seconds and becomes ``...USec``, which is what systemd has. Raises InvalidOption.
    """
    found: list[Property] = []
    for key, text in annotations.items():
        if key.startswith(_PREFIX):
            option, name = f"annotations.{key}", key[len(_PREFIX) :]
            if len(name) < 3 or not (name.isascii() and name.isalpha()):
                raise InvalidOption(option, name, "a property's name of letters alone, such as TimeoutStopUSec")
            kind, value = _parse_value(option, text.strip())
            if name.endswith("Sec") and len(name) > 3 and name[-4].islower():
                if kind not in ("y", "n", "q", "i", "u", "x", "t", "d"):
                    raise InvalidOption(option, text, "a number of seconds")
                name, kind, value = name[:-3] + "USec", "t", int(value * 1_000_000)
            found.append((name, kind, value))
    return found


def _parse_value(option: str, text: str) -> tuple[str, Any]:
    """A D-Bus signature and the value."""
    word, space, rest = text.partition(" ")
    if space and word in _TYPES:
        kind, value = _parse_value(option, rest.strip())
        if _TYPES[word] in ("s", "o", "b") and kind not in ("s", "b"):
            raise InvalidOption(option, text, f"a {word} after that word")
        return _TYPES[word], float(value) if word == "double" else value
    if text in ("true", "false"):
        return "b", text == "true"
    if text[:1] in ("'", '"') and len(text) > 1 and text[-1] == text[0]:
        return "s", text[1:-1].replace("\\" + text[0], text[0]).replace("\\\\", "\\")
    if text.startswith("[") and text.endswith("]"):
        items = [_parse_value(option, item.strip()) for item in _split(text[1:-1])]
        kinds = {kind for kind, _value in items} or {"s"}
        if len(kinds) == 1:
            return "a" + kinds.pop(), [value for _kind, value in items]
    with suppress(ValueError):
        return "i", int(text, 0)
    with suppress(ValueError):
        return "d", float(text)
    raise InvalidOption(option, text, "a value in GVariant's text format, such as uint64 5, 'text', true or ['a', 'b']")


def _split(text: str) -> list[str]:
    """The items of a list, by commas outside quotes."""
    items, quote, start = [], "", 0
    for index, character in enumerate(text):
        if quote:
            quote = "" if character == quote and text[index - 1] != "\\" else quote
        elif character in "'\"":
            quote = character
        elif character == ",":
            items.append(text[start:index])
            start = index + 1
    items.append(text[start:])
    return [item for item in items if item.strip()]
