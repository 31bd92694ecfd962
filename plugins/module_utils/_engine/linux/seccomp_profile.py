# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an OCI ``linux.seccomp`` object says, read strictly: a field of a wrong type or value is InvalidOption with
its JSON path. Properties that the specification does not know are left alone, as it wants.

Source: runtime-spec 1.3, config-linux.md, Seccomp; linux/seccomp.h and linux/audit.h of Linux 6.18; runc 1.1.5 for what
the specification leaves open (an action without errnoRet means EPERM, no flags mean SPEC_ALLOW).
"""

from __future__ import annotations

import errno
import os

from ..errors import InvalidOption

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    Comparison = tuple[int, str, int, int]  # index, op, value, valueTwo
    Rule = tuple[Sequence[str], int, list[tuple[Comparison, ...]]]  # names, return value, alternatives (none: always)

SECCOMP_FILTER_FLAG_NEW_LISTENER = 1 << 3
SECCOMP_FILTER_FLAG_TSYNC_ESRCH = 1 << 4
FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1 << 0,
    "SECCOMP_FILTER_FLAG_LOG": 1 << 1,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 1 << 2,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 1 << 5,  # Linux 5.19
}

ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
_PERMISSIVE = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG")
_GREATEST_ERRNO = {"SCMP_ACT_ERRNO": 4095, "SCMP_ACT_TRACE": 0xFFFF}  # MAX_ERRNO; the 16 bits that a tracer sees

OPERATORS = (
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_MASKED_EQ",
)

AUDIT_ARCH_X86_64 = 0xC000003E
# The names of uname(2) for a machine, OCI's SCMP_ARCH_* for the rest: AUDIT_ARCH_*, bits of an argument, byte order.
ARCHITECTURES = {
    "x86_64": (AUDIT_ARCH_X86_64, 64, "<"),
    "x32": (AUDIT_ARCH_X86_64, 32, "<"),
    "x86": (0x40000003, 32, "<"),
    "aarch64": (0xC00000B7, 64, "<"),
    "arm": (0x40000028, 32, "<"),
    "riscv64": (0xC00000F3, 64, "<"),
    "loongarch64": (0xC0000102, 64, "<"),
    "ppc64le": (0xC0000015, 64, "<"),
    "s390x": (0x80000016, 64, ">"),
}
# Names of the specification that have no table here: system calls through them kill, as through one not listed.
_WITHOUT_TABLE = (
    *("mips", "mips64", "mips64n32", "mipsel", "mipsel64", "mipsel64n32", "ppc", "ppc64"),
    *("s390", "parisc", "parisc64", "m68k", "sh", "sheb"),
)


def native_architecture() -> str:
    """This machine's key in ARCHITECTURES, or its name in uname(2) where it has none."""
    machine = os.uname().machine
    if machine.startswith("arm"):  # armv7l; armv8l is a 64-bit machine that shows itself to a 32-bit program
        return "arm"
    return "x86" if machine in {"i386", "i486", "i586", "i686"} else machine


def parse_architectures(seccomp: Mapping[str, Any], arch: str) -> list[str]:
    """``arch`` and the listed architectures that have a table, as keys of ARCHITECTURES."""
    if arch not in ARCHITECTURES:
        raise InvalidOption("architecture", arch, f"one of {', '.join(ARCHITECTURES)}")
    found = [arch]
    for where, name in _items(seccomp, "architectures", "linux.seccomp"):
        key = name[len("SCMP_ARCH_") :].lower() if isinstance(name, str) and name.startswith("SCMP_ARCH_") else ""
        if key not in ARCHITECTURES and key not in _WITHOUT_TABLE:
            raise InvalidOption(where, name, "one of " + ", ".join("SCMP_ARCH_" + a.upper() for a in ARCHITECTURES))
        if key in ARCHITECTURES and key not in found:
            found.append(key)
    return found


