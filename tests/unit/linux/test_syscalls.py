"""The tables of system call numbers hold together, and agree with the headers of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.seccomp import SYS_SECCOMP, X32_SYSCALL_BIT
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.seccomp_profile import ARCHITECTURES
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.syscalls import MULTIPLEXED, syscall_numbers

HEADERS = Path("/usr/include/x86_64-linux-gnu/asm")


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_architecture_has_a_plausible_table(arch: str) -> None:
    numbers = syscall_numbers(arch)
    assert 320 < len(numbers) < 470
    for name, number in [("clone3", 435), ("openat2", 437), ("mseal", 462), ("rseq_slice_yield", 471)]:
        assert numbers[name] == number
    shared = {name for name in numbers if [*numbers.values()].count(numbers[name]) > 1}
    assert shared <= {"arm_sync_file_range", "sync_file_range2"}
    assert not any(name.isdigit() or name.startswith("-") for name in numbers)


@pytest.mark.skipif(not HEADERS.is_dir(), reason="the kernel's headers for x86 are not installed")
@pytest.mark.parametrize(("arch", "header"), [("x86_64", "64"), ("x86", "32"), ("x32", "x32")])
def test_x86_agrees_with_the_kernels_headers(arch: str, header: str) -> None:
    numbers = syscall_numbers(arch)
    lines = (HEADERS / f"unistd_{header}.h").read_text().splitlines()
    defined = [line.split(None, 2)[1:] for line in lines if line.startswith("#define __NR_")]
    assert len(defined) > 300
    for name, number in defined:
        assert numbers[name[len("__NR_") :]] == int(number.replace("(__X32_SYSCALL_BIT + ", "").rstrip(")")), name


def test_parts_of_multiplexers() -> None:
    assert MULTIPLEXED["socketcall"]["sendmmsg"] == 20  # SYS_SENDMMSG, linux/net.h
    assert MULTIPLEXED["ipc"]["shmctl"] == 24  # SHMCTL, linux/ipc.h


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_number_of_seccomp_itself(arch: str) -> None:
    assert SYS_SECCOMP[arch] & ~X32_SYSCALL_BIT == syscall_numbers(arch)["seccomp"]
