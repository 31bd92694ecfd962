# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the CPUs and the disks serve a process: sched_setattr(2), sched_setaffinity(2), ioprio_set(2). Errors: OSError.

Numbers are those of linux/sched.h, linux/sched/types.h and linux/ioprio.h; times are in nanoseconds.
"""

from __future__ import annotations

import struct

from .libc import check, libc, syscall
from .seccomp_profile import native_architecture
from .syscalls import syscall_numbers

SCHED_FIFO, SCHED_RR, SCHED_DEADLINE = 1, 2, 6
POLICIES = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": SCHED_FIFO,
    "SCHED_RR": SCHED_RR,
    "SCHED_BATCH": 3,
    "SCHED_ISO": 4,  # reserved; no kernel has it yet
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": SCHED_DEADLINE,
}
FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01,
    "SCHED_FLAG_RECLAIM": 0x02,
    "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08,
    "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}
CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}

# sched_attr: size, policy, flags, nice, priority, runtime, deadline, period, and the two clamps of Linux 5.3.
_ATTRIBUTES = struct.Struct("=IIQiIQQQII")
_IOPRIO_WHO_PGRP = 2
_IOPRIO_CLASS_SHIFT = 13
_MASK_BYTES = 1024  # 8192 CPUs, as many as any kernel is built for


def sched_setattr(
    policy: int, flags: int, *, nice: int, priority: int, runtime: int = 0, deadline: int = 0, period: int = 0
) -> None:
    """The policy of this thread and what belongs to it."""
    values = (policy, flags, nice, priority, runtime, deadline, period, 0, 0)
    attributes = _ATTRIBUTES.pack(_ATTRIBUTES.size, *values)
    syscall(syscall_numbers(native_architecture())["sched_setattr"], 0, attributes, 0)


def ioprio_set(ioprio_class: int, priority: int) -> None:
    """The I/O class of this process's group, and the priority in it, from 0, the highest, to 7."""
    value = ioprio_class << _IOPRIO_CLASS_SHIFT | priority
    syscall(syscall_numbers(native_architecture())["ioprio_set"], _IOPRIO_WHO_PGRP, 0, value)


def parse_numbers(text: str) -> set[int]:
    """The numbers of a list such as ``0-3,7`` (cpuset(7), List format), which is known to be one."""
    numbers: set[int] = set()
    for part in text.replace(" ", "").rstrip("\n").split(","):
        if part:
            first, _dash, last = part.partition("-")
            numbers.update(range(int(first), int(last or first) + 1))
    return numbers


def mask(numbers: set[int], size: int) -> bytes:
    """A bit for each of ``numbers``, in ``size`` bytes of longs as this machine has them. ValueError if one is over."""
    if numbers and max(numbers) >= size * 8:
        raise ValueError(f"{max(numbers)} is more than there can be")
    bits = sum(1 << number for number in numbers)
    longs = [bits >> 64 * index & 0xFFFFFFFFFFFFFFFF for index in range(size // 8)]
    return struct.pack(f"={len(longs)}Q", *longs)


def sched_setaffinity(cpus: set[int]) -> None:
    """The CPUs that this thread may run on; those that are not there count for nothing. EINVAL where none is left."""
    check(libc().sched_setaffinity(0, _MASK_BYTES, mask(cpus, _MASK_BYTES)))
