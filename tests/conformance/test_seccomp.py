# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""config-linux.md, Seccomp: actions, comparisons, architectures, flags and the listener."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import select
import struct
import threading

import pytest

from .terminal import console, receive_fd

item = pytest.mark.item

ARCHITECTURES = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64", "riscv64": "SCMP_ARCH_RISCV64"}


# What a container needs to get to its shell and through it, whatever the runtime.
SHELL_CALLS = """\
access arch_prctl brk capget capset chdir clock_gettime clone clone3 close close_range dup dup2 dup3 epoll_create1
epoll_ctl epoll_pwait epoll_wait eventfd2 execve execveat exit exit_group faccessat faccessat2 fchdir fcntl fstat
fstatfs futex getcwd getdents64 getegid geteuid getgid getgroups getpgid getpgrp getpid getppid getrandom getrlimit
gettid getuid ioctl kill lseek lstat madvise membarrier mmap mprotect munmap nanosleep newfstatat open openat
openat2 pipe pipe2 poll ppoll prctl pread64 prlimit64 pwrite64 read readlink readlinkat rseq rt_sigaction
rt_sigprocmask rt_sigreturn sched_getaffinity sched_yield seccomp select sendmsg set_robust_list set_tid_address
setgid setgroups setresgid setresuid setsid setuid sigaltstack socketpair stat statfs statx tgkill umask uname vfork
wait4 waitid write writev
"""


def seccomp(box, *rules, default="SCMP_ACT_ALLOW", **more):
    box.linux["seccomp"] = {"defaultAction": default, "syscalls": list(rules), **more}


def rule(action, names=("mkdir", "mkdirat"), **more):
    return {"names": list(names), "action": action, **more}


def mkdir(box):
    """What mkdir(1) in the container says: its exit status and stderr."""
    said = box.sh("mkdir /data/new 2>&1; echo $?").splitlines()
    return int(said[-1]), "\n".join(said[:-1])


@item("config-linux/seccomp/defaultAction")
def test_the_default_action_is_for_all_other_calls(box):
    # An allow list of what a shell needs would be long; so all is logged, which lets it pass, but one.
    seccomp(box, rule("SCMP_ACT_ERRNO"), default="SCMP_ACT_LOG")
    code, said = mkdir(box)
    assert code != 0
    assert "not permitted" in said


@item("config-linux/seccomp/defaultAction/SCMP_ACT_ERRNO")
def test_a_default_action_that_denies(box):
    seccomp(box, default="SCMP_ACT_ERRNO")
    assert box.run("true").returncode != 0


@item("config-linux/seccomp/defaultErrnoRet")
def test_the_error_of_the_default_action(box):
    allowed = rule("SCMP_ACT_ALLOW", SHELL_CALLS.split())
    seccomp(box, allowed, default="SCMP_ACT_ERRNO", defaultErrnoRet=28)
    code, said = mkdir(box)
    assert code != 0
    assert "No space left" in said


@item("config-linux/seccomp/defaultAction/unknown")
def test_an_unknown_default_action_is_refused(box):
    seccomp(box, default="SCMP_ACT_PLEASE")
    box.refuse()


@item("config-linux/seccomp/defaultAction/missing")
def test_a_default_action_is_required(box):
    box.linux["seccomp"] = {"syscalls": []}
    box.refuse()


@item("config-linux/seccomp/syscalls/action/SCMP_ACT_ERRNO")
def test_an_error_is_returned(box):
    seccomp(box, rule("SCMP_ACT_ERRNO"))
    code, said = mkdir(box)
    assert code != 0
    assert "not permitted" in said


@item("config-linux/seccomp/syscalls/errnoRet")
def test_which_error_is_returned(box):
    seccomp(box, rule("SCMP_ACT_ERRNO", errnoRet=30))
    assert "Read-only file system" in mkdir(box)[1]


KILLS = {"SCMP_ACT_KILL": 31, "SCMP_ACT_KILL_THREAD": 31, "SCMP_ACT_KILL_PROCESS": 31, "SCMP_ACT_TRAP": 31}


@item("config-linux/seccomp/syscalls/action/{action}")
@pytest.mark.parametrize("action", KILLS)
def test_the_process_is_killed(box, action):
    seccomp(box, rule(action))
    assert mkdir(box)[0] == 128 + KILLS[action]


