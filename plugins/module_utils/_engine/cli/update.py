# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``stowage-runtime update``: options, or a file with ``linux.resources``, for a container that is there."""

from __future__ import annotations

import os
import sys

from ..errors import InvalidOption
from ..linux.lean import loads
from ..runtime.resources import update_container, update_schemata
from .sizes import parse_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..runtime.oci import Runtime
    from .oci_options import Words

# Option to the place of its value in ``linux.resources``.
_NUMBERS = {
    "blkio-weight": ("blockIO", "weight"),
    "cpu-period": ("cpu", "period"),
    "cpu-quota": ("cpu", "quota"),
    "cpu-burst": ("cpu", "burst"),
    "cpu-share": ("cpu", "shares"),
    "cpu-rt-period": ("cpu", "realtimePeriod"),
    "cpu-rt-runtime": ("cpu", "realtimeRuntime"),
    "cpu-idle": ("cpu", "idle"),
    "pids-limit": ("pids", "limit"),
}
_SIZES = {
    "memory": ("memory", "limit"),
    "memory-reservation": ("memory", "reservation"),
    "memory-swap": ("memory", "swap"),
    "kernel-memory": ("memory", "kernel"),
    "kernel-memory-tcp": ("memory", "kernelTCP"),
}
_LISTS = {"cpuset-cpus": ("cpu", "cpus"), "cpuset-mems": ("cpu", "mems")}
_SCHEMATA = ("l3-cache-schema", "mem-bw-schema")


def update(runtime: Runtime, words: Words) -> int:
    """Raises InvalidOption for an option's value, and what update_container() raises."""
    identity = words.identity()
    source = words.text("resources")
    update_container(runtime, identity, _read(source) if source else _given(words))
    lines = {name: words.text(name) for name in _SCHEMATA if words.text(name)}
    if lines:
        update_schemata(runtime, identity, lines)
    return 0


def _given(words: Words) -> dict[str, Any]:
    """``linux.resources`` out of the options. An empty one is none, as in runc."""
    values: dict[str, Any] = {}
    for options, parse in ((_NUMBERS, parse_number), (_SIZES, parse_size), (_LISTS, _plain)):
        for name, (section, key) in options.items():
            text = words.text(name)
            if text:
                values.setdefault(section, {})[key] = parse(f"update --{name}", text)
    return values


def _plain(_option: str, text: str) -> Any:
    return text


def parse_number(option: str, text: str) -> Any:
    """A whole number, which may be negative."""
    digits = text[1:] if text.startswith("-") else text
    if not (digits.isascii() and digits.isdigit()):
        raise InvalidOption(option, text, "a number")
    return int(text)


def _read(source: str) -> Any:
    try:
        if source == "-":
            return loads(sys.stdin.buffer.read())
        with open(source, "rb") as file:
            return loads(file.read())
    except (OSError, ValueError, RecursionError) as error:
        expected = f"a file with linux.resources in JSON, or - for standard input ({error})"
        raise InvalidOption("update --resources", os.fspath(source), expected) from error
