# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The NUMA memory policy of a process: set_mempolicy(2), linux/mempolicy.h. Errors: OSError."""

from __future__ import annotations

from .libc import syscall
from .scheduler import mask
from .seccomp_profile import native_architecture
from .syscalls import syscall_numbers

MODES = {
    "MPOL_DEFAULT": 0,
    "MPOL_PREFERRED": 1,
    "MPOL_BIND": 2,
    "MPOL_INTERLEAVE": 3,
    "MPOL_LOCAL": 4,
    "MPOL_PREFERRED_MANY": 5,  # Linux 5.15
    "MPOL_WEIGHTED_INTERLEAVE": 6,  # Linux 6.9
}
FLAGS = {
    "MPOL_F_NUMA_BALANCING": 1 << 13,  # Linux 5.12
    "MPOL_F_RELATIVE_NODES": 1 << 14,
    "MPOL_F_STATIC_NODES": 1 << 15,
}

_MASK_BYTES = 128  # 1024 nodes, as many as any kernel is built for


def set_mempolicy(mode: int, flags: int, nodes: set[int]) -> None:
    """The policy of this thread, which its programs and children keep."""
    content = mask(nodes, _MASK_BYTES) if nodes else None
    # The kernel leaves the last bit out (get_nodes() in mm/mempolicy.c): hence one more than there are.
    bits = _MASK_BYTES * 8 + 1 if nodes else 0
    syscall(syscall_numbers(native_architecture())["set_mempolicy"], mode | flags, content, bits)
