"""The default profile says what docker's documentation says of its own."""

from __future__ import annotations

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.capabilities import (
    CAPABILITIES,
    DEFAULT_CAPABILITIES,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.seccomp import (
    X32_SYSCALL_BIT,
    compile_filter,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.seccomp_default import default_profile
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.seccomp_profile import ARCHITECTURES
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.syscalls import syscall_numbers
from tests.unit.linux.bpf_machine import decode, run, seccomp_data

ALLOW, EPERM, ENOSYS = 0x7FFF0000, 0x00050001, 0x00050026


def verdict(name: str, *arguments: int, added: tuple[str, ...] = (), arch: str = "x86_64", on: str = "") -> int:
    on = on or arch
    audit_arch, _bits, order = ARCHITECTURES[arch]
    number = syscall_numbers(arch)[name] + (X32_SYSCALL_BIT if arch == "x32" else 0)
    code = decode(compile_filter(default_profile({*DEFAULT_CAPABILITIES, *added}, on), on), order)
    return run(code, seccomp_data(audit_arch, number, arguments, order), order)


@pytest.mark.parametrize("arch", ["x86_64", "aarch64", "riscv64", "ppc64le", "s390x", "loongarch64", "x86", "arm"])
def test_everyday_calls_pass(arch: str) -> None:
    for name in ("read", "openat", "execve", "ptrace", "chroot", "statx", "futex", "mknodat", "seccomp", "mseal"):
        assert verdict(name, arch=arch) == ALLOW, name


@pytest.mark.parametrize(
    "name",
    [
        *("acct", "add_key", "bpf", "clock_settime", "create_module", "delete_module", "finit_module", "fsopen"),
        *("get_mempolicy", "init_module", "io_uring_setup", "ioperm", "iopl", "kcmp", "kexec_load", "keyctl", "mbind"),
        *("mount", "move_mount", "move_pages", "nfsservctl", "open_by_handle_at", "open_tree", "perf_event_open"),
        *("pivot_root", "process_madvise", "quotactl", "reboot", "request_key", "set_mempolicy", "setns"),
        *("settimeofday", "swapon", "swapoff", "sysfs", "syslog", "umount2", "unshare", "uselib", "userfaultfd"),
        *("ustat", "vhangup", "io_uring_enter", "sethostname", "pidfd_getfd"),
    ],
)
def test_calls_that_docker_blocks(name: str) -> None:
    assert verdict(name) == EPERM


@pytest.mark.parametrize(
    ("capability", "names"),
    [
        ("CAP_SYS_ADMIN", "mount umount2 setns unshare clone3 bpf quotactl fsopen sethostname syslog"),
        ("CAP_SYS_PTRACE", "kcmp process_madvise pidfd_getfd"),
        ("CAP_SYS_MODULE", "init_module delete_module finit_module"),
        ("CAP_SYS_TIME", "settimeofday clock_settime"),
        ("CAP_SYS_BOOT", "reboot"),
        ("CAP_SYS_NICE", "mbind set_mempolicy get_mempolicy"),
        ("CAP_SYS_PACCT", "acct"),
        ("CAP_SYS_RAWIO", "iopl ioperm"),
        ("CAP_SYS_TTY_CONFIG", "vhangup"),
        ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
        ("CAP_SYSLOG", "syslog"),
        ("CAP_BPF", "bpf"),
        ("CAP_PERFMON", "perf_event_open"),
    ],
)
def test_capabilities_open_their_calls(capability: str, names: str) -> None:
    for name in names.split():
        assert verdict(name) != ALLOW, name
        assert verdict(name, added=(capability,)) == ALLOW, name


def test_chroot_needs_its_capability() -> None:
    code = decode(compile_filter(default_profile([], "x86_64"), "x86_64"))
    assert run(code, seccomp_data(ARCHITECTURES["x86_64"][0], syscall_numbers("x86_64")["chroot"])) == EPERM


def test_what_stays_closed_with_every_capability() -> None:
    for name in ("keyctl", "add_key", "userfaultfd", "io_uring_setup", "kexec_load", "pivot_root", "swapon"):
        assert verdict(name, added=CAPABILITIES) == EPERM, name


@pytest.mark.parametrize("arch", ["x86_64", "x86", "x32", "aarch64", "s390x"])
def test_clone_without_new_namespaces(arch: str) -> None:
    on = "x86_64" if arch in {"x86", "x32"} else arch
    flags = 1 if arch == "s390x" else 0
    for value, expected in [(0x11, ALLOW), (0x3D0F00, ALLOW), (0x10000011, EPERM), (0x00020000, EPERM)]:
        arguments = [0, 0]
        arguments[flags] = value
        assert verdict("clone", *arguments, arch=arch, on=on) == expected, hex(value)
    assert verdict("clone3", arch=arch, on=on) == ENOSYS


@pytest.mark.parametrize("arch", ["x86_64", "x86", "x32", "aarch64"])
def test_personality_and_socket_look_at_their_argument(arch: str) -> None:
    on = "x86_64" if arch in {"x86", "x32"} else arch
    for value in (0, 8, 0x20000, 0x20008, 0xFFFFFFFF):
        assert verdict("personality", value, arch=arch, on=on) == ALLOW
    for value in (1, 0x0040000, 0x20009):  # 0x40000 is ADDR_NO_RANDOMIZE
        assert verdict("personality", value, arch=arch, on=on) == EPERM
    for family in (1, 2, 10, 16, 17, 37, 39, 41, 44):
        assert verdict("socket", family, arch=arch, on=on) == ALLOW
    for family in (38, 40):  # AF_ALG, AF_VSOCK
        assert verdict("socket", family, arch=arch, on=on) == EPERM


def test_newer_calls_and_other_machines() -> None:
    code = decode(compile_filter(default_profile(DEFAULT_CAPABILITIES, "x86_64"), "x86_64"))
    assert run(code, seccomp_data(ARCHITECTURES["x86_64"][0], 480)) == ENOSYS
    assert run(code, seccomp_data(ARCHITECTURES["aarch64"][0], 0)) == 0
    assert verdict("modify_ldt") == ALLOW
    assert verdict("riscv_flush_icache", arch="riscv64") == ALLOW
    assert verdict("set_tls", arch="arm", on="aarch64") == ALLOW


def test_filter_stays_small() -> None:
    assert len(compile_filter(default_profile(DEFAULT_CAPABILITIES, "x86_64"), "x86_64")) // 8 <= 360
    assert (
        len(compile_filter({**default_profile(DEFAULT_CAPABILITIES, "x86_64"), "architectures": []}, "x86_64")) <= 880
    )


def test_profiles_do_not_share_anything() -> None:
    default_profile([], "x86_64")["architectures"].clear()
    default_profile([], "x86_64")["syscalls"].clear()
    assert default_profile([], "x86_64")["architectures"]
    assert default_profile([], "x86_64")["syscalls"]
