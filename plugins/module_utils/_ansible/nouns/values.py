# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Option values that several nouns share: sizes, CPUs, modes, commands, paths. Every refusal names the option."""

from __future__ import annotations

import math
import os
import posixpath
import re
import shlex
import signal
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.common.text.formatters import human_to_bytes

from ..._engine.errors import InvalidOption
from ..._engine.model.cgroup import CPU_PERIOD, UNLIMITED, Limits, normalise

LIMIT_OPTIONS: dict[str, Any] = {
    "memory": {"type": "str"},
    "memory_reservation": {"type": "str"},
    "memory_swap": {"type": "str"},
    "cpus": {"type": "str"},
    "cpu_weight": {"type": "int"},
    "pids_limit": {"type": "str"},
    "cpuset_cpus": {"type": "str"},
    "cpuset_mems": {"type": "str"},
}

_UNLIMITED_WORDS = ("unlimited", "max", "-1")
# The kernel refuses a quota below 1 ms (kernel/sched/core.c, min_cfs_quota_period).
_LEAST_QUOTA = 1_000
_LEAST_MEMORY = 512 * 1024
# Unquoted, YAML takes 0644 for the number 420: a mode without its zero is more likely a slip than meant.
_MODE = re.compile(r"0[0-7]{3,4}")
_LATEST = 253402300799  # the last second of the year 9999, beyond which dates of RFC 3339 do not go
_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?")


def parse_limits(params: Mapping[str, Any]) -> Limits:
    """The limits among a module's parameters, as a kernel shows them; those that were not given stay None."""
    limits = Limits(
        memory=parse_size("memory", params["memory"], least=_LEAST_MEMORY),
        memory_reservation=parse_size("memory_reservation", params["memory_reservation"]),
        memory_swap=_parse_swap(params),
        cpu_quota=parse_cpus("cpus", params["cpus"]),
        cpu_weight=_parse_weight(params["cpu_weight"]),
        pids=_parse_count("pids_limit", params["pids_limit"]),
        cpuset_cpus=params["cpuset_cpus"],
        cpuset_mems=params["cpuset_mems"],
    )
    return normalise(limits)


def parse_size(option: str, value: str | None, *, least: int = 0) -> int | None:
    """Bytes out of ``64M``, ``1.5G`` or ``unlimited``."""
    if value is None:
        return None
    if value in _UNLIMITED_WORDS:
        return UNLIMITED
    expected = f"a size such as 64M or 1.5G, at least {least} bytes, or unlimited"
    try:
        size = human_to_bytes(value)
    except ValueError as error:
        raise InvalidOption(option, value, expected) from error
    if size < least:
        raise InvalidOption(option, value, expected)
    return int(size)


def parse_cpus(option: str, value: str | None) -> int | None:
    """Microseconds of CPU time in every period out of a number of CPUs such as ``0.5``."""
    if value is None:
        return None
    if value in _UNLIMITED_WORDS:
        return UNLIMITED
    try:
        cpus = float(value)
    except ValueError:
        cpus = math.nan
    if not _LEAST_QUOTA / CPU_PERIOD <= cpus <= 100_000:
        raise InvalidOption(option, value, "a number of CPUs from 0.01, such as 0.5 or 2, or unlimited")
    return round(cpus * CPU_PERIOD)


def parse_command(option: str, value: Any) -> tuple[str, ...] | None:
    """A command line: a list as it is, a string split as a shell would (no shell runs it)."""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = shlex.split(value)
        except ValueError as error:
            raise InvalidOption(option, value, f"a command line with balanced quotes ({error})") from error
    plain = isinstance(value, (list, tuple)) and not any(isinstance(word, (dict, list, type(None))) for word in value)
    if not plain or any("\0" in str(word) for word in value):
        raise InvalidOption(option, value, "a string or a list of strings")
    return tuple(str(word) for word in value)


