# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A seccomp filter is compiled from OCI's ``linux.seccomp`` by a pure function, and installed by one system call.

``compile_filter`` gives the verdicts that runc gives through libseccomp:

- names that an architecture does not have are left out there; a rule that says what the default says is left out;
- a rule without arguments decides its system call alone, whichever other rules name it; the first such rule counts.
  Among rules with arguments the first that matches decides;
- a system call newer than the newest that the profile names (so newer than the profile) fails with ENOSYS, so that
  programs fall back to an older one, unless the default lets it through anyway;
- a system call through an architecture that is not listed kills the thread. The machine's own is always listed;
- arguments have 64 bits; on x86, x32 and arm only the lower half is compared;
- ``socket``, ``shmget`` and so on also stand for their share of socketcall(2) and ipc(2). Where such a rule looks at
  arguments, which a filter cannot follow there, it denies its share or leaves it to the default. In this libseccomp
  differs: it ignores the arguments, and so allows what the profile means to limit.

The program is a binary search over ranges of numbers with one verdict each: no system call costs more than a dozen
comparisons. Source: seccomp(2), linux/seccomp.h; libseccomp 2.5.4 and runc 1.1.5 for what runtime-spec leaves open.
"""

from __future__ import annotations

import ctypes
import errno
import struct

from ..errors import InvalidOption
from .classic_bpf import JMP_JEQ_K, JMP_JGE_K, JMP_JGT_K, Program
from .libc import check, libc, syscall
from .seccomp_profile import (
    ACTIONS,
    ARCHITECTURES,
    SECCOMP_FILTER_FLAG_NEW_LISTENER,
    native_architecture,
    parse_architectures,
    parse_default,
    parse_rules,
)
from .syscalls import MULTIPLEXED, syscall_numbers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any, Union

    from .seccomp_profile import Comparison, Rule

    Alternative = tuple[tuple[Comparison, ...], int]  # where all of these hold, return this
    Verdict = Union[int, tuple[Alternative, ...]]  # what the filter returns; or that by arguments, else the default
    Span = tuple[int, Verdict]  # the verdict from this number on

PR_SET_NO_NEW_PRIVS = 38
X32_SYSCALL_BIT = 0x40000000
SECCOMP_SET_MODE_FILTER = 1
# Its number, also in syscall_numbers(): to read a table takes a child that was just forked 0.2 ms.
SYS_SECCOMP = {
    "x86_64": 317,
    "x32": X32_SYSCALL_BIT | 317,
    "x86": 354,
    "arm": 383,
    "ppc64le": 358,
    "s390x": 348,
    **dict.fromkeys(("aarch64", "riscv64", "loongarch64"), 277),
}

_KILL_THREAD = ACTIONS["SCMP_ACT_KILL_THREAD"]
_ENOSYS = ACTIONS["SCMP_ACT_ERRNO"] | errno.ENOSYS
_ACTION = 0xFFFF0000  # SECCOMP_RET_ACTION_FULL; the rest is data
_PERMISSIVE = {ACTIONS[name] for name in ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE")}

# struct seccomp_data
_OFFSET_NR = 0
_OFFSET_ARCH = 4
_OFFSET_ARGS = 16

_ARM_NR_BASE = 0x0F0000  # arm's own calls are not in the row that grows with the kernel


def compile_filter(seccomp: Mapping[str, Any], arch: str = "", *, enosys_for_newer: bool = True) -> bytes:
    """The array of struct sock_filter that carries out ``seccomp`` (an OCI ``linux.seccomp``) on ``arch``.

    ``arch`` is a key of ARCHITECTURES, this machine where empty. Raises InvalidOption with the JSON path.
    """
    default, rules = parse_default(seccomp), parse_rules(seccomp)
    newer = _ENOSYS if enosys_for_newer and default & _ACTION not in _PERMISSIVE else default
    listed = parse_architectures(seccomp, arch or native_architecture())
    byte_order = ARCHITECTURES[listed[0]][2]
    program = Program()
    section = {}
    for name in reversed(listed):
        section[name] = _write_search(program, name, _spans(name, rules, default, newer), default)
    killed = program.ret(_KILL_THREAD)
    if "x86_64" in section:  # x32 has the same AUDIT_ARCH and numbers with one more bit
        if "x32" in section:
            other = section.pop("x32")
        else:  # -1 is no system call but what a tracer sets to have one skipped; libseccomp too lets it pass
            other = program.jump(JMP_JEQ_K, 0xFFFFFFFF, section["x86_64"], killed)
        section["x86_64"] = program.jump(JMP_JGE_K, X32_SYSCALL_BIT, other, section["x86_64"])
    elif "x32" in section:
        section["x32"] = program.jump(JMP_JGE_K, X32_SYSCALL_BIT, section["x32"], killed)
    start = killed
    for name, position in section.items():
        start = program.jump(JMP_JEQ_K, ARCHITECTURES[name][0], program.load(_OFFSET_NR, position), start)
    try:
        return program.assemble(program.load(_OFFSET_ARCH, start), byte_order)
    except OverflowError as error:
        raise InvalidOption(
            "linux.seccomp.syscalls", f"{len(rules)} rules", f"fewer or simpler ones: {error}"
        ) from error


def load_filter(program: bytes, flags: int = 0) -> int | None:
    """seccomp(2): from now on this thread, and what it starts, obeys ``program``. Raises OSError.

    Needs no_new_privs or CAP_SYS_ADMIN (else EACCES). Returns the listener's descriptor where ``flags`` ask for one.
    Compile, and parse the flags, before the fork: memory that a new child touches first costs it more than the call.
    """
    instructions = ctypes.create_string_buffer(program, len(program))
    sock_fprog = struct.pack("@HP", len(program) // 8, ctypes.addressof(instructions))
    result = syscall(SYS_SECCOMP[native_architecture()], SECCOMP_SET_MODE_FILTER, flags, sock_fprog)
    return result if flags & SECCOMP_FILTER_FLAG_NEW_LISTENER else None


def prctl_set_no_new_privs() -> None:
    """prctl(2), PR_SET_NO_NEW_PRIVS: no later execve gives this thread privileges. Cannot be undone."""
    one, zero = ctypes.c_ulong(1), ctypes.c_ulong(0)
    check(libc().prctl(PR_SET_NO_NEW_PRIVS, one, zero, zero, zero))


def _verdicts(numbers: Mapping[str, int], rules: Iterable[Rule], default: int) -> dict[int, Verdict]:
    """What the rules say about each of ``numbers`` that they name, where that is not the default."""
    verdicts: dict[int, Verdict] = {}
    for names, value, alternatives in rules:
        if value == default:
            continue
        by_arguments = tuple((alternative, value) for alternative in alternatives)
        for name in names:
            number = numbers.get(name)
            if number is None:
                continue
            known = verdicts.get(number, ())
            if not isinstance(known, int):
                verdicts[number] = known + by_arguments if by_arguments else value
    return verdicts


def _add_multiplexed(verdicts: dict[int, Verdict], numbers: Mapping[str, int], rules: list[Rule], default: int) -> None:
    """Have socketcall(2) and ipc(2) do for their parts what the rules say about these by name."""
    for name, parts in MULTIPLEXED.items():
        known = verdicts.get(numbers[name], ())
        if isinstance(known, int):
            continue
        for part, verdict in _verdicts(parts, rules, default).items():
            value = verdict if isinstance(verdict, int) else verdict[0][1]
            if isinstance(verdict, int) or not any(value & _ACTION in _PERMISSIVE for _rest, value in verdict):
                known = (*known, (((0, "SCMP_CMP_EQ", part, 0),), value))
        if known:
            verdicts[numbers[name]] = known


def _spans(name: str, rules: list[Rule], default: int, newer: int) -> list[Span]:
    """The verdicts of an architecture as ranges of system call numbers, upwards from its lowest without a gap."""
    numbers = syscall_numbers(name)
    verdicts = _verdicts(numbers, rules, default)
    if "socketcall" in numbers:
        _add_multiplexed(verdicts, numbers, rules, default)
    beyond = _first_newer(numbers, rules)
    if beyond is not None:
        verdicts[beyond] = newer
    base = X32_SYSCALL_BIT if name == "x32" else 0
    spans: list[Span] = []
    unnamed, after = default, 0
    for number in sorted(verdicts):
        if number > after and (not spans or spans[-1][1] != unnamed):
            spans.append((base + after, unnamed))
        if not spans or spans[-1][1] != verdicts[number]:
            spans.append((base + number, verdicts[number]))
        if number == beyond:
            unnamed = newer
        after = number + 1
    if not spans or spans[-1][1] != unnamed:
        spans.append((base + after, unnamed))
    return spans


def _first_newer(numbers: Mapping[str, int], rules: Iterable[Rule]) -> int | None:
    """The number after the last one that the profile names."""
    named = {name for names, _value, _alternatives in rules for name in names}
    known = [number for name, number in numbers.items() if name in named and number < _ARM_NR_BASE]
    return max(known) + 1 if known else None


def _write_search(program: Program, name: str, spans: list[Span], default: int) -> int:
    """Write a binary search for the number in the accumulator, and what it leads to."""
    leaves: dict[Verdict, int] = {}

    def leaf(verdict: Verdict) -> int:
        if isinstance(verdict, int):
            return program.ret(verdict)
        if verdict not in leaves:
            leaves[verdict] = _write_alternatives(program, name, verdict, default)
        return leaves[verdict]

    def search(low: int, high: int) -> int:
        if high - low == 1:
            return leaf(spans[low][1])
        middle = (low + high) // 2
        if high - low == 3 and spans[low][1] == spans[low + 2][1] and spans[low + 2][0] == spans[low + 1][0] + 1:
            around = leaf(spans[low][1])
            return program.jump(JMP_JEQ_K, spans[low + 1][0], leaf(spans[low + 1][1]), around)
        above = search(middle, high)
        return program.jump(JMP_JGE_K, spans[middle][0], above, search(low, middle))

    for _rest, verdict in spans:
        leaf(verdict)  # at the section's end, where all of it can reach them
    return search(0, len(spans))


def _write_alternatives(program: Program, name: str, alternatives: Sequence[Alternative], default: int) -> int:
    position = program.ret(default)
    for comparisons, value in reversed(alternatives):
        matched = program.ret(value)
        for comparison in reversed(comparisons):
            matched = _write_comparison(program, name, comparison, matched, position)
        position = matched
    return position


def _write_comparison(program: Program, name: str, comparison: Comparison, yes: int, no: int) -> int:
    """Compare an argument by 32-bit halves, which lie in memory in the machine's byte order."""
    index, op, value, value_two = comparison
    _audit_arch, bits, byte_order = ARCHITECTURES[name]
    low = _OFFSET_ARGS + 8 * index + (4 if byte_order == ">" else 0)
    high = low ^ 4
    if op in {"SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE"}:
        yes, no = no, yes  # from here on: not EQ, not GE, not GT
    if op in {"SCMP_CMP_GE", "SCMP_CMP_LT", "SCMP_CMP_GT", "SCMP_CMP_LE"}:
        test = JMP_JGE_K if op in {"SCMP_CMP_GE", "SCMP_CMP_LT"} else JMP_JGT_K
        position = program.load(low, program.jump(test, value & 0xFFFFFFFF, yes, no))
        if bits == 64:
            equal = program.jump(JMP_JEQ_K, value >> 32, position, no)
            position = program.load(high, program.jump(JMP_JGT_K, value >> 32, yes, equal))
        return position
    mask, wanted = (value, value_two) if op == "SCMP_CMP_MASKED_EQ" else ((1 << 64) - 1, value)
    position = yes
    for offset, shift in ((low, 0), (high, 32))[: bits // 32]:
        half_mask, half_wanted = mask >> shift & 0xFFFFFFFF, wanted >> shift & 0xFFFFFFFF
        if half_wanted & ~half_mask:
            return no
        if half_mask:
            position = program.load(offset, program.jump(JMP_JEQ_K, half_wanted, position, no), half_mask)
    return position
