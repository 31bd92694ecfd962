"""The verdicts of compiled filters, run by a BPF machine of our own; and what a bad profile is told."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import InvalidOption
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.seccomp import (
    X32_SYSCALL_BIT,
    compile_filter,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.seccomp_profile import (
    ARCHITECTURES,
    parse_flags,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.syscalls import syscall_numbers
from tests.unit.linux.bpf_machine import decode, run, seccomp_data

ALLOW, KILL, EPERM, ENOSYS = 0x7FFF0000, 0, 0x00050001, 0x00050026
HIGH = 1 << 32


def verdict(profile: dict[str, Any], name: str | int, *arguments: int, arch: str = "x86_64", on: str = "") -> int:
    """What the filter for ``on`` (or ``arch``) says of a system call of ``arch``."""
    audit_arch, _bits, order = ARCHITECTURES[arch]
    number = syscall_numbers(arch)[name] if isinstance(name, str) else name
    number += X32_SYSCALL_BIT if arch == "x32" else 0
    code = decode(compile_filter(profile, on or arch), order)
    return run(code, seccomp_data(audit_arch, number, arguments, order), order)


def deny_but(*syscalls: dict[str, Any], **properties: Any) -> dict[str, Any]:
    return {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": list(syscalls), **properties}


def allow(*names: str, args: tuple[tuple[int, str, int, int], ...] = ()) -> dict[str, Any]:
    entries = [
        {"index": index, "op": f"SCMP_CMP_{op}", "value": value, "valueTwo": two} for index, op, value, two in args
    ]
    return {"names": list(names), "action": "SCMP_ACT_ALLOW", "args": entries}


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({"action": "SCMP_ACT_KILL"}, 0),
        ({"action": "SCMP_ACT_KILL_THREAD"}, 0),
        ({"action": "SCMP_ACT_KILL_PROCESS"}, 0x80000000),
        ({"action": "SCMP_ACT_TRAP"}, 0x00030000),
        ({"action": "SCMP_ACT_ERRNO"}, 0x00050001),
        ({"action": "SCMP_ACT_ERRNO", "errnoRet": 0}, 0x00050000),
        ({"action": "SCMP_ACT_ERRNO", "errnoRet": 95}, 0x0005005F),
        ({"action": "SCMP_ACT_TRACE", "errnoRet": 95}, 0x7FF0005F),
        ({"action": "SCMP_ACT_LOG"}, 0x7FFC0000),
        ({"action": "SCMP_ACT_NOTIFY"}, 0x7FC00000),
    ],
)
def test_actions(properties: dict[str, Any], expected: int) -> None:
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], **properties}]}
    assert verdict(profile, "mkdir") == expected
    assert verdict(profile, "rmdir") == ALLOW


@pytest.mark.parametrize("arch", ["x86_64", "aarch64", "s390x"])
@pytest.mark.parametrize(
    ("op", "value", "two", "passing", "failing"),
    [
        ("NE", HIGH + 5, 0, [5, HIGH, HIGH + 4, HIGH + 6, 2 * HIGH + 5], [HIGH + 5]),
        ("EQ", HIGH + 5, 0, [HIGH + 5], [5, HIGH, HIGH + 4, 2 * HIGH + 5]),
        ("LT", HIGH + 5, 0, [0, 6, HIGH, HIGH + 4], [HIGH + 5, HIGH + 6, 2 * HIGH, 2 * HIGH + 4]),
        ("LE", HIGH + 5, 0, [0, 6, HIGH + 4, HIGH + 5], [HIGH + 6, 2 * HIGH, 2 * HIGH + 4]),
        ("GE", HIGH + 5, 0, [HIGH + 5, HIGH + 6, 2 * HIGH, (1 << 64) - 1], [0, 5, 6, HIGH, HIGH + 4]),
        ("GT", HIGH + 5, 0, [HIGH + 6, 2 * HIGH, (1 << 64) - 1], [0, 6, HIGH, HIGH + 5]),
        ("MASKED_EQ", HIGH + 6, HIGH + 2, [HIGH + 2, HIGH + 3, 3 * HIGH + 10], [2, HIGH, HIGH + 6, 2 * HIGH + 2]),
        ("MASKED_EQ", 6, 2, [2, 3, HIGH + 2, 10], [0, 4, 6, HIGH]),
        ("MASKED_EQ", 6 * HIGH, 2 * HIGH, [2 * HIGH, 3 * HIGH + 9], [2, 6 * HIGH, 0]),
        ("MASKED_EQ", 2, 3, [], [2, 3, 1, 0]),
        ("MASKED_EQ", 6, HIGH + 2, [], [2, HIGH + 2, HIGH]),
        ("MASKED_EQ", 0, 0, [0, 1, HIGH], []),
        ("GE", 0, 0, [0, 1, (1 << 64) - 1], []),
        ("LT", 0, 0, [], [0, 1, (1 << 64) - 1]),
    ],
)
def test_comparisons_of_64_bits(
    arch: str, op: str, value: int, two: int, passing: list[int], failing: list[int]
) -> None:
    for index in (0, 5):
        profile = deny_but(allow("personality", args=((index, op, value, two),)))
        for argument in passing:
            assert verdict(profile, "personality", *[argument] * 6, arch=arch) == ALLOW, argument
        for argument in failing:
            assert verdict(profile, "personality", *[argument] * 6, arch=arch) == EPERM, argument


def test_32_bit_machines_compare_the_lower_half() -> None:
    profile = deny_but(allow("personality", args=((0, "EQ", (1 << 64) - 1, 0),)))
    assert verdict(profile, "personality", 0xFFFFFFFF, arch="x86") == ALLOW
    assert verdict(profile, "personality", 0xFFFFFFFF, arch="x86_64") == EPERM


def test_arguments_of_one_rule_must_all_match() -> None:
    profile = deny_but(allow("personality", args=((0, "EQ", 1, 0), (1, "GT", 7, 0))))
    assert verdict(profile, "personality", 1, 8) == ALLOW
    assert verdict(profile, "personality", 1, 7) == EPERM
    assert verdict(profile, "personality", 2, 8) == EPERM


def test_arguments_with_one_index_are_alternatives() -> None:
    profile = deny_but(allow("personality", args=((0, "EQ", 1, 0), (0, "EQ", 3, 0))))
    assert [verdict(profile, "personality", value) for value in (1, 2, 3)] == [ALLOW, EPERM, ALLOW]


def test_first_rule_that_matches_decides() -> None:
    log = {**allow("personality", args=((0, "GE", 2, 0),)), "action": "SCMP_ACT_LOG"}
    profile = deny_but(allow("personality", args=((0, "EQ", 2, 0),)), log)
    assert [verdict(profile, "personality", value) for value in (1, 2, 3)] == [EPERM, ALLOW, 0x7FFC0000]


@pytest.mark.parametrize("swapped", [False, True])
def test_rule_without_arguments_decides_alone(swapped: bool) -> None:
    rules = [allow("personality", args=((0, "EQ", 2, 0),)), {"names": ["personality"], "action": "SCMP_ACT_TRAP"}]
    profile = deny_but(*(reversed(rules) if swapped else rules))
    assert verdict(profile, "personality", 2) == 0x00030000


def test_rule_that_says_what_the_default_says_is_left_out() -> None:
    same = {"names": ["personality"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}
    profile = deny_but(same, allow("personality", args=((0, "EQ", 2, 0),)))
    assert verdict(profile, "personality", 2) == ALLOW


def test_names_that_the_architecture_lacks_are_left_out() -> None:
    profile = deny_but(allow("read", "no_such_call", "_llseek"))
    assert verdict(profile, "read") == ALLOW
    assert verdict(profile, "_llseek", arch="x86", on="x86") == ALLOW


def test_calls_newer_than_the_profile_fail_with_enosys() -> None:
    profile = deny_but(allow("read", "openat2"))  # openat2 is 437
    assert verdict(profile, 436) == EPERM
    assert verdict(profile, 437) == ALLOW
    assert verdict(profile, 438) == ENOSYS
    assert verdict(profile, 5000) == ENOSYS
    permissive = {"defaultAction": "SCMP_ACT_LOG", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ERRNO"}]}
    assert verdict(permissive, 438) == 0x7FFC0000
    arm = deny_but(allow("read", "set_tls"))
    assert verdict(arm, "set_tls", arch="arm") == ALLOW
    assert verdict(arm, 5000, arch="arm") == ENOSYS


def test_architectures_not_listed_are_killed() -> None:
    profile = deny_but(allow("read"))
    assert verdict(profile, "read", arch="x86", on="x86_64") == KILL
    assert verdict(profile, "read", arch="x32", on="x86_64") == KILL
    assert verdict(profile, 0xFFFFFFFF, arch="x86_64") == ENOSYS  # what a tracer sets to skip a call
    assert verdict(profile, "read", arch="aarch64", on="x86_64") == KILL


@pytest.mark.parametrize("listed", [["X86"], ["X32"], ["X86", "X32"], ["X32", "X86_64", "X86"]])
def test_listed_architectures_have_their_own_numbers(listed: list[str]) -> None:
    profile = deny_but(allow("write", "ioctl"), architectures=["SCMP_ARCH_" + name for name in listed])
    assert verdict(profile, "write") == ALLOW
    for arch in ("x86", "x32"):
        if arch.upper() in listed:
            assert verdict(profile, "ioctl", arch=arch, on="x86_64") == ALLOW
            assert verdict(profile, "rename", arch=arch, on="x86_64") == EPERM
        else:
            assert verdict(profile, "ioctl", arch=arch, on="x86_64") == KILL
    assert syscall_numbers("x32")["ioctl"] == 514
    assert syscall_numbers("x86")["ioctl"] == 54


def test_native_x32_and_architectures_without_a_table() -> None:
    profile = deny_but(allow("ioctl"), architectures=["SCMP_ARCH_MIPS"])
    assert verdict(profile, "ioctl", arch="x32") == ALLOW
    assert verdict(profile, "ioctl", arch="x86_64", on="x32") == KILL


def test_a_profile_without_rules() -> None:
    assert verdict({"defaultAction": "SCMP_ACT_KILL_PROCESS"}, "read") == 0x80000000
    listed = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X32"], "syscalls": None}
    assert verdict(listed, "read", arch="x32", on="x86_64") == ALLOW


def test_parts_of_socketcall_and_ipc() -> None:
    profile = deny_but(allow("connect", "shmget", "accept"))
    assert verdict(profile, "socketcall", 3, arch="x86") == ALLOW  # SYS_CONNECT
    assert verdict(profile, "socketcall", 5, arch="x86") == ALLOW  # SYS_ACCEPT, which has no number of its own
    assert verdict(profile, "socketcall", 1, arch="x86") == EPERM
    assert verdict(profile, "ipc", 23, arch="s390x") == ALLOW
    assert verdict(profile, "ipc", 24, arch="s390x") == EPERM


def test_socketcall_never_allows_what_cannot_be_compared() -> None:
    unix_only = deny_but(allow("socket", args=((0, "EQ", 1, 0),)))
    assert verdict(unix_only, "socket", 1, arch="x86") == ALLOW
    assert verdict(unix_only, "socketcall", 1, arch="x86") == EPERM
    rule = {**allow("socket", args=((0, "EQ", 40, 0),)), "action": "SCMP_ACT_ERRNO"}
    no_vsock = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    assert verdict(no_vsock, "socketcall", 1, arch="x86") == EPERM
    assert verdict(no_vsock, "socketcall", 2, arch="x86") == ALLOW


def test_long_programs_jump_far() -> None:
    rules = [allow("personality", args=((0, "EQ", value * 3, 0), (1, "GT", value, 0))) for value in range(300)]
    profile = deny_but(*rules, allow("read", "write", "ioctl", "fsync"), architectures=["SCMP_ARCH_X86"])
    for arch in ("x86_64", "x86"):
        assert verdict(profile, "personality", 0, 1, arch=arch, on="x86_64") == ALLOW
        assert verdict(profile, "personality", 897, 300, arch=arch, on="x86_64") == ALLOW
        assert verdict(profile, "personality", 897, 299, arch=arch, on="x86_64") == EPERM
        assert verdict(profile, "personality", 898, 300, arch=arch, on="x86_64") == EPERM
        assert verdict(profile, "fsync", arch=arch, on="x86_64") == ALLOW
        assert verdict(profile, "chmod", arch=arch, on="x86_64") == EPERM


def test_too_long_a_program_is_refused() -> None:
    rules = [allow("personality", args=((0, "EQ", value, 0),)) for value in range(1100)]
    with pytest.raises(InvalidOption, match=r"linux\.seccomp\.syscalls.*4096"):
        compile_filter(deny_but(*rules), "x86_64")


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ({}, "linux.seccomp.defaultAction: None"),
        (
            {"defaultAction": "ALLOW"},
            "linux.seccomp.defaultAction: 'ALLOW' is not valid; expected one of SCMP_ACT_KILL",
        ),
        ({"defaultAction": ["x"]}, "linux.seccomp.defaultAction: "),
        ({"defaultAction": "SCMP_ACT_NOTIFY"}, "linux.seccomp.defaultAction: 'SCMP_ACT_NOTIFY'"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}, "linux.seccomp.defaultErrnoRet: 1"),
        ({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4096}, "linux.seccomp.defaultErrnoRet: 4096"),
        ({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": True}, "linux.seccomp.defaultErrnoRet: True"),
        (deny_but(architectures=["SCMP_ARCH_VAX"]), r"linux.seccomp.architectures[0]: 'SCMP_ARCH_VAX'"),
        (deny_but(architectures=[{}]), r"linux.seccomp.architectures[0]: {}"),
        (deny_but(architectures="SCMP_ARCH_X86"), "linux.seccomp.architectures: 'SCMP_ARCH_X86'"),
        ({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": {}}, "linux.seccomp.syscalls: {}"),
        (deny_but("read"), "linux.seccomp.syscalls[0]: 'read'"),
        (deny_but(allow("read"), {"action": "SCMP_ACT_ALLOW"}), "linux.seccomp.syscalls[1].names: None"),
        (deny_but({"names": [], "action": "SCMP_ACT_ALLOW"}), "linux.seccomp.syscalls[0].names: []"),
        (deny_but({"names": [1], "action": "SCMP_ACT_ALLOW"}), "linux.seccomp.syscalls[0].names: [1]"),
        (deny_but({"names": ["read"]}), "linux.seccomp.syscalls[0].action: None"),
        (deny_but({"names": ["write"], "action": "SCMP_ACT_NOTIFY"}), "linux.seccomp.syscalls[0].names: 'write'"),
        (deny_but({**allow("read"), "errnoRet": 1}), "linux.seccomp.syscalls[0].errnoRet: 1"),
        (deny_but({**allow("read"), "args": 1}), "linux.seccomp.syscalls[0].args: 1"),
        (deny_but({**allow("read"), "args": [1]}), "linux.seccomp.syscalls[0].args[0]: 1"),
        (deny_but(allow("read", args=((6, "EQ", 0, 0),))), "linux.seccomp.syscalls[0].args[0].index: 6"),
        (deny_but(allow("read", args=((0, "IS", 0, 0),))), "linux.seccomp.syscalls[0].args[0].op: 'SCMP_CMP_IS'"),
        (deny_but(allow("read", args=((0, "EQ", -1, 0),))), "linux.seccomp.syscalls[0].args[0].value: -1"),
        (deny_but(allow("read", args=((0, "EQ", 1, 1 << 64),))), "linux.seccomp.syscalls[0].args[0].valueTwo: "),
    ],
)
def test_bad_profiles_are_named_by_their_path(profile: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        compile_filter(profile, "x86_64")
    assert str(caught.value).startswith(message)
    assert "; expected " in str(caught.value)


def test_an_architecture_without_a_table_is_refused() -> None:
    with pytest.raises(InvalidOption, match="architecture: 'vax'"):
        compile_filter(deny_but(), "vax")


def test_flags() -> None:
    notify = {"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}
    assert parse_flags(deny_but()) == 4
    assert parse_flags(deny_but(flags=["SECCOMP_FILTER_FLAG_LOG"])) == 2
    assert parse_flags(deny_but(notify)) == 4 | 8
    tsync = deny_but(notify, flags=["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"])
    assert parse_flags(tsync) == 1 | 32 | 8 | 16
    with pytest.raises(InvalidOption, match=r"linux\.seccomp\.flags\[0\]: 'TSYNC'"):
        parse_flags(deny_but(flags=["TSYNC"]))
