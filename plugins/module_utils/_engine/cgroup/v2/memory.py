# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory on v2 (cgroup-v2.rst, "Memory Interface Files"): memory.max, memory.swap.max and memory.low, in bytes.

The kernel has a limit of swap alone; Limits has memory plus swap, as docker does. So both are worked out together: a
new memory limit keeps the sum that is in force. A memory.low of 0 protects nothing: UNLIMITED, as on v1.
"""

from __future__ import annotations

from dataclasses import replace

from ...errors import Unsupported
from ...model.cgroup import UNLIMITED, Limits, check_memory_swap
from ..controller import Controller, is_limited, read_number, write_limit

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


MEMORY = Controller("memory", ("memory", "memory_reservation", "memory_swap"), observe_memory, apply_memory)