def parse_pairs(option: str, value: Mapping[str, Any] | None) -> tuple[tuple[str, str], ...]:
    """A mapping of strings, sorted by key. Numbers must be quoted in YAML where their spelling matters."""
    pairs = []
    for key, item in sorted((value or {}).items()):
        if isinstance(item, (dict, list)) or item is None or "\0" in f"{key}{item}" or not key:
            raise InvalidOption(f"{option}: {key}", item, "a string")
        pairs.append((str(key), str(item).lower() if isinstance(item, bool) else str(item)))
    return tuple(pairs)


def parse_env(option: str, value: Mapping[str, Any] | None) -> tuple[tuple[str, str], ...]:
    """Environment variables (environ(7)): pairs whose names have no ``=``."""
    for name in value or {}:
        if "=" in name:
            raise InvalidOption(option, name, "a variable's name without '='")
    return parse_pairs(option, value)


def parse_mode(option: str, value: str) -> int:
    """Permission bits out of octal digits such as ``0644``."""
    if not _MODE.fullmatch(value):
        raise InvalidOption(option, value, "octal permission bits with a zero before them, quoted, such as '0644'")
    return int(value, 8)


def parse_inside(option: str, path: str) -> str:
    """A path inside an image or container, without what ``.`` and doubled slashes say."""
    if not path.startswith("/") or ".." in path.split("/") or "\0" in path:
        raise InvalidOption(option, path, "an absolute path inside the container or image, without '..'")
    return posixpath.normpath("/" + path.lstrip("/"))


def parse_signal(option: str, value: str | None) -> str | None:
    """A signal's name out of ``SIGTERM``, ``term`` or ``15``."""
    if value is None:
        return None
    name = signal.Signals(int(value)).name if value.isdecimal() and int(value) in set(signal.Signals) else value.upper()
    name = name if name.startswith("SIG") else "SIG" + name
    if name not in signal.Signals.__members__:
        raise InvalidOption(option, value, "a signal such as SIGTERM, TERM or 15 (signal(7))")
    return name


def parse_host_name(option: str, value: str, *, longest: int = 253) -> str:
    """A name for /etc/hosts (253: RFC 1035, section 2.3.4) or for a host itself (64: gethostname(2))."""
    if len(value) > longest or not _HOST_NAME.fullmatch(value):
        shown = value if len(value) <= 80 else value[:77] + "..."
        raise InvalidOption(
            option, shown, f"1 to {longest} letters, digits, '-', '_' and '.', a letter or digit at both ends"
        )
    return value


def _parse_swap(params: Mapping[str, Any]) -> int | None:
    swap = parse_size("memory_swap", params["memory_swap"])
    memory = parse_size("memory", params["memory"])
    if swap is not None and swap != UNLIMITED and (memory is None or memory == UNLIMITED or swap < memory):
        raise InvalidOption(
            "memory_swap", params["memory_swap"], "memory plus swap: at least memory, which must be set"
        )
    return swap


def _parse_weight(value: int | None) -> int | None:
    if value is not None and not 1 <= value <= 10_000:
        raise InvalidOption("cpu_weight", value, "1 to 10000 (100 is what a cgroup has by default)")
    return value


def _parse_count(option: str, value: str | None) -> int | None:
    if value is None:
        return None
    if value in _UNLIMITED_WORDS:
        return UNLIMITED
    if not (value.isascii() and value.isdecimal()) or int(value) < 1:
        raise InvalidOption(option, value, "a number from 1, or unlimited")
    return int(value)


def parse_epoch(given: int | None) -> int | None:
    """The option, or the environment's (reproducible-builds.org/specs/source-date-epoch)."""
    text = str(given) if given is not None else os.environ.get("SOURCE_DATE_EPOCH") or ""
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 12 or int(text) > _LATEST:
        raise InvalidOption("source_date_epoch", text, f"seconds since 1970, from 0 to {_LATEST}")
    return int(text)
