"""What a payload is does not depend on the trampoline that it is executed by, and that asks for little."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.linux import trampoline
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.capabilities import NUMBERS
from tests.kernel.runtime.hosted import HostedRuntime, without_trampoline

ALL_KINDS = ("bounding", "effective", "permitted", "inheritable", "ambient")
SETS = ("CAP_CHOWN", "CAP_NET_BIND_SERVICE", "CAP_KILL")


@pytest.fixture
def runtime(app, tmp_path):
    runtime = HostedRuntime(app, tmp_path)
    yield runtime
    runtime.close()


@pytest.fixture(scope="module")
def app_without(app, tmp_path_factory):
    return without_trampoline(app, tmp_path_factory.mktemp("without") / "engine")


@pytest.fixture
def runtime_without(app_without, tmp_path):
    (tmp_path / "without").mkdir()
    runtime = HostedRuntime(app_without, tmp_path / "without")
    yield runtime
    runtime.close()


def capabilities(**kinds):
    return {kind: [f"CAP_{name}" for name in kinds.get(kind, ())] for kind in ALL_KINDS}


SOME = ("CHOWN", "NET_BIND_SERVICE", "KILL")
PROCESSES = {
    "root": {"capabilities": capabilities(bounding=SOME, permitted=SOME, effective=SOME)},
    "root with less": {"capabilities": capabilities(bounding=SOME, permitted=SOME[:1], effective=SOME[:1])},
    "root with all kinds": {"capabilities": dict.fromkeys(ALL_KINDS, SETS)},
    "user": {"user": {"uid": 1000, "gid": 1000}, "capabilities": capabilities(bounding=SOME)},
    "user with permitted ones": {
        "user": {"uid": 1000, "gid": 1000, "additionalGids": [50]},
        "capabilities": capabilities(bounding=SOME, permitted=SOME, effective=SOME[:2]),
    },
    "user with some ambient": {
        "user": {"uid": 1000, "gid": 1000},
        "capabilities": capabilities(
            bounding=SOME, permitted=SOME, effective=SOME, inheritable=SOME[:2], ambient=SOME[1:2]
        ),
    },
    "user with all kinds": {"user": {"uid": 1000, "gid": 1000}, "capabilities": dict.fromkeys(ALL_KINDS, SETS)},
    "user with inheritable ones": {
        "user": {"uid": 1000, "gid": 1000},
        "capabilities": capabilities(bounding=SOME, permitted=SOME, effective=SOME, inheritable=SOME),
    },
}
IGNORED = (
    "SigQ",
    "Pid",
    "Tgid",
    "NStgid",
    "NSpid",
    "NSpgid",
    "NSsid",
    "voluntary_ctxt_switches",
    "nonvoluntary_ctxt_switches",
)


def status(text):
    """What /proc/self/status says, without what differs from run to run."""
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {name: value for name, value in fields.items() if name not in IGNORED and not name.startswith(("Vm", "Rss"))}


def write_file_capabilities(path, names):
    """What `setcap cap_...+ep` writes (linux/capability.h, struct vfs_cap_data of version 2)."""
    mask = sum(1 << NUMBERS[f"CAP_{name}"] for name in names)
    os.setxattr(path, "security.capability", struct.pack("<5I", 0x02000001, mask & 0xFFFFFFFF, 0, mask >> 32, 0))


@pytest.mark.parametrize("no_new_privileges", [True, False])
@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES.keys())
def test_the_payload_is_the_same(runtime, runtime_without, process, no_new_privileges):
    """A plain program, and one with file capabilities, which no_new_privs limits to what was permitted before."""
    told = []
    for each in (runtime, runtime_without):
        for name in ("plain", "capable"):
            (each.rootfs / "srv" / name).mkdir()
            shutil.copy("/bin/busybox", each.rootfs / "srv" / name / "cat")
        write_file_capabilities(each.rootfs / "srv/capable/cat", ("NET_BIND_SERVICE", "CHOWN"))
        each.configure(lambda spec: spec["process"].update(process, noNewPrivileges=no_new_privileges))
        found = []
        for program in ("plain", "capable"):
            done = each.run(f"/srv/{program}/cat", "/proc/self/status")
            assert done.returncode == 0, done
            found.append(status(done.stdout))
        told.append(found)
    assert told[0] == told[1]
    if no_new_privileges and process is PROCESSES["user with permitted ones"]:
        assert int(told[0][1]["CapPrm"], 16) == 1 << NUMBERS["CAP_CHOWN"] | 1 << NUMBERS["CAP_NET_BIND_SERVICE"]


def static_program(code):
    """An ELF file that is ``code`` alone, for x86_64."""
    header = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    header += struct.pack("<HHI3QI6H", 2, 62, 1, 0x400078, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return header + struct.pack("<II6Q", 1, 5, 0, 0x400000, 0x400000, 0x1000, 0x1000, 0x1000) + code


EXIT_7 = bytes.fromhex("bf07000000 b8e7000000 0f05")  # mov edi, 7; mov eax, 231; syscall
X86_ONLY = pytest.mark.skipif(os.uname().machine != "x86_64", reason="the payload is machine code of x86_64")


@X86_ONLY
def test_a_filter_need_allow_nothing_but_what_the_payload_does(runtime):
    (runtime.rootfs / "srv/exit").write_bytes(static_program(EXIT_7))
    (runtime.rootfs / "srv/exit").chmod(0o755)
    rule = {"names": ["execve", "exit_group"], "action": "SCMP_ACT_ALLOW"}
    seccomp = {"defaultAction": "SCMP_ACT_KILL_PROCESS", "syscalls": [rule]}
    runtime.configure(lambda spec: spec["linux"].update(seccomp=seccomp))
    done = runtime.run("/srv/exit", noNewPrivileges=True)
    assert (done.returncode, done.stderr) == (7, "")


# Without no_new_privs the filter comes before the user changes and the creator hears of that: write(2) is needed then.
@pytest.mark.parametrize(
    ("names", "no_new_privileges"),
    [(("fcntl", "write"), True), (("execveat",), True), (("fcntl",), False), (("execveat",), False)],
)
def test_a_filter_that_forbids_what_the_trampoline_does(runtime, names, no_new_privileges):
    shutil.copy("/bin/busybox", runtime.rootfs / "srv/false")
    seccomp = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": list(names), "action": "SCMP_ACT_ERRNO"}]}
    runtime.configure(lambda spec: spec["linux"].update(seccomp=seccomp))
    done = runtime.run("/srv/false", noNewPrivileges=no_new_privileges)
    assert (done.returncode, done.stderr) == (1, "")
    runtime.start("/bin/sleep", "60", noNewPrivileges=no_new_privileges)
    done = runtime("exec", runtime.id, "/srv/false")
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_what_the_kernel_cannot_execute_is_told(runtime, no_new_privileges):
    (runtime.rootfs / "srv/bad").write_bytes(b"\x00 nonsense")
    (runtime.rootfs / "srv/bad").chmod(0o755)
    done = runtime.run("/srv/bad", noNewPrivileges=no_new_privileges)
    assert done.returncode != 0
    assert "exec /srv/bad: exec format error" in done.stderr
    runtime.start("/bin/sleep", "60", noNewPrivileges=no_new_privileges)
    done = runtime("exec", runtime.id, "/srv/bad")
    assert done.returncode != 0
    assert "exec /srv/bad: exec format error" in done.stderr


def test_a_host_that_executes_no_files_in_memory(runtime):
    """vm.memfd_noexec=2 (Linux 6.3), which is a pid namespace's own."""
    if not Path("/proc/sys/vm/memfd_noexec").exists():
        pytest.skip("this kernel has no vm.memfd_noexec: it came with 6.3")
    runtime.configure(lambda spec: spec["process"].update(args=["/bin/readlink", "/proc/self/exe"]))
    command = " ".join([*runtime.command, "run", "-b", str(runtime.bundle), runtime.id])
    script = f"echo 2 >/proc/sys/vm/memfd_noexec && {command} && cat /proc/sys/vm/memfd_noexec"
    argv = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", script]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "/usr/bin/readlink\n2\n")


def test_an_entered_process_has_its_own_limit_of_processes(runtime):
    """RLIMIT_NPROC of 1 is enough for one process: whoever bears it does not count."""
    user = {"uid": 54_321, "gid": 54_321}
    limits = [{"type": "RLIMIT_NPROC", "soft": 1, "hard": 1}]
    runtime.start("/bin/sleep", "60")
    process = json.loads((runtime.bundle / "config.json").read_text())["process"]
    process.update(user=user, rlimits=limits, args=["/bin/cat", "/proc/self/limits"])
    (runtime.bundle / "process.json").write_text(json.dumps(process))
    done = runtime("exec", "--process", str(runtime.bundle / "process.json"), runtime.id)
    assert done.returncode == 0, done
    assert [line.split()[2:4] for line in done.stdout.splitlines() if line.startswith("Max processes")] == [["1", "1"]]


def test_a_machine_without_code_for_it_is_known(monkeypatch):
    monkeypatch.setattr(trampoline.os, "uname", lambda: type("Name", (), {"machine": "m68k"}))
    assert trampoline.own_machine() is None
