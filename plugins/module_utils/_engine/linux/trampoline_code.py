# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine code of the trampoline (trampoline.py), an architecture at a time: each line is what one instruction is
assembled to, and the instruction.

All do the same. The table lies at 0x800200. Its first word is the address of the entry to begin with, its second that
of four bytes for digits; then come entries of eight words: a system call's number, five arguments, the address of the
entry that follows a success, that of the one that follows a failure. The arguments of the first are filled in from the
stack: argv[0], &argv[1] and envp, for execve(2). After a failure the four bytes hold the error's number, in octal.

Sources: the conventions of syscall(2), the stack that execve(2) leaves (fs/binfmt_elf.c), linux/elf-em.h; the numbers
are those of syscalls.py, which takes too long to read here (a test compares them). Assembled with llvm-mc 14.
"""

from __future__ import annotations

CALLS = (
    *("execve", "writev", "exit_group", "fcntl", "close", "seccomp", "prctl", "capset", "rt_sigprocmask"),
    *("clone", "setsid", "ioctl", "write", "prlimit64"),
)


class Machine:
    """Bits of a word, byte order, ELF's e_machine and e_flags, the numbers of CALLS, the code."""

    def __init__(self, bits: int, order: str, machine: int, flags: int, numbers: tuple[int, ...], text: str) -> None:
        self.bits = bits
        self.order = order
        self.machine = machine
        self.flags = flags
        self.stack_first = machine == 22  # clone(2) of s390 has its first two arguments swapped
        self.numbers = dict(zip(CALLS, numbers))
        self._text = text

    def code(self) -> bytes:
        return bytes.fromhex("".join([line.split(None, 1)[0] for line in self._text.strip().splitlines()]))


