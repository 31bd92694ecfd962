"""The trampoline runs: here, and on other architectures under qemu-user, where that is installed."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
import shutil
import struct
import subprocess
import sys

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.linux import trampoline
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.syscalls import syscall_numbers
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.trampoline import (
    Birth,
    add_filter,
    build_trampoline,
    open_sealed,
    own_machine,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.trampoline_code import MACHINES

QEMU = {"x86": "i386"}  # qemu's name, where it is another
NATIVE = {"x86_64": ["x86_64", "x86"]}.get(platform.machine(), [platform.machine()])  # what this kernel runs itself


def emulator(arch):
    """The command that runs a program of ``arch``; skips where there is none."""
    if arch in NATIVE:
        return []
    name = f"qemu-{QEMU.get(arch, arch)}"
    found = shutil.which(name) or shutil.which(f"{name}-static")
    if not found:
        pytest.skip(f"{name} is not installed: tests/setup.sh packages test")
    return [found]


class Ended:
    """A trampoline and what came of it: ``status``, ``told`` through the pipe, ``out``."""

    def __init__(self, arch, tmp_path, args, *, held=False, birth=None, readers=True, **options):
        reader, writer = os.pipe()
        other = os.pipe() if held else ()
        command = emulator(arch)
        built = build_trampoline(MACHINES[arch], writer, "exec it", held=other[1:], birth=birth, **options)
        path = tmp_path / "trampoline"
        path.write_bytes(built)
        path.chmod(0o755)
        # argv[0] is the program's path, which qemu takes as an option.
        argv = [*command, "-0", args[0], str(path), *args[1:]] if command else list(args)
        passed = [writer, *other[1:], *([birth.announce] if birth else [])]
        if not readers:
            os.close(reader)
        process = subprocess.Popen(
            argv, executable=command[0] if command else str(path), pass_fds=passed, stdout=subprocess.PIPE, text=True,
            env={"GREETING": "hello"}, start_new_session=True,
        )  # fmt: skip
        for fd in (writer, *other[1:]):
            os.close(fd)
        self.out = process.communicate(timeout=30)[0]
        self.status = process.returncode
        self.told = os.read(reader, 4096) if readers else b""
        for fd in (*([reader] if readers else []), *other[:1]):
            os.close(fd)


@pytest.fixture(params=MACHINES)
def arch(request):
    return request.param


def test_the_numbers_are_those_of_the_tables(arch):
    numbers = syscall_numbers(arch)
    assert MACHINES[arch].numbers == {name: numbers[name] for name in MACHINES[arch].numbers}


def test_the_code_fits_before_the_table(arch):
    assert trampoline._ENTRY_OFFSET + len(MACHINES[arch].code()) <= trampoline._TABLE_OFFSET


def test_it_becomes_the_program(arch, tmp_path):
    script = "echo $0 $1 $GREETING; ls -l /proc/self/fd"
    ended = Ended(arch, tmp_path, ["/bin/sh", "name", "-c", script, "zero", "one"], held=True)
    lines = ended.out.splitlines()
    assert (ended.status, ended.told, lines[0]) == (0, b"", "zero one hello")
    assert [line for line in lines if "pipe:" in line and " 1 -> " not in line] == [], "a descriptor is left"


@pytest.mark.parametrize(("path", "number"), [("/nowhere", errno.ENOENT), ("/etc", errno.EACCES)])
def test_a_failure_is_told_with_its_number(arch, tmp_path, path, number):
    ended = Ended(arch, tmp_path, [path, "x"])
    assert ended.status == 127
    message = json.loads(ended.told)
    assert (message["failed"], int(message["errno"], 8)) == ("exec it", number)


def test_nobody_who_reads_is_no_signal(arch, tmp_path):
    assert Ended(arch, tmp_path, ["/nowhere", "x"], readers=False).status == 127


@pytest.mark.parametrize("arch", NATIVE)  # qemu-user does without CLONE_PARENT
def test_it_bears_a_process(arch, tmp_path):
    reader, writer = os.pipe()
    birth = Birth(writer)
    birth.processes = (1000, 2000)
    script = "import os, resource; print(os.getpid(), os.getsid(0), *resource.getrlimit(resource.RLIMIT_NPROC))"
    ended = Ended(arch, tmp_path, [sys.executable, "python", "-c", script], birth=birth)
    os.close(writer)
    pid = int.from_bytes(os.read(reader, 4), sys.byteorder)
    os.close(reader)
    assert (ended.status, ended.told) == (0, b"")
    assert ended.out.split() == [str(pid), str(pid), "1000", "2000"]
    assert os.waitpid(pid, 0) == (pid, 0), "it is our child"


def test_it_has_the_filter_at_its_end(arch):
    machine, program = MACHINES[arch], b"\x06\0\0\0\0\0\xff\x7f" * 3
    built = build_trampoline(machine, 5, "exec it", filtered=True)
    whole = add_filter(machine, built, program, 4)
    word = machine.bits // 8
    fprog = trampoline._TABLE_OFFSET + trampoline._FPROG * word
    length = struct.unpack_from(machine.order + "H", whole, fprog)[0]
    address = struct.unpack_from(machine.order + ("I" if word == 4 else "Q"), whole, fprog + word)[0]
    assert whole[address - trampoline._DATA :] == program
    assert length == 3


def test_it_is_sealed():
    machine = own_machine()
    if machine is None:
        pytest.skip(f"there is no code for {platform.machine()}")
    fd = open_sealed(build_trampoline(machine, 5, "exec it"))
    try:
        assert fcntl.fcntl(fd, 1034) == 15  # F_GET_SEALS: all four
        with pytest.raises(PermissionError):
            os.write(fd, b"x")
        with pytest.raises(PermissionError):
            os.ftruncate(fd, 0)
        writer = os.open(f"/proc/self/fd/{fd}", os.O_RDWR)
        with pytest.raises(PermissionError):
            os.write(writer, b"x")
        os.close(writer)
        assert not os.get_inheritable(fd)
    finally:
        os.close(fd)
