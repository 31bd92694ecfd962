# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A trampoline is a static ELF program of a kilobyte, made here, that a container's process becomes before its payload.

While a process of ours runs in a container, /proc/self/exe there is the host's Python. Were that executed (as the
entrypoint, by a ``#!`` line, as an ELF interpreter) or opened from inside, the host's file could be written to
(CVE-2019-5736). So the process first becomes a trampoline, out of a file in memory that is sealed and that no two
processes share; what /proc/self/exe leads to when the payload is executed is that.

It runs a table of system calls, in this order: the capabilities that an execve(2) in between would lose are set, the
pipes to its creator are made to close on exec, the seccomp filter is installed, and execve(2): argv[0] is the payload's
path, the rest its argv. An error is told to the pipe as a line of JSON, ``{"failed": "exec x", "errno": "0002"}``
(octal), and the exit status is 127. As the last call before execve(2) is seccomp(2), a filter need allow nothing else.
Whoever executes the trampoline again, as a payload, gets that status too: the pipe is not open there.

What enters the pid namespace of others is born here, too (Birth): nothing of ours that runs Python, or holds more
capabilities and descriptors than the payload, is ever seen from inside.

Source: elf(5), execve(2), capabilities(7), memfd_create(2); trampoline_code.py has the machine code.
"""

from __future__ import annotations

import fcntl
import os
import struct

from .lean import Descriptor, dumps
from .trampoline_code import MACHINES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Union

    from .trampoline_code import Machine

    Argument = Union[int, bytes]  # bytes stand for their address

# The file is mapped twice: its code at one address, its table, which is written to, at the other.
_CODE, _DATA = 0x400000, 0x800000
_ENTRY_OFFSET, _TABLE_OFFSET = 0xE8, 0x200
# Words of the table: the start and a pointer to the digits, the entry of execve(2), that of seccomp(2), struct
# sock_fprog, whose pointer leads to the end of the file.
_EXECVE, _SECCOMP, _FPROG = 2, 10, 18
_FLAGS = _SECCOMP + 2
_FILTER_SIZE = 4096 * 8  # BPF_MAXINSNS
_PAGE = 0x10000  # no architecture of ours has larger ones

_F_GETFD, _F_SETFD, _FD_CLOEXEC = 1, 2, 1
_SECCOMP_SET_MODE_FILTER = 1
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_LOWER = 47, 3
_LINUX_CAPABILITY_VERSION_3 = 0x20080522
_SIG_BLOCK, _SIGPIPE, _SIGKILL = 0, 13, 9
_CLONE_PARENT, _CLONE_PARENT_SETTID = 0x8000, 0x100000
_PR_SET_PDEATHSIG = 1
_TIOCSCTTY = 0x540E
_RLIMIT_NPROC = 6
_FAILED = 127
_NOWHERE = 0  # after exit_group(2), which a filter may forbid: the address 0 ends the process all the same

# linux/memfd.h, linux/fcntl.h
MFD_EXEC = 0x10  # Linux 6.3
F_ADD_SEALS = 1033
F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE = 1, 2, 4, 8


class Capabilities:
    """The sets that the payload shall be executed with, where those that execve(2) leaves are fewer."""

    def __init__(self, effective: int, permitted: int, inheritable: int, ambient: int) -> None:
        self.effective = effective
        self.permitted = permitted
        self.inheritable = inheritable
        self.ambient = ambient


class Birth:
    """Have the trampoline start a process that goes on, as a child of the caller's parent; the caller ends.

    It leads a session, with the terminal on 0 as the controlling one where ``terminal``. ``announce`` is a pipe that
    gets its pid, as four bytes. RLIMIT_NPROC (``processes``: soft, hard) is for that process alone, not to hinder its
    own birth. The caller leads a process group, as else the two could not tell who they are: setsid(2) fails in it.
    """

    def __init__(self, announce: int) -> None:
        self.announce = announce
        self.die_with_parent = False
        self.terminal = False
        self.processes: tuple[int, int] | None = None


def own_machine() -> Machine | None:
    """The machine that this Python is compiled for; None where there is no code for it."""
    name, bits = os.uname().machine, 8 * struct.calcsize("P")
    for prefix, known in (("i", "x86"), ("arm", "arm")):
        if name.startswith(prefix):
            name = known
    if bits == 32:  # a 32-bit Python on a 64-bit kernel; one for x32 finds nothing
        name = {"aarch64": "arm", "x86_64": "x86" if struct.calcsize("l") == struct.calcsize("q") else ""}.get(
            name, name
        )
    machine = MACHINES.get(name)
    return machine if machine and machine.bits == bits else None


def build_trampoline(
    machine: Machine,
    teller: int,
    told: str,
    *,
    held: Sequence[int] = (),
    filtered: bool = False,
    capabilities: Capabilities | None = None,
    birth: Birth | None = None,
) -> bytes:
    """The ELF file. ``teller`` is the pipe's descriptor, ``told`` what it says of a failing execve; ``held`` are
    further descriptors that tell somebody by their end that the payload runs. Where ``filtered``, add_filter() comes
    next (and no_new_privs must be set)."""
    table = _Table(machine)
    give_up = table.add("exit_group", _FAILED)
    table.execute(otherwise=table.tell(teller, told, give_up))
    step = table.first
    if filtered:
        step = table.install(step, otherwise=table.tell(teller, "load the seccomp filter", give_up))
    for fd in (teller, *held):
        close = table.add("close", fd, then=step, otherwise=give_up)
        step = table.add("fcntl", fd, _F_SETFD, _FD_CLOEXEC, then=step, otherwise=close)
    if capabilities:
        step = _set_capabilities(table, capabilities, step, table.tell(teller, "set the capabilities", give_up))
    if birth:
        step = _bear(table, birth, step, lambda what: table.tell(teller, what, give_up))
        step = table.add("fcntl", teller, _F_GETFD, then=step, otherwise=give_up)
    return table.assemble(start=step)


def add_filter(machine: Machine, trampoline: bytes, program: bytes, flags: int) -> bytes:
    """The trampoline with the seccomp filter ``program``, to be installed with ``flags``."""
    content, word = bytearray(trampoline), machine.bits // 8
    struct.pack_into(machine.order + ("I" if word == 4 else "Q"), content, _TABLE_OFFSET + _FLAGS * word, flags)
    struct.pack_into(machine.order + "H", content, _TABLE_OFFSET + _FPROG * word, len(program) // 8)
    return bytes(content) + program


def _set_capabilities(table: _Table, sets: Capabilities, step: int, otherwise: int) -> int:
    """capset(2), which takes from the ambient set what is not inheritable; then that what else is not wanted there."""
    left = sets.permitted & sets.inheritable & ~sets.ambient
    for number in range(left.bit_length()):
        if left >> number & 1:
            step = table.add(
                "prctl", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_LOWER, number, 0, 0, then=step, otherwise=otherwise
            )
    masks = (sets.effective, sets.permitted, sets.inheritable)
    order = table.machine.order
    data = struct.pack(order + "6I", *(mask & 0xFFFFFFFF for mask in masks), *(mask >> 32 for mask in masks))
    header = struct.pack(order + "Ii", _LINUX_CAPABILITY_VERSION_3, 0)
    return table.add("capset", header, data, then=step, otherwise=otherwise)


def _bear(table: _Table, birth: Birth, step: int, failed: Callable[[str], int]) -> int:
    step = table.add("close", birth.announce, then=step, otherwise=step)
    if birth.processes:
        limit = struct.pack(table.machine.order + "QQ", *birth.processes)  # struct rlimit64
        otherwise = failed("set RLIMIT_NPROC")
        step = table.add("prlimit64", 0, _RLIMIT_NPROC, limit, 0, then=step, otherwise=otherwise)
    if birth.terminal:
        step = table.add("ioctl", 0, _TIOCSCTTY, 0, then=step, otherwise=failed("take the terminal"))
    if birth.die_with_parent:
        step = table.add("prctl", _PR_SET_PDEATHSIG, _SIGKILL, then=step, otherwise=step)
    pid = table.address(bytes(4))
    end = table.add("exit_group", 0)
    parent = table.add("write", birth.announce, pid, 4, then=end, otherwise=end)
    branch = table.add("setsid", then=step, otherwise=parent)
    flags = _CLONE_PARENT | _CLONE_PARENT_SETTID  # the exit signal is the caller's own
    arguments = (0, flags, pid) if table.machine.stack_first else (flags, 0, pid)
    return table.add("clone", *arguments, then=branch, otherwise=failed("start a process"))


class _Table:
    """The table and the data that it points to, written from the end of what happens to its beginning."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._word = "I" if machine.bits == 32 else "Q"
        self._content = bytearray((_FPROG + 2) * machine.bits // 8)
        self._room = 0
        self.first = self._place(_EXECVE)
        self._digits = self.address(b'0000"}\n')

    def pack(self, *words: int) -> bytes:
        return struct.pack(f"{self.machine.order}{len(words)}{self._word}", *words)

    def address(self, content: bytes) -> int:
        """Where ``content`` is, from now on."""
        self._content += bytes(-len(self._content) % 8)
        here = _DATA + _TABLE_OFFSET + len(self._content)
        self._content += content
        return here

    def _entry(self, call: str, arguments: Sequence[Argument], then: int, otherwise: int) -> bytes:
        words = [self.address(word) if isinstance(word, bytes) else word for word in arguments]
        words += [0] * (5 - len(words))
        return self.pack(self.machine.numbers[call], *words, then, otherwise)

    def add(self, call: str, *arguments: Argument, then: int = _NOWHERE, otherwise: int = _NOWHERE) -> int:
        """An entry; its address."""
        return self.address(self._entry(call, arguments, then, otherwise))

    def _place(self, index: int) -> int:
        """The address of a word of the table."""
        return _DATA + _TABLE_OFFSET + index * self.machine.bits // 8

    def _put(self, index: int, content: bytes) -> int:
        start = index * self.machine.bits // 8
        self._content[start : start + len(content)] = content
        return self._place(index)

    def execute(self, *, otherwise: int) -> None:
        """The entry whose arguments come from the stack."""
        self._put(_EXECVE, self._entry("execve", (), _NOWHERE, otherwise))

    def install(self, then: int, *, otherwise: int) -> int:
        """The entry whose filter and flags come later."""
        self._room = _FILTER_SIZE
        arguments = (_SECCOMP_SET_MODE_FILTER, 0, self._place(_FPROG))
        return self._put(_SECCOMP, self._entry("seccomp", arguments, then, otherwise))

    def tell(self, teller: int, what: str, then: int) -> int:
        """Say that ``what`` failed, in one write(2) to a pipe that perhaps nobody reads any more."""
        prefix = b'{"failed": %s, "errno": "' % dumps(what[:500]).encode()
        parts = self.pack(self.address(prefix), len(prefix), self._digits, len(b'0000"}\n'))
        write = self.add("writev", teller, parts, 2, then=then, otherwise=then)
        signals = struct.pack(self.machine.order + "Q", 1 << (_SIGPIPE - 1))
        return self.add("rt_sigprocmask", _SIG_BLOCK, signals, 0, len(signals), then=write, otherwise=write)

    def assemble(self, *, start: int) -> bytes:
        """The file."""
        machine, size = self.machine, self.machine.bits // 8
        self._content[: 2 * size] = self.pack(start, self._digits)
        self._content += bytes(-len(self._content) % 8)
        total = _TABLE_OFFSET + len(self._content)
        self._put(_FPROG + 1, self.pack(_DATA + total))
        total += self._room
        wide = machine.bits == 64
        identity = b"\x7fELF" + bytes([2 if wide else 1, 1 if machine.order == "<" else 2, 1]) + bytes(9)
        header = struct.pack(
            f"{machine.order}HHI3{self._word}I6H",
            *(2, machine.machine, 1),  # ET_EXEC
            *(_CODE + _ENTRY_OFFSET, 64 if wide else 52, 0, machine.flags),
            *(64 if wide else 52, 56 if wide else 32, 3, 0, 0, 0),
        )
        segments = [_segment(machine, 1, flags, at, total) for at, flags in ((_CODE, 5), (_DATA, 6))]  # PT_LOAD: RX, RW
        segments.append(_segment(machine, 0x6474E551, 6, 0, 0))  # PT_GNU_STACK: one that cannot be executed
        headers = identity + header + b"".join(segments)
        return (headers.ljust(_ENTRY_OFFSET, b"\0") + machine.code()).ljust(_TABLE_OFFSET, b"\0") + bytes(self._content)


def _segment(machine: Machine, kind: int, flags: int, address: int, size: int) -> bytes:
    if machine.bits == 64:
        return struct.pack(machine.order + "II6Q", kind, flags, 0, address, address, size, size, _PAGE)
    return struct.pack(machine.order + "8I", kind, 0, address, address, size, size, flags, _PAGE)


def observe_memfd_noexec() -> int:
    """vm.memfd_noexec of this pid namespace: 2 where no file in memory can be executed; 0 before Linux 6.3."""
    try:
        with Descriptor(os.open("/proc/sys/vm/memfd_noexec", os.O_RDONLY | os.O_CLOEXEC)) as fd:
            return int(os.read(fd, 16))
    except OSError:
        return 0


# What runc's sealed copy of itself is called: by that name, those who watch over hosts know that a container starts.
_NAME = "runc_cloned:/proc/self/exe"


def open_sealed(content: bytes) -> int:
    """A file in memory that can be executed, and that nobody can change any more; it closes on exec.

    Raises PermissionError where vm.memfd_noexec is 2 and there is no other way.
    """
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        fd = os.memfd_create(_NAME, flags | MFD_EXEC)
    except PermissionError:
        from .tmpfs_file import open_on_tmpfs  # rarely needed, and loaded then: see Execution.preload()

        return open_on_tmpfs(content)
    except OSError:  # EINVAL: Linux before 6.3
        fd = os.memfd_create(_NAME, flags)
    os.write(fd, content)
    fcntl.fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
    return fd
