"""Seccomp filters on the real kernel: they load, and it obeys them."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import platform
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.linux import seccomp as engine_seccomp
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.capabilities import (
    DEFAULT_CAPABILITIES,
    capset,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.libc import syscall
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.seccomp import (
    compile_filter,
    load_filter,
    prctl_set_no_new_privs,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.seccomp_default import default_profile
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.seccomp_profile import (
    native_architecture,
    parse_flags,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.syscalls import syscall_numbers
from tests.kernel.linux.forked import Died, run_forked

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="shows that root itself is denied")]

NUMBERS = syscall_numbers(native_architecture())
X86_ONLY = pytest.mark.skipif(platform.machine() != "x86_64", reason="calls the kernel as a 32-bit x86 program does")
CLONE_NEWUSER = 0x10000000
ALLOWED = {"defaultAction": "SCMP_ACT_ALLOW"}


def outcome(name: str, *arguments: int | bytes | None) -> str:
    """The name of the errno of a system call, or an empty string."""
    try:
        syscall(NUMBERS[name], *arguments)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return ""


def under(profile: dict[str, Any], function: Callable[[], Any]) -> Any:
    """What ``function`` returns in a child that obeys ``profile``."""
    program = compile_filter(profile)

    def child() -> Any:
        load_filter(program, parse_flags(profile) & ~engine_seccomp.SECCOMP_FILTER_FLAG_NEW_LISTENER)
        return function()

    return run_forked(child)


def deny(action: str, *names: str, **properties: Any) -> dict[str, Any]:
    return {**ALLOWED, "syscalls": [{"names": list(names), "action": action, **properties}]}


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("mount", (b"none", b"/nowhere", b"tmpfs", 0, None), "EPERM"),
        ("umount2", (b"/nowhere", 0), "EPERM"),
        ("unshare", (CLONE_NEWUSER,), "EPERM"),
        ("setns", (-1, 0), "EPERM"),
        ("clone", (CLONE_NEWUSER | signal.SIGCHLD, 0, 0, 0, 0), "EPERM"),
        ("clone3", (0, 0), "ENOSYS"),
        ("keyctl", (0, 0, 0), "EPERM"),
        ("bpf", (0, 0, 0), "EPERM"),
        ("personality", (0x0008,), ""),
        ("personality", (0xFFFFFFFF,), ""),
        ("personality", (0x0040000,), "EPERM"),
        ("socket", (socket.AF_INET, socket.SOCK_STREAM, 0), ""),
        ("socket", (40, socket.SOCK_STREAM, 0), "EPERM"),
        ("socket", (38, socket.SOCK_SEQPACKET, 0), "EPERM"),
        ("chroot", (b"/nowhere",), "ENOENT"),
        ("ptrace", (99, 0, 0, 0), "ESRCH"),
    ],
)
def test_default_profile(name: str, arguments: tuple[Any, ...], expected: str) -> None:
    assert under(default_profile(DEFAULT_CAPABILITIES), lambda: outcome(name, *arguments)) == expected


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("mount", (b"none", b"/nowhere", b"tmpfs", 0, None), "ENOENT"),
        ("setns", (-1, 0), "EBADF"),
        ("clone3", (0, 0), "EINVAL"),
        ("keyctl", (0, 0, 0), "EPERM"),
    ],
)
def test_default_profile_with_sys_admin(name: str, arguments: tuple[Any, ...], expected: str) -> None:
    profile = default_profile([*DEFAULT_CAPABILITIES, "CAP_SYS_ADMIN"])
    assert under(profile, lambda: outcome(name, *arguments)) == expected


def test_processes_under_the_default_profile_work_and_inherit_it() -> None:
    def child() -> list[Any]:
        argv = [sys.executable, "-I", "-c", "print(open('/proc/self/status').read())"]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        fields = dict(line.split(":", 1) for line in done.stdout.splitlines() if ":" in line)
        return [fields["Seccomp"].strip(), os.system("exit 3") >> 8]

    assert under(default_profile(DEFAULT_CAPABILITIES), child) == ["2", 3]


def test_errno_of_a_rule_is_what_the_program_sees() -> None:
    profile = deny("SCMP_ACT_ERRNO", "mkdirat", errnoRet=errno.ENOTUNIQ)
    assert under(profile, lambda: outcome("mkdirat", -1, b"x", 0)) == "ENOTUNIQ"


def test_newer_calls_fail_with_enosys() -> None:
    names = [name for name, number in NUMBERS.items() if number < 400 or name == "seccomp"]
    profile = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}]}
    assert under(profile, lambda: [outcome("close_range", 900, 800, 0), outcome("getpid")]) == ["ENOSYS", ""]


@pytest.mark.parametrize("action", ["SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL", "SCMP_ACT_TRAP"])
def test_killing_actions_end_with_sigsys(action: str) -> None:
    with pytest.raises(Died) as caught:
        under(deny(action, "mkdirat"), lambda: outcome("mkdirat", -1, b"x", 0))
    assert caught.value.signal == signal.SIGSYS


def test_log_lets_pass_and_trace_without_a_tracer_is_enosys() -> None:
    assert under(deny("SCMP_ACT_LOG", "mkdirat"), lambda: outcome("mkdirat", -1, b"x", 0)) == "EBADF"
    assert under(deny("SCMP_ACT_TRACE", "mkdirat"), lambda: outcome("mkdirat", -1, b"x", 0)) == "ENOSYS"


def test_arguments_are_compared_as_the_kernel_has_them() -> None:
    entry = {"index": 0, "op": "SCMP_CMP_GT", "value": (1 << 32) + 4}
    profile = deny("SCMP_ACT_ERRNO", "close_range", errnoRet=errno.EXDEV, args=[entry])

    def child() -> list[str]:
        return [outcome("close_range", (1 << 32) + low, 0, 0) for low in (4, 5)]

    assert under(profile, child)[1] == "EXDEV"
    assert under(profile, child)[0] != "EXDEV"


def test_notify_hands_out_a_listener() -> None:
    profile = deny("SCMP_ACT_NOTIFY", "mkdirat")

    def child() -> str:
        listener = load_filter(compile_filter(profile), parse_flags(profile))
        return os.readlink(f"/proc/self/fd/{listener}")

    assert run_forked(child) == "anon_inode:seccomp notify"


def test_an_ordinary_thread_needs_no_new_privs() -> None:
    program = compile_filter(ALLOWED)

    def child() -> str | None:
        capset(0, 0, 0)
        try:
            load_filter(program)
        except OSError as error:
            assert error.errno == errno.EACCES
            prctl_set_no_new_privs()
            load_filter(program)
        status = Path("/proc/self/status").read_text()
        return next(line.split()[1] for line in status.splitlines() if line.startswith("NoNewPrivs"))

    assert run_forked(child) == "1"


def test_a_program_that_the_kernel_refuses_is_an_error() -> None:
    with pytest.raises(OSError) as caught:
        run_forked(lambda: load_filter(bytes(8)))
    assert caught.value.errno == errno.EINVAL


def call_as_x86(number: int, argument: int = 0) -> int:
    """A system call through int 0x80, which enters the kernel as a 32-bit x86 program does."""
    with mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) as page:
        # push rbx; mov eax, edi; mov ebx, esi; int 0x80; pop rbx; ret
        page.write(bytes.fromhex("53 89f8 89f3 cd80 5b c3"))
        pointer = ctypes.c_char.from_buffer(page)
        function = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_int)(ctypes.addressof(pointer))
        try:
            return function(number, argument)
        finally:
            del pointer


@X86_ONLY
def test_32_bit_calls_have_rules_of_their_own() -> None:
    numbers = syscall_numbers("x86")

    def child() -> list[int]:
        return [
            call_as_x86(numbers["getpid"]) - os.getpid(),
            call_as_x86(numbers["umount"]),
            call_as_x86(numbers["socket"], 40),
            call_as_x86(numbers["clone"], CLONE_NEWUSER | signal.SIGCHLD),
            call_as_x86(numbers["clone3"]),
        ]

    expected = [0, -errno.EPERM, -errno.EPERM, -errno.EPERM, -errno.ENOSYS]
    assert under(default_profile(DEFAULT_CAPABILITIES), child) == expected


@X86_ONLY
def test_32_bit_calls_kill_where_they_are_not_listed() -> None:
    with pytest.raises(Died) as caught:
        under(ALLOWED, lambda: call_as_x86(syscall_numbers("x86")["getpid"]))
    assert caught.value.signal == signal.SIGSYS


def test_the_system_python_can_do_it_too() -> None:
    code = """
import os, sys
sys.path.insert(0, sys.argv[1])
from _engine.linux import capabilities, seccomp, seccomp_default
seccomp.load_filter(seccomp.compile_filter(seccomp_default.default_profile(capabilities.DEFAULT_CAPABILITIES)))
try:
    os.chroot("/nowhere")
except FileNotFoundError:
    os.execv("/bin/mount", ["mount", "-t", "tmpfs", "none", "/mnt"])
"""
    root = Path(engine_seccomp.__file__).parents[2]
    argv = ["/usr/bin/python3", "-I", "-S", "-c", code, str(root)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 32, done
    assert "permission denied" in done.stderr