def parse_flags(seccomp: Mapping[str, Any]) -> int:
    """The flags for seccomp(2). No ``flags`` means SPEC_ALLOW alone, as with runc; an empty list means none.

    A profile that notifies needs a listener: then NEW_LISTENER is among them, and ``load_filter`` returns it.
    """
    flags = 0
    for where, name in _items(seccomp, "flags", "linux.seccomp"):
        if not isinstance(name, str) or name not in FLAGS:
            raise InvalidOption(where, name, f"one of {', '.join(FLAGS)}")
        flags |= FLAGS[name]
    if seccomp.get("flags") is None:
        flags = FLAGS["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]
    rules = [rule for _where, rule in _items(seccomp, "syscalls", "linux.seccomp")]
    if any(isinstance(rule, dict) and rule.get("action") == "SCMP_ACT_NOTIFY" for rule in rules):
        flags |= SECCOMP_FILTER_FLAG_NEW_LISTENER
        if flags & FLAGS["SECCOMP_FILTER_FLAG_TSYNC"]:
            flags |= SECCOMP_FILTER_FLAG_TSYNC_ESRCH  # without it the kernel refuses the two together (Linux 5.7)
    else:
        flags &= ~FLAGS["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]  # it is about a listener; EINVAL without
    return flags


def permits(seccomp: Mapping[str, Any], names: Iterable[str], *, partly: Collection[str] = ()) -> bool:
    """Whether a valid profile (an empty one: all) lets those system calls through, whatever their arguments; for those
    in ``partly`` it is enough that there are arguments with which it may."""
    default = seccomp.get("defaultAction", "SCMP_ACT_ALLOW")
    found: dict[str, set[bool]] = {name: set() for name in names}
    for rule in seccomp.get("syscalls") or ():
        passes = rule["action"] in _PERMISSIVE
        for name in found.keys() & set(rule["names"]):
            found[name] |= {passes, default in _PERMISSIVE} if rule.get("args") else {passes}
    answers = {name: passes or {default in _PERMISSIVE} for name, passes in found.items()}
    return all(True in passes if name in partly else passes == {True} for name, passes in answers.items())


def check_profile(seccomp: Mapping[str, Any]) -> None:
    """Raise InvalidOption for what cannot be compiled, without compiling it."""
    parse_default(seccomp)
    parse_rules(seccomp)
    parse_architectures(seccomp, native_architecture())
    parse_flags(seccomp)


def parse_default(seccomp: Mapping[str, Any]) -> int:
    """What the filter returns where no rule decides."""
    action = seccomp.get("defaultAction")
    if action == "SCMP_ACT_NOTIFY":  # nobody could hand over the listener any more
        raise InvalidOption("linux.seccomp.defaultAction", action, "another action: notify only for named system calls")
    return _parse_action("linux.seccomp", "defaultAction", "defaultErrnoRet", seccomp)


def parse_rules(seccomp: Mapping[str, Any]) -> list[Rule]:
    """In order. A rule's arguments must all match, unless two have one index: then any, as runc has it."""
    rules: list[Rule] = []
    for where, entry in _items(seccomp, "syscalls", "linux.seccomp"):
        if not isinstance(entry, dict):
            raise InvalidOption(where, entry, "an object with names and action")
        names = entry.get("names")
        if not isinstance(names, (list, tuple)) or not names or set(map(type, names)) != {str}:
            raise InvalidOption(f"{where}.names", names, "a list with at least one name of a system call")
        value = _parse_action(where, "action", "errnoRet", entry)
        if value == ACTIONS["SCMP_ACT_NOTIFY"] and "write" in names:
            raise InvalidOption(
                f"{where}.names",
                "write",
                "other names: SCMP_ACT_NOTIFY cannot be used for the write syscall",
            )
        comparisons = [_parse_comparison(place, argument) for place, argument in _items(entry, "args", where)]
        if len({index for index, *_rest in comparisons}) < len(comparisons):
            rules.append((names, value, [(comparison,) for comparison in comparisons]))
        else:
            rules.append((names, value, [tuple(comparisons)] if comparisons else []))
    return rules


def _parse_action(where: str, action_key: str, errno_key: str, holder: Mapping[str, Any]) -> int:
    action, errno_ret = holder.get(action_key), holder.get(errno_key)
    if not isinstance(action, str) or action not in ACTIONS:
        raise InvalidOption(f"{where}.{action_key}", action, f"one of {', '.join(ACTIONS)}")
    greatest = _GREATEST_ERRNO.get(action)
    if greatest is None:
        if errno_ret is not None:
            raise InvalidOption(f"{where}.{errno_key}", errno_ret, f"nothing, because {action} returns no error number")
        return ACTIONS[action]
    if errno_ret is None:
        return ACTIONS[action] | errno.EPERM
    return ACTIONS[action] | _parse_unsigned(f"{where}.{errno_key}", errno_ret, greatest)


def _parse_comparison(where: str, argument: object) -> Comparison:
    if not isinstance(argument, dict):
        raise InvalidOption(where, argument, "an object with index, value and op")
    op = argument.get("op")
    if not isinstance(op, str) or op not in OPERATORS:
        raise InvalidOption(f"{where}.op", op, f"one of {', '.join(OPERATORS)}")
    greatest = (1 << 64) - 1
    return (
        _parse_unsigned(f"{where}.index", argument.get("index"), 5),
        op,
        _parse_unsigned(f"{where}.value", argument.get("value"), greatest),
        _parse_unsigned(f"{where}.valueTwo", argument.get("valueTwo", 0), greatest),
    )


def _parse_unsigned(where: str, value: object, greatest: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= greatest:
        raise InvalidOption(where, value, f"an integer from 0 to {greatest}")
    return value


def _items(holder: Mapping[str, Any], key: str, where: str) -> Iterator[tuple[str, Any]]:
    """The entries of the list ``key``, each with its JSON path. A list that is missing or null is empty."""
    items = holder.get(key)
    if items is not None and not isinstance(items, (list, tuple)):
        raise InvalidOption(f"{where}.{key}", items, "a list")
    for position, item in enumerate(items or ()):
        yield f"{where}.{key}[{position}]", item
