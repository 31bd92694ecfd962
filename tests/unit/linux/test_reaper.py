# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The init of ours as a file: what it has for each machine. What it does is tried in tests/kernel/runtime/test_init.py.

Where emulators of other machines are installed (STOWAGE_TEST_QEMU may name qemu's directory), it is run there too.
"""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
import time
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.reaper import _MACHINES, build_reaper

MESSAGE = "init: cannot execute 'x'\n"
MACHINE = os.uname().machine
QUIET = {"capture_output": True, "timeout": 20}


def emulator(machine):
    """The command that runs a program of that machine; None where there is none."""
    if machine == MACHINE:
        return []
    path = os.environ.get("STOWAGE_TEST_QEMU", "") + os.pathsep + os.environ["PATH"]
    found = shutil.which(f"qemu-{machine}-static", path=path) or shutil.which(f"qemu-{machine}", path=path)
    return [found] if found else None


MACHINES = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(emulator(name) is None, reason=f"this is no {name}, and qemu-{name} is not there"),
    )
    for name in _MACHINES
]


@pytest.fixture
def reaper(tmp_path):
    def write(machine, *paths):
        file = tmp_path / "init"
        file.write_bytes(build_reaper(paths, MESSAGE, machine))
        file.chmod(0o755)
        return [*emulator(machine), str(file), "--"]

    return write


@pytest.mark.parametrize("machine", _MACHINES)
def test_it_is_an_elf_program_that_maps_nothing_both_written_and_executed(machine):
    content = build_reaper(["/bin/a", "/b"], MESSAGE, machine)
    assert content[:4] == b"\x7fELF"
    assert len(content) < 1200
    entry = struct.unpack_from("<Q", content, 24)[0]
    flags = [struct.unpack_from("<I", content, 64 + 56 * segment + 4)[0] for segment in range(2)]
    assert entry == 0x4000B0
    assert flags == [5, 6]  # read and execute; of the stack, read and write
    where, length = struct.unpack_from("<QQ", content, 0x400)
    assert content[where - 0x400000 :] == MESSAGE.encode()
    assert length == len(MESSAGE)
    assert content[0x410 : where - 0x400000] == b"/bin/a\0/b\0\0"


def test_code_and_data_do_not_meet():
    for _number, text in _MACHINES.values():
        code = "".join(line.split()[0] for line in text.strip().splitlines())
        assert 0xB0 + len(code) // 2 <= 0x400


def test_other_machines_have_none():
    assert build_reaper(["/bin/a"], MESSAGE, "riscv64") == b""


@pytest.mark.parametrize("machine", MACHINES)
def test_it_ends_as_its_command_does(machine, reaper):
    command = reaper(machine, "/nonsense/sh", "/bin/sh")
    done = subprocess.run([*command, "sh", "-c", "echo $0 $1; exit 5", "a", "b c"], check=False, **QUIET)
    assert (done.returncode, done.stdout) == (5, b"a b c\n")
    done = subprocess.run([*command, "sh", "-c", "kill -9 $$"], check=False, **QUIET)
    assert done.returncode == 128 + 9


@pytest.mark.parametrize("machine", MACHINES)
def test_a_command_that_is_not_there_is_told(machine, reaper):
    done = subprocess.run([*reaper(machine, "/nonsense", "/etc/passwd"), "x"], check=False, **QUIET)
    assert (done.returncode, done.stderr.decode()) == (127, MESSAGE)


@pytest.mark.parametrize("machine", MACHINES)
def test_signals_reach_the_command(machine, reaper, tmp_path):
    ready = tmp_path / "ready"
    script = f"trap 'exit 9' TERM; : >{ready}; while :; do sleep 0.05; done"
    process = subprocess.Popen([*reaper(machine, "/bin/sh"), "sh", "-c", script])
    try:
        end = time.monotonic() + 20
        while not ready.exists() and time.monotonic() < end:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 9
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("machine", MACHINES)
def test_others_end_is_not_the_command_s(machine, reaper):
    """A process that was left to it ends first: with another status, which is not told."""
    script = "(sh -c 'sleep 0.1; exit 3' &); sleep 0.5; exit 4"
    driver = "import ctypes, os, sys; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0); os.execv(sys.argv[1], sys.argv[1:])"
    command = [*reaper(machine, "/bin/sh"), "sh", "-c", script]
    done = subprocess.run([shutil.which("python3"), "-c", driver, *command], check=False, timeout=20)
    assert done.returncode == 4


def test_the_machine_code_is_what_the_instructions_say(tmp_path):
    """Where llvm-mc is installed, each instruction is assembled again."""
    if shutil.which("llvm-mc") is None:
        pytest.skip("llvm-mc is not installed")
    for machine, (_number, text) in _MACHINES.items():
        pairs = [line.split(None, 1) for line in text.strip().splitlines()]
        source = [".intel_syntax noprefix"] if machine == "x86_64" else []
        for _code, instruction in pairs:
            label, colon, rest = instruction.partition(": ")
            source += [f"{label}:", rest] if colon else [instruction]
        Path(tmp_path, "source.s").write_text("\n".join(source) + "\n")
        built = ["llvm-mc", f"-triple={machine}", "-filetype=obj", "-o", f"{tmp_path}/o", f"{tmp_path}/source.s"]
        subprocess.run(built, check=True, timeout=20)
        subprocess.run(["llvm-objcopy", "-O", "binary", "-j", ".text", f"{tmp_path}/o", f"{tmp_path}/b"], check=True)
        assert Path(tmp_path, "b").read_bytes().hex() == "".join(code for code, _instruction in pairs), machine
