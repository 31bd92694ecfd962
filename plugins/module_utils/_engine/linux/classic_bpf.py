# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An assembler for classic BPF whose jumps always reach.

A classic BPF program only jumps forward, over at most 255 instructions where the jump is conditional. So it is written
backwards, last instruction first: whatever an instruction leads to is there already, and where that is too far away a
stepping stone is laid between. A position is the count of instructions written before the one it names.

Source: linux/filter.h and linux/bpf_common.h, Documentation/networking/filter.rst of Linux 6.1.
"""

from __future__ import annotations

import struct

LD_W_ABS = 0x20
ALU_AND_K = 0x54
JMP_JA = 0x05
JMP_JEQ_K = 0x15
JMP_JGT_K = 0x25
JMP_JGE_K = 0x35
RET_K = 0x06

BPF_MAXINSNS = 4096
_REACH = 256  # a jump of 255 skips 255 instructions: its target was written up to 256 before it


class Program:
    """Instructions written backwards. The methods return the position of what they wrote."""

    def __init__(self) -> None:
        self._code: list[tuple[int, int, int, int]] = []
        self._returns: dict[int, int] = {}

    def ret(self, value: int) -> int:
        """Return ``value``; one instruction serves all who can reach it."""
        position = self._returns.get(value)
        if position is None or len(self._code) - position >= _REACH:
            position = self._returns[value] = self._write(RET_K, 0, 0, value)
        return position

    def jump(self, test: int, operand: int, yes: int, no: int) -> int:
        """Go to ``yes`` where the accumulator passes ``test`` against ``operand``, else to ``no``."""
        if yes == no:
            return yes
        yes = self._within_reach(yes, 1)  # the other branch may need a stone, which would stand in between
        no = self._within_reach(no, 0)
        here = len(self._code)
        return self._write(test, here - yes - 1, here - no - 1, operand)

    def load(self, offset: int, then: int, mask: int = 0xFFFFFFFF) -> int:
        """Load the 32 bits at ``offset``, keep those of ``mask``, and go on at ``then``."""
        if then != len(self._code) - 1:
            self._jump_always(then)
        if mask != 0xFFFFFFFF:
            self._write(ALU_AND_K, 0, 0, mask)
        return self._write(LD_W_ABS, 0, 0, offset)

    def assemble(self, start: int, byte_order: str) -> bytes:
        """The program that begins at ``start`` as an array of struct sock_filter; ``byte_order`` is < or >."""
        if start != len(self._code) - 1:
            self._jump_always(start)
        if len(self._code) > BPF_MAXINSNS:
            raise OverflowError(f"the filter has {len(self._code)} instructions; the kernel takes {BPF_MAXINSNS}")
        fields = [field for instruction in reversed(self._code) for field in instruction]
        return struct.pack(byte_order + "HBBI" * len(self._code), *fields)

    def _within_reach(self, target: int, slack: int) -> int:
        if len(self._code) + slack - target <= _REACH:
            return target
        code, _jt, _jf, value = self._code[target]
        return self.ret(value) if code == RET_K else self._jump_always(target)

    def _jump_always(self, target: int) -> int:
        return self._write(JMP_JA, 0, 0, len(self._code) - target - 1)

    def _write(self, code: int, jt: int, jf: int, k: int) -> int:
        self._code.append((code, jt, jf, k))
        return len(self._code) - 1