MACHINES = {
    "x86_64": Machine(
        *(64, "<", 62, 0x0),
        (59, 20, 231, 72, 3, 317, 157, 126, 14, 56, 112, 16, 1, 302),
        """
        bb00028000    mov ebx, 0x800200
        488b0424      mov rax, [rsp]
        488d4c2410    lea rcx, [rsp+16]
        488d54c410    lea rdx, [rsp+rax*8+16]
        488b7c2408    mov rdi, [rsp+8]
        48897b18      mov [rbx+24], rdi
        48894b20      mov [rbx+32], rcx
        48895328      mov [rbx+40], rdx
        4c8b6308      mov r12, [rbx+8]
        488b1b        mov rbx, [rbx]
        488b03        next: mov rax, [rbx]
        488b7b08      mov rdi, [rbx+8]
        488b7310      mov rsi, [rbx+16]
        488b5318      mov rdx, [rbx+24]
        4c8b5320      mov r10, [rbx+32]
        4c8b4328      mov r8, [rbx+40]
        0f05          syscall
        483d00f0ffff  cmp rax, -4096
        7706          ja failed
        488b5b30      mov rbx, [rbx+48]
        ebd9          jmp next
        f7d8          failed: neg eax
        b903000000    mov ecx, 3
        89c2          digit: mov edx, eax
        83e207        and edx, 7
        83c230        add edx, 48
        4188140c      mov [r12+rcx], dl
        c1e803        shr eax, 3
        ffc9          dec ecx
        79ed          jns digit
        488b5b38      mov rbx, [rbx+56]
        ebb9          jmp next
        """,
    ),
    "x86": Machine(
        *(32, "<", 3, 0x0),
        (11, 146, 252, 55, 6, 354, 172, 185, 175, 120, 66, 54, 4, 340),
        """
        bd00028000  mov ebp, 0x800200
        8b0424      mov eax, [esp]
        8d4c2408    lea ecx, [esp+8]
        8d548408    lea edx, [esp+eax*4+8]
        8b5c2404    mov ebx, [esp+4]
        895d0c      mov [ebp+12], ebx
        894d10      mov [ebp+16], ecx
        895514      mov [ebp+20], edx
        8b6d00      mov ebp, [ebp]
        8b4500      next: mov eax, [ebp]
        8b5d04      mov ebx, [ebp+4]
        8b4d08      mov ecx, [ebp+8]
        8b550c      mov edx, [ebp+12]
        8b7510      mov esi, [ebp+16]
        8b7d14      mov edi, [ebp+20]
        cd80        int 0x80
        3d00f0ffff  cmp eax, -4096
        7705        ja failed
        8b6d18      mov ebp, [ebp+24]
        ebe0        jmp next
        f7d8        failed: neg eax
        be00028000  mov esi, 0x800200
        8b7604      mov esi, [esi+4]
        b903000000  mov ecx, 3
        89c2        digit: mov edx, eax
        83e207      and edx, 7
        83c230      add edx, 48
        88140e      mov [esi+ecx], dl
        c1e803      shr eax, 3
        49          dec ecx
        79ef        jns digit
        8b6d1c      mov ebp, [ebp+28]
        ebbb        jmp next
        """,
    ),
    "aarch64": Machine(
        *(64, "<", 183, 0x0),
        (221, 66, 94, 25, 57, 277, 167, 91, 135, 220, 157, 29, 64, 261),
        """
        144080d2  mov x20, #0x200
        1410a0f2  movk x20, #0x80, lsl #16
        e00340f9  ldr x0, [sp]
        e1430091  add x1, sp, #16
        220c008b  add x2, x1, x0, lsl #3
        e00740f9  ldr x0, [sp, #8]
        808601a9  stp x0, x1, [x20, #24]
        821600f9  str x2, [x20, #40]
        950640f9  ldr x21, [x20, #8]
        940240f9  ldr x20, [x20]
        880240a9  next: ldp x8, x0, [x20]
        810a41a9  ldp x1, x2, [x20, #16]
        831242a9  ldp x3, x4, [x20, #32]
        010000d4  svc #0
        1ffc3fb1  cmn x0, #4095
        62000054  b.hs failed
        941a40f9  ldr x20, [x20, #48]
        f9ffff17  b next
        e00300cb  failed: neg x0, x0
        610080d2  mov x1, #3
        02080012  digit: and w2, w0, #7
        42c00011  add w2, w2, #48
        a26a2138  strb w2, [x21, x1]
        007c0353  lsr w0, w0, #3
        210400f1  subs x1, x1, #1
        65ffff54  b.pl digit
        941e40f9  ldr x20, [x20, #56]
        efffff17  b next
        """,
    ),
    "arm": Machine(
        *(32, "<", 40, 0x5000000),
        (11, 146, 248, 55, 6, 383, 172, 185, 175, 120, 66, 54, 4, 369),
        """
        008200e3  movw r8, #0x200
        808040e3  movt r8, #0x80
        00009de5  ldr r0, [sp]
        08108de2  add r1, sp, #8
        002181e0  add r2, r1, r0, lsl #2
        04009de5  ldr r0, [sp, #4]
        0c0088e5  str r0, [r8, #12]
        101088e5  str r1, [r8, #16]
        142088e5  str r2, [r8, #20]
        049098e5  ldr r9, [r8, #4]
        008098e5  ldr r8, [r8]
        007098e5  next: ldr r7, [r8]
        040098e5  ldr r0, [r8, #4]
        081098e5  ldr r1, [r8, #8]
        0c2098e5  ldr r2, [r8, #12]
        103098e5  ldr r3, [r8, #16]
        144098e5  ldr r4, [r8, #20]
        000000ef  svc #0
        010a70e3  cmn r0, #4096
        0100008a  bhi failed
        188098e5  ldr r8, [r8, #24]
        f4ffffea  b next
        000060e2  failed: rsb r0, r0, #0
        0310a0e3  mov r1, #3
        072000e2  digit: and r2, r0, #7
        302082e2  add r2, r2, #48
        0120c9e7  strb r2, [r9, r1]
        a001a0e1  lsr r0, r0, #3
        011051e2  subs r1, r1, #1
        f9ffff5a  bpl digit
        1c8098e5  ldr r8, [r8, #28]
        eaffffea  b next
        """,
    ),
    "riscv64": Machine(
        *(64, "<", 243, 0x0),
        (221, 66, 94, 25, 57, 277, 167, 91, 135, 220, 157, 29, 64, 261),
        """
        37048000  lui s0, 0x800
        13040420  addi s0, s0, 0x200
        83320100  ld t0, 0(sp)
        93050101  addi a1, sp, 16
        93923200  slli t0, t0, 3
        33865500  add a2, a1, t0
        03358100  ld a0, 8(sp)
        233ca400  sd a0, 24(s0)
        2330b402  sd a1, 32(s0)
        2334c402  sd a2, 40(s0)
        83348400  ld s1, 8(s0)
        03340400  ld s0, 0(s0)
        83380400  next: ld a7, 0(s0)
        03358400  ld a0, 8(s0)
        83350401  ld a1, 16(s0)
        03368401  ld a2, 24(s0)
        83360402  ld a3, 32(s0)
        03378402  ld a4, 40(s0)
        73000000  ecall
        b7f2ffff  lui t0, 0xfffff
        63e6a200  bltu t0, a0, failed
        03340403  ld s0, 48(s0)
        6ff09ffd  j next
        3305a040  failed: neg a0, a0
        93823400  addi t0, s1, 3
        13737500  digit: andi t1, a0, 7
        13030303  addi t1, t1, 48
        23806200  sb t1, 0(t0)
        13553500  srli a0, a0, 3
        9382f2ff  addi t0, t0, -1
        e3f692fe  bgeu t0, s1, digit
        03348403  ld s0, 56(s0)
        6ff01ffb  j next
        """,
    ),
    "ppc64le": Machine(
        *(64, "<", 21, 0x2),
        (11, 146, 234, 55, 6, 358, 171, 184, 174, 120, 66, 54, 4, 325),
        """
        8000c03f  lis 30, 0x80
        0002de63  ori 30, 30, 0x200
        0000a1e8  ld 5, 0(1)
        10008138  addi 4, 1, 16
        241fa578  sldi 5, 5, 3
        142aa47c  add 5, 4, 5
        080061e8  ld 3, 8(1)
        18007ef8  std 3, 24(30)
        20009ef8  std 4, 32(30)
        2800bef8  std 5, 40(30)
        0800feeb  ld 31, 8(30)
        0000deeb  ld 30, 0(30)
        00001ee8  next: ld 0, 0(30)
        08007ee8  ld 3, 8(30)
        10009ee8  ld 4, 16(30)
        1800bee8  ld 5, 24(30)
        2000dee8  ld 6, 32(30)
        2800fee8  ld 7, 40(30)
        02000044  sc
        0c008341  bso failed
        3000deeb  ld 30, 48(30)
        dcffff4b  b next
        03009f38  failed: addi 4, 31, 3
        07006570  digit: andi. 5, 3, 7
        3000a538  addi 5, 5, 48
        0000a498  stb 5, 0(4)
        c2e86378  srdi 3, 3, 3
        ffff8438  addi 4, 4, -1
        40f8247c  cmpld 4, 31
        e8ff8040  bge digit
        3800deeb  ld 30, 56(30)
        b4ffff4b  b next
        """,
    ),
    "s390x": Machine(
        *(64, ">", 22, 0x0),
        (11, 146, 248, 55, 6, 348, 172, 185, 175, 120, 66, 54, 4, 334),
        """
        c08100800200  lgfi %r8, 0x800200
        e340f0000004  lg %r4, 0(%r15)
        4130f010      la %r3, 16(%r15)
        eb440003000d  sllg %r4, %r4, 3
        41443000      la %r4, 0(%r4,%r3)
        e320f0080004  lg %r2, 8(%r15)
        e32080180024  stg %r2, 24(%r8)
        e33080200024  stg %r3, 32(%r8)
        e34080280024  stg %r4, 40(%r8)
        e39080080004  lg %r9, 8(%r8)
        e38080000004  lg %r8, 0(%r8)
        e31080000004  next: lg %r1, 0(%r8)
        e32080080004  lg %r2, 8(%r8)
        e33080100004  lg %r3, 16(%r8)
        e34080180004  lg %r4, 24(%r8)
        e35080200004  lg %r5, 32(%r8)
        e36080280004  lg %r6, 40(%r8)
        0a00          svc 0
        a719f000      lghi %r1, -4096
        ec2100082065  clgrjh %r2, %r1, failed
        e38080300004  lg %r8, 48(%r8)
        a7f4ffe5      j next
        b9030022      failed: lcgr %r2, %r2
        41309003      la %r3, 3(%r9)
        a7490007      digit: lghi %r4, 7
        b9800042      ngr %r4, %r2
        a74b0030      aghi %r4, 48
        42403000      stc %r4, 0(%r3)
        eb220003000c  srlg %r2, %r2, 3
        a73bffff      aghi %r3, -1
        ec39fff3a065  clgrjhe %r3, %r9, digit
        e38080380004  lg %r8, 56(%r8)
        a7f4ffcc      j next
        """,
    ),
}
