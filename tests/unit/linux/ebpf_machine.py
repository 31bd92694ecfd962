# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine that runs the eBPF of a cgroup's device program, as the kernel's interpreter does."""

from __future__ import annotations

import struct
import sys

_WORD = 0xFFFFFFFFFFFFFFFF


def run(program: bytes, context: bytes) -> int:
    """What the program returns for a struct bpf_cgroup_dev_ctx. Whatever the verifier would refuse is an error.

    Also that: reading what was not written, a jump back or out of the program, and a read beyond the context.
    """
    registers: dict[int, int | str] = {1: "context"}

    def number(register: int) -> int:
        value = registers[register]
        assert isinstance(value, int), f"r{register} is a pointer"
        return value

    counter = 0
    while True:
        assert 0 <= counter < len(program) // 8, "the program runs off its end"
        code, nibbles, offset, immediate = struct.unpack_from("=BBhi", program, 8 * counter)
        target, source = nibbles & 15, nibbles >> 4
        if sys.byteorder == "big":
            target, source = source, target
        counter += 1
        if code == 0x61:  # ldxw
            assert registers[source] == "context" and offset % 4 == 0 and 0 <= offset <= len(context) - 4
            (registers[target],) = struct.unpack_from("=I", context, offset)
        elif code == 0xB7:
            registers[target] = immediate & _WORD
        elif code == 0xBF:
            registers[target] = registers[source]
        elif code == 0x57:
            registers[target] = number(target) & immediate & _WORD
        elif code == 0x77:
            assert 0 <= immediate < 64
            registers[target] = number(target) >> immediate
        elif code in (0x05, 0x55, 0x45):
            assert offset >= 0, "a jump back"
            taken = code == 0x05 or (
                number(target) != immediate & _WORD if code == 0x55 else bool(number(target) & immediate & _WORD)
            )
            counter += offset if taken else 0
        elif code == 0x95:
            return number(0)
        else:
            raise AssertionError(f"instruction {counter - 1} has code {code:#x}")


def device_context(kind: int, access: int, major: int, minor: int) -> bytes:
    """A struct bpf_cgroup_dev_ctx."""
    return struct.pack("=III", access << 16 | kind, major, minor)
