# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""bpf(2), as far as programs on a cgroup need it, and the few instructions that such a program is made of.

A function per command and per instruction; bytes in, bytes out. What is attached to a cgroup stays when the descriptors
and the process that opened them are gone, and goes with the cgroup. Every descriptor closes on exec (the kernel's
doing). Errors: OSError. Source: linux/bpf.h of Linux 6.1; Documentation/bpf/standardization/instruction-set.rst.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

from .libc import syscall
from .seccomp_profile import native_architecture

# Also in syscall_numbers(), whose tables take long to read. test_bpf.py compares them.
SYS_BPF = {
    "x86_64": 321,
    "x86": 357,
    "arm": 386,
    "ppc64le": 361,
    "s390x": 351,
    **dict.fromkeys(("aarch64", "riscv64", "loongarch64"), 280),
}

BPF_PROG_LOAD = 5
BPF_PROG_ATTACH = 8
BPF_PROG_DETACH = 9
BPF_PROG_GET_FD_BY_ID = 13
BPF_PROG_QUERY = 16

BPF_PROG_TYPE_CGROUP_DEVICE = 15  # Linux 4.15, as all that it needs here
BPF_CGROUP_DEVICE = 6
BPF_F_ALLOW_MULTI = 2
BPF_CGROUP_MAX_PROGS = 64  # kernel/bpf/cgroup.c

_LITTLE = sys.byteorder == "little"


def bpf(command: int, attributes: bytes | ctypes.Array[ctypes.c_char]) -> int:
    """bpf(2). What the kernel answers in ``attributes`` needs a buffer that can be written to."""
    number = SYS_BPF.get(native_architecture())
    if number is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    return syscall(number, command, attributes, len(attributes))


def load_program(kind: int, instructions: bytes, name: str) -> int:
    """BPF_PROG_LOAD: a descriptor of a program that the kernel has verified. ``name``: 15 letters, digits, _ or dot."""
    code = ctypes.create_string_buffer(instructions, len(instructions))
    licence = ctypes.create_string_buffer(b"GPL")
    # prog_type, insn_cnt, insns, license, log_level, log_size, log_buf, kern_version, prog_flags, prog_name
    attributes = struct.pack(
        "=IIQQIIQII16s",
        kind,
        len(instructions) // 8,
        ctypes.addressof(code),
        ctypes.addressof(licence),
        *(0, 0, 0, 0, 0),
        name.encode(),
    )
    return bpf(BPF_PROG_LOAD, attributes)


def attach_program(cgroup: int, program: int, where: int, flags: int = BPF_F_ALLOW_MULTI) -> None:
    """BPF_PROG_ATTACH, beside what is attached to the cgroup or to those above it already: all of them have a say."""
    bpf(BPF_PROG_ATTACH, struct.pack("=IIII", cgroup, program, where, flags))


def detach_program(cgroup: int, program: int, where: int) -> None:
    """BPF_PROG_DETACH of this very program."""
    bpf(BPF_PROG_DETACH, struct.pack("=IIII", cgroup, program, where, 0))


def query_programs(cgroup: int, where: int) -> list[int]:
    """BPF_PROG_QUERY: the ids of what is attached to the cgroup itself."""
    ids = (ctypes.c_uint32 * BPF_CGROUP_MAX_PROGS)()
    # target_fd, attach_type, query_flags, attach_flags, prog_ids, prog_cnt, and four bytes to align
    request = struct.pack("=IIIIQI4x", cgroup, where, 0, 0, ctypes.addressof(ids), BPF_CGROUP_MAX_PROGS)
    attributes = ctypes.create_string_buffer(request, len(request))
    bpf(BPF_PROG_QUERY, attributes)
    count: int = struct.unpack_from("=I", attributes, 24)[0]
    return ids[:count]


def open_program(program_id: int) -> int:
    """BPF_PROG_GET_FD_BY_ID: a descriptor of a program that is loaded."""
    return bpf(BPF_PROG_GET_FD_BY_ID, struct.pack("=III", program_id, 0, 0))


# Instructions: registers are 0 to 10, immediates have 32 bits, jumps count from the next instruction ---------------


def instruction(code: int, target: int = 0, source: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    """struct bpf_insn, in this machine's byte order; the registers are bit fields, which turn with it."""
    registers = target | source << 4 if _LITTLE else target << 4 | source
    return struct.pack("=BBhI", code, registers, offset, immediate & 0xFFFFFFFF)


def load_word(target: int, source: int, offset: int) -> bytes:
    """target = *(u32 *)(source + offset)"""
    return instruction(0x61, target, source, offset)


def move(target: int, immediate: int) -> bytes:
    """target = immediate"""
    return instruction(0xB7, target, immediate=immediate)


def move_register(target: int, source: int) -> bytes:
    """target = source"""
    return instruction(0xBF, target, source)


def bitwise_and(target: int, immediate: int) -> bytes:
    """target &= immediate"""
    return instruction(0x57, target, immediate=immediate)


def shift_right(target: int, immediate: int) -> bytes:
    """target >>= immediate"""
    return instruction(0x77, target, immediate=immediate)


def jump(offset: int) -> bytes:
    """goto offset"""
    return instruction(0x05, offset=offset)


def jump_not_equal(target: int, immediate: int, offset: int) -> bytes:
    """if target != immediate goto offset; from 2**31 on the immediate is negative, so no 32-bit value equals it."""
    return instruction(0x55, target, offset=offset, immediate=immediate)


def jump_any_bit(target: int, immediate: int, offset: int) -> bytes:
    """if target & immediate goto offset"""
    return instruction(0x45, target, offset=offset, immediate=immediate)


def end() -> bytes:
    """return r0"""
    return instruction(0x95)
