# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory on v2 (cgroup-v2.rst, "Memory Interface Files"): memory.max, memory.swap.max and memory.low, in bytes.

The kernel has a limit of swap alone; Limits has memory plus swap, as docker does. So both are worked out together: a
new memory limit keeps the sum that is in force. A memory.low of 0 protects nothing: UNLIMITED, as on v1.
"""

from __future__ import annotations

from ...errors import Conflict, InvalidOption, Unsupported
from ...model.quantities import UNLIMITED
from ..controller import Controller, is_limited, read_number, write_limit, write_setting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ...model.cgroup import Limits

MAX = "memory.max"
SWAP_MAX = "memory.swap.max"
LOW = "memory.low"


def observe_memory(directory: str) -> dict[str, int | str]:
    memory = read_number(f"{directory}/{MAX}")
    swap = read_number(f"{directory}/{SWAP_MAX}")
    unlimited = memory in (None, UNLIMITED) or swap in (None, UNLIMITED)
    return {
        "memory": UNLIMITED if memory is None else memory,
        "memory_reservation": read_number(f"{directory}/{LOW}") or UNLIMITED,
        "memory_swap": UNLIMITED if unlimited else (memory or 0) + (swap or 0),
    }


def apply_memory(directory: str, limits: Limits) -> None:
    if limits.memory is not None or limits.memory_swap is not None:
        _apply_total(directory, limits)
        if limits.memory is not None:
            write_limit(f"{directory}/{MAX}", _word(limits.memory))
    if limits.memory_reservation is not None:
        write_limit(f"{directory}/{LOW}", str(max(limits.memory_reservation, 0)))


def swap_limit(directory: str, limits: Limits) -> int | None:
    """What memory.swap.max must be for these limits, given what ``directory`` has now; None: leave it."""
    from dataclasses import replace  # the runtime's own command line does without the model

    from ...model.cgroup import Limits, check_memory_swap  # so that dataclasses are not loaded for what has none

    current = observe_memory(directory)
    fields = ("memory", "memory_swap")
    wanted = {field: value for field, value in limits.wanted().items() if field in fields}
    whole = replace(Limits(**{field: current[field] for field in fields}), **wanted)  # type: ignore[arg-type]
    memory, total = whole.memory or 0, whole.memory_swap or 0
    if limits.memory_swap is None and UNLIMITED in (total, memory):
        return None
    check_memory_swap(whole)
    return UNLIMITED if total == UNLIMITED else total - memory


def _apply_total(directory: str, limits: Limits) -> None:
    swap = swap_limit(directory, limits)
    if swap is None:
        return
    path = f"{directory}/{SWAP_MAX}"
    if read_number(path) is None:
        if is_limited(swap):
            raise Unsupported(f"memory_swap: there is no {path}: swap is not counted; leave memory_swap out")
        return
    write_limit(path, _word(swap))


def _word(value: int) -> str:
    return "max" if value == UNLIMITED else str(value)


def write_memory(directory: str, memory: Mapping[str, Any]) -> None:
    """``linux.resources.memory``; ``kernel`` and ``kernelTCP`` are ignored, as by runc: v2 counts them in.

    Raises Conflict where ``checkBeforeUpdate`` is asked for and more is in use.
    """
    check_usage(directory, memory)
    swap = plan_swap(directory, memory)
    if swap is not None and (swap not in (UNLIMITED, 0) or read_number(f"{directory}/{SWAP_MAX}") is not None):
        write_setting("linux.resources.memory.swap", directory, SWAP_MAX, _word(swap))
    for name, file in (("limit", MAX), ("reservation", LOW)):
        if name in memory:
            write_setting(f"linux.resources.memory.{name}", directory, file, _word(memory[name]))


def check_usage(directory: str, memory: Mapping[str, Any]) -> None:
    """Raise Conflict for limits below what is in use, where ``checkBeforeUpdate`` asks for that: v2 would kill."""
    usage = read_number(f"{directory}/memory.current") if memory.get("checkBeforeUpdate") else None
    if usage is None:
        return
    for name, what in (("swap", "memory+swap"), ("limit", "memory")):
        limit = memory.get(name, UNLIMITED)
        if 0 < limit <= usage:
            raise Conflict(f"linux.resources.memory.{name}: rejecting {what} limit {limit}: {usage} bytes are in use")


def plan_swap(directory: str, memory: Mapping[str, Any]) -> int | None:
    """What memory.swap.max is to be: the sum of config.json, or else the sum that is in force, less the memory."""
    limit, total = memory.get("limit"), memory.get("swap")
    if total is None and limit is None:
        return None
    if limit is None:
        limit = read_number(f"{directory}/{MAX}")
    if total is None:
        if limit == UNLIMITED:
            return UNLIMITED
        old, swap = read_number(f"{directory}/{MAX}"), read_number(f"{directory}/{SWAP_MAX}")
        if old in (None, UNLIMITED) or swap in (None, UNLIMITED):
            return None
        total = (old or 0) + (swap or 0)
    if UNLIMITED in (limit, total):
        return total
    if limit is None or total < limit:
        in_force = f"linux.resources.memory.limit, {limit} bytes" if limit else "a limit of memory, which it includes"
        raise InvalidOption("linux.resources.memory.swap", total, f"at least {in_force}: it counts memory plus swap")
    return int(total - limit)


MEMORY = Controller("memory", ("memory", "memory_reservation", "memory_swap"), observe_memory, apply_memory)
