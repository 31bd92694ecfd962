"""A machine that runs classic BPF over a struct seccomp_data, as the kernel's interpreter does."""

from __future__ import annotations

import struct
from collections.abc import Sequence


def decode(program: bytes, byte_order: str = "<") -> list[tuple[int, int, int, int]]:
    """The instructions (code, jt, jf, k) of a program."""
    return [struct.unpack_from(byte_order + "HBBI", program, offset) for offset in range(0, len(program), 8)]


def run(code: list[tuple[int, int, int, int]], data: bytes, byte_order: str = "<") -> int:
    """What the program returns for ``data``. An instruction that seccomp does not allow is an error."""
    counter, accumulator = 0, 0
    while True:
        operation, jt, jf, k = code[counter]
        counter += 1
        if operation == 0x20:
            (accumulator,) = struct.unpack_from(byte_order + "I", data, k)
        elif operation == 0x54:
            accumulator &= k
        elif operation == 0x05:
            counter += k
        elif operation == 0x15:
            counter += jt if accumulator == k else jf
        elif operation == 0x25:
            counter += jt if accumulator > k else jf
        elif operation == 0x35:
            counter += jt if accumulator >= k else jf
        elif operation == 0x06:
            return k
        else:
            raise AssertionError(f"instruction {counter - 1} has code {operation:#x}")


def seccomp_data(audit_arch: int, number: int, arguments: Sequence[int] = (), byte_order: str = "<") -> bytes:
    """A struct seccomp_data with the given system call."""
    padded = [*arguments, 0, 0, 0, 0, 0, 0][:6]
    return struct.pack(byte_order + "IIQ6Q", number & 0xFFFFFFFF, audit_arch, 0x7F0012345678, *padded)
