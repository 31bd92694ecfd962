# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A reaper is a static ELF program of a kilobyte, made here, that is a container's first process: ``init: true``.

Called as ``docker-init -- command ...``, it blocks all signals and forks. The child unblocks them and becomes the
command: the first of a list of paths that can be executed, with argv from the third word on; where none can, it writes
a message to stderr and ends with 127. The parent passes every signal on to it, waits for every process that ends, and
when that one does, ends as it did: with its exit status, or 128 and the number of the signal.

Source: elf(5), pid_namespaces(7), sigtimedwait(2), wait4(2). What the command is looked up in is known when a container
is prepared (PATH), so the code does not look; a path that is not there costs one failing execve(2).
"""

from __future__ import annotations

import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_ADDRESS = 0x400000
_DATA_OFFSET = 0x400
_HEADERS = 64 + 2 * 56
_PAGE = 0x10000  # no architecture of ours has larger ones

# By uname(2)'s name of the machine: ELF's e_machine, and each instruction with what it is assembled to. At 0x400400 are
# the address and the length of the message, at 0x400410 the paths, each with a zero after it, and one more zero.
# Assembled with llvm-mc 14.
_MACHINES = {
    "x86_64": (
        62,
        """
        488b0424      mov rax, [rsp]
        4c8d642418    lea r12, [rsp+24]
        4c8d6cc410    lea r13, [rsp+rax*8+16]
        6aff          push -1
        e8ba000000    call mask
        b839000000    mov eax, 57
        0f05          syscall
        85c0          test eax, eax
        7465          jz child
        89c3          mov ebx, eax
        4889e7        wait: mov rdi, rsp
        31f6          xor esi, esi
        31d2          xor edx, edx
        b880000000    mov eax, 128
        0f05          syscall
        83f811        cmp eax, 17
        7411          je reap
        85c0          test eax, eax
        78e9          js wait
        89df          mov edi, ebx
        89c6          mov esi, eax
        b83e000000    mov eax, 62
        0f05          syscall
        ebdc          jmp wait
        50            reap: push rax
        4883cfff      or rdi, -1
        4889e6        mov rsi, rsp
        ba01000000    mov edx, 1
        4531d2        xor r10d, r10d
        b83d000000    mov eax, 61
        0f05          syscall
        5a            pop rdx
        41ba08000000  mov r10d, 8
        85c0          test eax, eax
        7eba          jle wait
        39d8          cmp eax, ebx
        75da          jne reap
        89d7          mov edi, edx
        83e77f        and edi, 127
        7408          jz exited
        81c780000000  add edi, 128
        eb03          jmp quit
        0fb6fe        exited: movzx edi, dh
        b8e7000000    quit: mov eax, 231
        0f05          syscall
        58            child: pop rax
        6a00          push 0
        e842000000    call mask
        bb10044000    mov ebx, 0x400410
        4889df        try: mov rdi, rbx
        4c89e6        mov rsi, r12
        4c89ea        mov rdx, r13
        b83b000000    mov eax, 59
        0f05          syscall
        48ffc3        end: inc rbx
        807bff00      cmp byte ptr [rbx-1], 0
        75f7          jne end
        803b00        cmp byte ptr [rbx], 0
        75e2          jne try
        bf02000000    mov edi, 2
        be00044000    mov esi, 0x400400
        488b5608      mov rdx, [rsi+8]
        488b36        mov rsi, [rsi]
        b801000000    mov eax, 1
        0f05          syscall
        bf7f000000    mov edi, 127
        ebaf          jmp quit
        bf02000000    mask: mov edi, 2
        488d742408    lea rsi, [rsp+8]
        31d2          xor edx, edx
        41ba08000000  mov r10d, 8
        b80e000000    mov eax, 14
        0f05          syscall
        c3            ret
        """,
    ),
    "aarch64": (
        183,
        """
        e00340f9  ldr x0, [sp]
        f3630091  add x19, sp, #24
        f4430091  add x20, sp, #16
        940e008b  add x20, x20, x0, lsl #3
        ff4300d1  sub sp, sp, #16
        00008092  mov x0, #-1
        e00300f9  str x0, [sp]
        3f000094  bl mask
        200280d2  mov x0, #17
        010080d2  mov x1, #0
        020080d2  mov x2, #0
        030080d2  mov x3, #0
        040080d2  mov x4, #0
        881b80d2  mov x8, #220
        010000d4  svc #0
        400400b4  cbz x0, child
        f50300aa  mov x21, x0
        e0030091  wait: mov x0, sp
        010080d2  mov x1, #0
        020080d2  mov x2, #0
        030180d2  mov x3, #8
        281180d2  mov x8, #137
        010000d4  svc #0
        1f4400f1  cmp x0, #17
        e0000054  b.eq reap
        00ffffb7  tbnz x0, #63, wait
        e10300aa  mov x1, x0
        e00315aa  mov x0, x21
        281080d2  mov x8, #129
        010000d4  svc #0
        f3ffff17  b wait
        00008092  reap: mov x0, #-1
        e1230091  add x1, sp, #8
        220080d2  mov x2, #1
        030080d2  mov x3, #0
        882080d2  mov x8, #260
        010000d4  svc #0
        1f0000f1  cmp x0, #0
        6dfdff54  b.le wait
        1f0015eb  cmp x0, x21
        e1feff54  b.ne reap
        e10b40b9  ldr w1, [sp, #8]
        20180072  ands w0, w1, #127
        60000054  b.eq exited
        00000211  add w0, w0, #128
        02000014  b quit
        203c0853  exited: ubfx w0, w1, #8, #8
        c80b80d2  quit: mov x8, #94
        010000d4  svc #0
        ff0300f9  child: str xzr, [sp]
        14000094  bl mask
        1508a0d2  movz x21, #0x40, lsl #16
        158280f2  movk x21, #0x410
        e00315aa  try: mov x0, x21
        e10313aa  mov x1, x19
        e20314aa  mov x2, x20
        a81b80d2  mov x8, #221
        010000d4  svc #0
        a0164038  end: ldrb w0, [x21], #1
        e0ffff35  cbnz w0, end
        a0024039  ldrb w0, [x21]
        00ffff35  cbnz w0, try
        0308a0d2  movz x3, #0x40, lsl #16
        038080f2  movk x3, #0x400
        400080d2  mov x0, #2
        610840a9  ldp x1, x2, [x3]
        080880d2  mov x8, #64
        010000d4  svc #0
        e00f8052  mov w0, #127
        eaffff17  b quit
        400080d2  mask: mov x0, #2
        e1030091  mov x1, sp
        020080d2  mov x2, #0
        030180d2  mov x3, #8
        e81080d2  mov x8, #135
        010000d4  svc #0
        c0035fd6  ret
        """,
    ),
}


def build_reaper(paths: Sequence[str], message: str, machine: str = "") -> bytes:
    """The ELF file; empty where there is no code for this machine."""
    number, text = _MACHINES.get(machine or os.uname().machine, (0, ""))
    if not number:
        return b""
    code = bytes.fromhex("".join([line.split(None, 1)[0] for line in text.strip().splitlines()]))
    told = message.encode(errors="replace")
    strings = b"".join(os.fsencode(path) + b"\0" for path in paths) + b"\0"
    data = struct.pack("<QQ", _ADDRESS + _DATA_OFFSET + 16 + len(strings), len(told)) + strings + told
    size = _DATA_OFFSET + len(data)
    header = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)  # 64 bits, the low byte first, version 1
    header += struct.pack("<HHIQQQI6H", 2, number, 1, _ADDRESS + _HEADERS, 64, 0, 0, 64, 56, 2, 0, 0, 0)  # ET_EXEC
    header += struct.pack("<II6Q", 1, 5, 0, _ADDRESS, _ADDRESS, size, size, _PAGE)  # PT_LOAD: read, execute
    header += struct.pack("<II6Q", 0x6474E551, 6, 0, 0, 0, 0, 0, 0)  # PT_GNU_STACK: one that cannot be executed
    return (header + code).ljust(_DATA_OFFSET, b"\0") + data