@item("config-linux/seccomp/syscalls/action/{action}")
@pytest.mark.parametrize("action", ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG"])
def test_the_call_passes(box, action):
    seccomp(box, rule(action))
    assert mkdir(box) == (0, "")


@item("config-linux/seccomp/syscalls/action/SCMP_ACT_TRACE")
def test_without_a_tracer_a_traced_call_fails(box):
    seccomp(box, rule("SCMP_ACT_TRACE"))
    code, said = mkdir(box)
    assert code != 0
    assert "not implemented" in said  # seccomp(2), SECCOMP_RET_TRACE: ENOSYS


@item("config-linux/seccomp/syscalls/action/unknown")
def test_an_unknown_action_is_refused(box):
    seccomp(box, rule("SCMP_ACT_PLEASE"))
    box.refuse()


@item("config-linux/seccomp/syscalls/names/none")
def test_a_rule_has_a_name(box):
    seccomp(box, {"names": [], "action": "SCMP_ACT_ERRNO"})
    box.refuse()


@item("config-linux/seccomp/syscalls/names/unknown")
def test_calls_that_this_machine_does_not_know_are_left_out(box):
    """Profiles name the calls of all architectures and of later kernels."""
    seccomp(box, rule("SCMP_ACT_ERRNO", ("no_such_call", "mkdir", "mkdirat")))
    assert mkdir(box)[0] != 0


# Comparisons, on the second argument of kill(2): signals that a shell ignores, or 0

SIGNALS = (0, 17, 18, 23, 28)
OPERATORS = {
    "SCMP_CMP_NE": lambda signal: signal != 18,
    "SCMP_CMP_LT": lambda signal: signal < 18,
    "SCMP_CMP_LE": lambda signal: signal <= 18,
    "SCMP_CMP_EQ": lambda signal: signal == 18,
    "SCMP_CMP_GE": lambda signal: signal >= 18,
    "SCMP_CMP_GT": lambda signal: signal > 18,
}


def refused_signals(box, *args):
    seccomp(box, rule("SCMP_ACT_ERRNO", ("kill",), args=list(args)))
    said = box.sh(f"for n in {' '.join(map(str, SIGNALS))}; do kill -$n $$ 2>/dev/null || echo $n; done")
    return [int(word) for word in said.split()]


@item("config-linux/seccomp/syscalls/args/op/{op}")
@pytest.mark.parametrize("op", OPERATORS)
def test_a_comparison(box, op):
    found = refused_signals(box, {"index": 1, "value": 18, "op": op})
    assert found == [signal for signal in SIGNALS if OPERATORS[op](signal)]


@item("config-linux/seccomp/syscalls/args/op/SCMP_CMP_MASKED_EQ")
def test_a_comparison_of_some_bits(box):
    # value is the mask, valueTwo what is left under it.
    found = refused_signals(box, {"index": 1, "value": 0b10001, "valueTwo": 0b10000, "op": "SCMP_CMP_MASKED_EQ"})
    assert found == [18, 28]


@item("config-linux/seccomp/syscalls/args/all of them")
def test_all_comparisons_of_a_rule_have_to_hold(box):
    found = refused_signals(
        box, {"index": 1, "value": 28, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}
    )
    assert found == []


@item("config-linux/seccomp/syscalls/args/64 bits")
def test_arguments_have_64_bits(box):
    found = refused_signals(box, {"index": 1, "value": (1 << 32) + 18, "op": "SCMP_CMP_LT"})
    assert found == list(SIGNALS)


@item("config-linux/seccomp/syscalls/args/unknown op")
def test_an_unknown_comparison_is_refused(box):
    seccomp(box, rule("SCMP_ACT_ERRNO", args=[{"index": 0, "value": 1, "op": "SCMP_CMP_LIKE"}]))
    box.refuse()


@item("config-linux/seccomp/syscalls/args/index out of range")
def test_a_call_has_six_arguments(box):
    seccomp(box, rule("SCMP_ACT_ERRNO", args=[{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}]))
    box.refuse()


@item("config-linux/seccomp/architectures")
def test_the_architectures_of_calls(box):
    native = ARCHITECTURES.get(platform.machine())
    if native is None:
        pytest.skip(f"not on this machine: {platform.machine()} is not in the test's list")
    seccomp(box, rule("SCMP_ACT_ERRNO"), architectures=[native])
    assert mkdir(box)[0] != 0


@item("config-linux/seccomp/architectures/several")
def test_several_architectures(box):
    seccomp(box, rule("SCMP_ACT_ERRNO"), architectures=["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"])
    if platform.machine() != "x86_64":
        pytest.skip("not on this machine: the test is about x86")
    assert mkdir(box)[0] != 0


@item("config-linux/seccomp/architectures/unknown")
def test_an_unknown_architecture_is_refused(box):
    seccomp(box, architectures=["SCMP_ARCH_PDP11"])
    box.refuse()


@item("config-linux/seccomp/flags/{flag}")
@pytest.mark.parametrize(
    "flag", ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]
)
def test_a_flag(box, flag):
    seccomp(box, rule("SCMP_ACT_ERRNO"), flags=[flag])
    assert mkdir(box)[0] != 0
    assert box.sh("grep ^Seccomp: /proc/self/status").split() == ["Seccomp:", "2"]


