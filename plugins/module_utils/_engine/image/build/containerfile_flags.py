# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flags of a Containerfile's instructions, ``RUN --mount`` and times. What is malformed is ValueError with a reason."""

from __future__ import annotations

import re

from .containerfile_instructions import Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Names of flags: those with a value, those that may be there several times, those that are on or off.
VALUE, SEVERAL, SWITCH = "value", "several", "switch"
_COPY = {
    "from": VALUE,
    "chown": VALUE,
    "chmod": VALUE,
    "link": SWITCH,
    "parents": SWITCH,
    "exclude": SEVERAL,
}
FLAGS: Mapping[str, Mapping[str, str]] = {
    "FROM": {"platform": VALUE},
    "RUN": {"mount": SEVERAL, "network": VALUE, "security": VALUE, "device": SEVERAL},
    "COPY": _COPY,
    "ADD": {
        **{name: kind for name, kind in _COPY.items() if name not in ("from", "parents")},
        "checksum": VALUE,
        "unpack": SWITCH,
        "keep-git-dir": SWITCH,
    },
    "HEALTHCHECK": dict.fromkeys(("interval", "timeout", "start-period", "start-interval", "retries"), VALUE),
}

# RUN --mount: other names of an option, and which options a type has (Dockerfile reference, "RUN --mount").
_ALIASES = {
    **dict.fromkeys(("dst", "destination"), "target"),
    "src": "source",
    "readonly": "ro",
    "readwrite": "rw",
}
_SWITCHES = ("ro", "rw", "required")
_OPTIONS = {
    "bind": ("target", "source", "from", "rw", "ro"),
    "cache": ("target", "id", "ro", "rw", "sharing", "from", "source", "mode", "uid", "gid"),
    "tmpfs": ("target", "size"),
    "secret": ("id", "target", "env", "required", "mode", "uid", "gid"),
    "ssh": ("id", "target", "required", "mode", "uid", "gid"),
}

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)")
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


def parse_flags(instruction: str, words: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """``--name=value`` by name. A switch that is off is left out, one that is on has ``true``."""
    known = FLAGS.get(instruction, {})
    found: dict[str, tuple[str, ...]] = {}
    for word in words:
        name, equals, value = word[2:].partition("=")
        kind = known.get(name)
        if kind is None:
            told = ", ".join(f"--{flag}" for flag in known) or "none"
            raise ValueError(f"{instruction} has no flag --{name}; it has {told}")
        if kind == SWITCH:
            if _switch(f"--{name}", value if equals else "true"):
                found[name] = ("true",)
            continue
        if not value:
            raise ValueError(f"--{name} lacks a value: --{name}=...")
        if name in found and kind != SEVERAL:
            raise ValueError(f"--{name} is there twice")
        found[name] = (*found.get(name, ()), value)
    return found


def _switch(name: str, value: str) -> bool:
    if value.lower() not in ("true", "false", "1", "0"):
        raise ValueError(f"{name} is {value!r}; it can be true or false")
    return value.lower() in ("true", "1")


def parse_mount(text: str) -> Mount:
    """The value of a ``--mount``."""
    given: dict[str, str] = {}
    for item in _comma_separated(text):
        name, equals, value = item.strip().partition("=")
        name = _ALIASES.get(name.lower(), name.lower())
        if name in given:
            raise ValueError(f"--mount={text}: {name} is there twice")
        if name in _SWITCHES:
            value = "true" if _switch(f"--mount={text}: {name}", value if equals else "true") else "false"
        elif not equals or not value:
            raise ValueError(f"--mount={text}: {item!r} is no option with a value")
        given[name] = value
    kind = given.pop("type", "bind")
    if kind not in _OPTIONS:
        raise ValueError(f"--mount={text}: the type {kind!r} is unknown; it can be {', '.join(_OPTIONS)}")
    if kind == "ssh":
        raise ValueError(
            "--mount=type=ssh is not supported: no ssh agent is at hand on a host that Ansible manages; "
            "give the key as a secret, --mount=type=secret,id=..."
        )
    for name in given:
        if name not in _OPTIONS[kind]:
            raise ValueError(
                f"--mount={text}: a {kind} mount has no option {name!r}; it has {', '.join(_OPTIONS[kind])}"
            )
    if "from" in given and "$" in given["from"]:
        raise ValueError(f"--mount={text}: from takes no variables; name a stage: FROM image AS name")
    if "target" not in given and kind != "secret":
        raise ValueError(f"--mount={text}: target is missing")
    if kind == "secret" and not {"id", "target", "env"} & given.keys():
        raise ValueError(f"--mount={text}: a secret needs an id")
    if given.get("sharing", "shared") not in ("shared", "private", "locked"):
        raise ValueError(f"--mount={text}: sharing can be shared, private or locked")
    return Mount(kind, given)


def _comma_separated(text: str) -> list[str]:
    """Fields of a line of CSV (RFC 4180), as BuildKit reads a mount."""
    if '"' not in text:
        return text.split(",")
    import csv  # hardly anybody quotes here

    try:
        return next(iter(csv.reader([text], strict=True)), [])
    except csv.Error as error:
        raise ValueError(f"--mount={text}: {error}") from error


def parse_duration(name: str, text: str) -> int:
    """Go's ``1m30s`` in nanoseconds; 0 means what it does to docker, its own default."""
    if text == "0":
        return 0
    total, position = 0.0, 0
    for match in _DURATION.finditer(text):
        if match.start() != position:
            break
        total += float(match.group(1)) * _UNITS[match.group(2)]
        position = match.end()
    if position != len(text) or not text:
        raise ValueError(f"--{name}={text}: it is no time such as 30s or 1m30s")
    if total and not 10**6 <= total < 2**63:
        raise ValueError(f"--{name}={text}: it is less than a millisecond, or more than 292 years")
    return int(total)
