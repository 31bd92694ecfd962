# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory on v1 (cgroup-v1/memory.rst): the limit, the limit with swap (memsw), the soft limit, in bytes.

The kernel keeps memory <= memsw at any instant, so the order of two writes depends on which way they go.
"""

from __future__ import annotations

import errno

from ...errors import InvalidOption, Unsupported
from ...model.quantities import PAGE_SIZE, UNLIMITED
from ..controller import Controller, is_limited, read_number, write_limit, write_setting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ...model.cgroup import Limits

LIMIT = "memory.limit_in_bytes"
MEMSW = "memory.memsw.limit_in_bytes"
SOFT = "memory.soft_limit_in_bytes"
TCP = "memory.kmem.tcp.limit_in_bytes"

# PAGE_COUNTER_MAX pages is how v1 shows that there is no limit: 9223372036854771712 where pages have 4096 bytes.
_NO_LIMIT = (2**63 - 1) // PAGE_SIZE * PAGE_SIZE


def observe_memory(directory: str) -> dict[str, int | str]:
    files = {"memory": LIMIT, "memory_reservation": SOFT, "memory_swap": MEMSW}
    values = {field: read_number(f"{directory}/{file}") for field, file in files.items()}
    return {field: UNLIMITED if value is None or value >= _NO_LIMIT else value for field, value in values.items()}


def apply_memory(directory: str, limits: Limits) -> None:
    memory, total = limits.memory, limits.memory_swap
    if memory is not None and total is not None:
        in_force = read_number(f"{directory}/{MEMSW}")
        grows = in_force is not None and (memory == UNLIMITED or memory > in_force)
        for apply in (_apply_total, _apply_limit) if grows else (_apply_limit, _apply_total):
            apply(directory, limits)
    else:
        _apply_limit(directory, limits)
        _apply_total(directory, limits)
    reservation = limits.memory_reservation
    if reservation is not None and (is_limited(reservation) or read_number(f"{directory}/{SOFT}") is not None):
        write_limit(f"{directory}/{SOFT}", str(reservation))


def _apply_limit(directory: str, limits: Limits) -> None:
    if limits.memory is not None:
        because = {
            errno.EBUSY: f"{read_number(f'{directory}/memory.usage_in_bytes')} bytes of it are in use",
            errno.EINVAL: f"it is more than memory plus swap may be ({MEMSW}); set memory_swap too",
        }
        write_limit(f"{directory}/{LIMIT}", str(limits.memory), because=because)


def _apply_total(directory: str, limits: Limits) -> None:
    if limits.memory_swap is None:
        return
    path = f"{directory}/{MEMSW}"
    if read_number(path) is None:
        if is_limited(limits.memory_swap):
            raise Unsupported(f"memory_swap: there is no {path}: swap is not counted; boot with swapaccount=1")
        return
    because = {errno.EINVAL: f"it is less than memory ({LIMIT}); memory_swap counts memory plus swap"}
    write_limit(path, str(limits.memory_swap), because=because)


def write_memory(directory: str, memory: Mapping[str, Any]) -> None:
    """``linux.resources.memory``. ``kernel`` is ignored, Linux 5.16 dropped it, and ``kernelTCP`` where it is gone."""
    memsw = read_number(f"{directory}/{MEMSW}")
    limit, total = memory.get("limit"), memory.get("swap")
    if limit == UNLIMITED and total is None and memsw is not None:
        total = UNLIMITED  # else it would be the sum that limits memory
    if total is not None and total != UNLIMITED and memsw is None:
        raise Unsupported(
            f"linux.resources.memory.swap: this kernel has no {MEMSW} ({directory}); boot with swapaccount=1, or leave "
            "it out"
        )
    steps = [("limit", LIMIT, limit), ("swap", MEMSW, total if memsw is not None else None)]
    if limit is not None and memsw is not None and (limit == UNLIMITED or limit > memsw):
        steps.reverse()
    because = {
        errno.EBUSY: f"{read_number(f'{directory}/memory.usage_in_bytes')} bytes are in use",
        errno.EINVAL: f"memory is at most memory plus swap ({MEMSW}: {memsw}); set both",
    }
    for name, file, value in steps:
        if value is not None:
            write_setting(f"linux.resources.memory.{name}", directory, file, value, because=because)
    for name, file in (("reservation", SOFT), ("swappiness", "memory.swappiness")):
        if name in memory:
            write_setting(f"linux.resources.memory.{name}", directory, file, memory[name])
    if "kernelTCP" in memory and read_number(f"{directory}/{TCP}") is not None:
        write_setting("linux.resources.memory.kernelTCP", directory, TCP, memory["kernelTCP"])
    if memory.get("disableOOMKiller"):
        write_setting("linux.resources.memory.disableOOMKiller", directory, "memory.oom_control", 1)
    _write_hierarchy(directory, memory)


def _write_hierarchy(directory: str, memory: Mapping[str, Any]) -> None:
    """Linux 5.11 has accounts of whole subtrees alone; before, every cgroup could say how it is."""
    file, wanted = "memory.use_hierarchy", memory.get("useHierarchy")
    if wanted is None or read_number(f"{directory}/{file}") == int(wanted):
        return
    if not wanted and read_number(f"{directory}/{file}") is None:
        raise InvalidOption("linux.resources.memory.useHierarchy", wanted, "true, which is all that this kernel knows")
    because = {errno.EINVAL: "this kernel knows hierarchies alone", errno.EBUSY: "it has children already"}
    write_setting("linux.resources.memory.useHierarchy", directory, file, int(wanted), because=because)


MEMORY = Controller("memory", ("memory", "memory_reservation", "memory_swap"), observe_memory, apply_memory)