@item("config-linux/seccomp/flags/unknown")
def test_an_unknown_flag_is_refused(box):
    seccomp(box, rule("SCMP_ACT_ERRNO"), flags=["SECCOMP_FILTER_FLAG_NOTHING"])
    box.refuse()


@item("config-linux/seccomp/errnoRet/of an action without errors")
def test_an_error_for_an_action_that_returns_none_is_refused(box):
    seccomp(box, rule("SCMP_ACT_KILL_PROCESS", errnoRet=5))
    box.refuse_to_run()


@item("config-linux/seccomp/none")
def test_no_filter_is_loaded_where_none_is_asked_for(box):
    # Whatever filter the caller is under is inherited.
    with open("/proc/self/status", encoding="ascii") as status:
        mine = next(line for line in status if line.startswith("Seccomp:")).split()
    assert box.sh("grep ^Seccomp: /proc/self/status").split() == mine


# The listener


@contextlib.contextmanager
def agent(path):
    """Takes the listener and answers every call with EDOM until all that could ask have ended; what it was told."""
    told = {}
    with console(path) as listener:

        def serve():
            fd, message = receive_fd(listener, is_json)
            told.update(json.loads(message))
            told["fd"] = os.readlink(f"/proc/self/fd/{fd}")
            with contextlib.suppress(OSError):
                answer_all(fd)
            os.close(fd)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield told
        thread.join(10)


def is_json(message):
    """The state may come in several parts."""
    try:
        json.loads(message)
    except ValueError:
        return False
    return True


def answer_all(fd):
    """SECCOMP_IOCTL_NOTIF_RECV and _SEND (linux/seccomp.h) until the last process under the filter ends."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while True:
        events = poll.poll(10000)
        if not events or events[0][1] & select.POLLHUP:
            return
        request = fcntl.ioctl(fd, 0xC0502100, bytes(80))
        (number,) = struct.unpack_from("Q", request)
        fcntl.ioctl(fd, 0xC0182101, struct.pack("QqiI", number, 0, -33, 0))


@item("config-linux/seccomp/listenerPath")
def test_a_listener_gets_the_calls_and_answers_them(box):
    seccomp(box, rule("SCMP_ACT_NOTIFY"), listenerPath=str(box.directory / "agent"), listenerMetadata="mine")
    with agent(box.directory / "agent") as told:
        code, said = mkdir(box)
    assert code != 0
    assert "out of" in said  # EDOM: Numerical argument out of domain, Math argument out of domain of func
    assert told["fd"] == "anon_inode:seccomp notify"


@item("config-linux/seccomp/listenerPath/container process state")
def test_what_a_listener_is_told(box):
    seccomp(box, rule("SCMP_ACT_NOTIFY"), listenerPath=str(box.directory / "agent"), listenerMetadata="mine")
    box.spec["annotations"] = {"com.example.key": "value"}
    with agent(box.directory / "agent") as told:
        box.start()
        pid = box.pid()
        box.must("delete", "--force", box.id)
    assert told["ociVersion"]
    assert told["fds"] == ["seccompFd"]
    assert told["pid"] == pid
    assert told["metadata"] == "mine"
    state = told["state"]
    assert (state["id"], state["bundle"]) == (box.id, str(box.directory))
    assert state["annotations"] == {"com.example.key": "value"}


@item("config-linux/seccomp/listenerPath/nobody listens")
def test_a_listener_that_is_not_there_is_an_error(box):
    seccomp(box, rule("SCMP_ACT_NOTIFY"), listenerPath=str(box.directory / "nobody"))
    box.refuse_to_run()


@item("config-linux/seccomp/listenerPath/not used")
def test_the_listener_is_ignored_without_notify(box):
    seccomp(box, rule("SCMP_ACT_ERRNO"), listenerPath=str(box.directory / "nobody"))
    assert mkdir(box)[0] != 0


@item("config-linux/seccomp/listenerMetadata/without listenerPath")
def test_metadata_without_a_listener_is_refused(box):
    seccomp(box, rule("SCMP_ACT_ERRNO"), listenerMetadata="mine")
    box.refuse_to_run()


@item("config-linux/seccomp/syscalls/action/SCMP_ACT_NOTIFY/without listenerPath")
def test_notify_without_a_listener_is_refused(box):
    seccomp(box, rule("SCMP_ACT_NOTIFY"))
    box.refuse_to_run()
