"""What a process is (runtime-spec, config.md, Process; config-linux.md): each property asked for, and looked at.

As long as that chapter of the specification, a few lines each property.
"""

from __future__ import annotations

import ctypes
import json
import os
import shlex
import struct
import subprocess
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.scheduler import POLICIES
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.seccomp_profile import native_architecture
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.syscalls import syscall_numbers
from ansible_collections.stowage.engine.plugins.module_utils._engine.runtime.steps.labels import (
    has_apparmor,
    has_selinux,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.runtime.steps.process import SealImports
from tests.kernel.linux.forked import run_forked
from tests.kernel.runtime.hosted import HostedRuntime

CPUS = sorted(os.sched_getaffinity(0))
NUMBERS = syscall_numbers(native_architecture())


def set_at(path, value):
    def change(spec):
        holder = spec
        for part in path.split(".")[:-1]:
            holder = holder.setdefault(part, {})
        holder[path.split(".")[-1]] = value

    return change


def detached(runtime, *words):
    """Call with streams that the container may keep."""
    with (runtime.bundle / "stderr").open("w+") as errors:
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": errors}
        command = [runtime.command, "--root", runtime.root, *words]
        status = subprocess.run(command, **streams, timeout=20, check=False).returncode
        errors.seek(0)
        assert status == 0, errors.read()


def start(runtime, *changes):
    """Create and start; the pid of the init."""
    for change in changes:
        runtime.configure(change)
    detached(runtime, "run", "-d", "-b", str(runtime.bundle), runtime.id)
    return json.loads(runtime("state", runtime.id).stdout)["pid"]


def output(runtime, *args, changes=()):
    """What ``args`` write in a container of their own."""
    for change in (*changes, set_at("process.args", list(args))):
        runtime.configure(change)
    done = runtime("run", "-b", str(runtime.bundle), runtime.id)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def refused(runtime, *changes, command="create"):
    for change in changes:
        runtime.configure(change)
    done = runtime(command, "-b", str(runtime.bundle), runtime.id)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert runtime("list", "-q").stdout == ""
    return done.stderr


def system_call(name, *arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    result = libc.syscall(
        NUMBERS[name], *(ctypes.c_long(value) if isinstance(value, int) else value for value in arguments)
    )
    assert result >= 0, os.strerror(ctypes.get_errno())
    return result


def scheduling_of(pid):
    """policy, flags, nice, priority, runtime, deadline, period (sched_getattr(2))."""
    buffer = ctypes.create_string_buffer(56)
    system_call("sched_getattr", pid, buffer, 56, 0)
    return struct.unpack("=IIQiIQQQII", buffer.raw)[1:8]


@pytest.mark.parametrize(
    ("scheduler", "found"),
    [
        ({"policy": "SCHED_OTHER", "nice": 7}, (0, 0, 7, 0)),
        ({"policy": "SCHED_BATCH", "nice": -3}, (3, 0, -3, 0)),
        ({"policy": "SCHED_IDLE", "flags": ["SCHED_FLAG_RESET_ON_FORK"]}, (5, 1, 0, 0)),
    ],
)
def test_scheduler(runtime, scheduler, found):
    pid = start(runtime, set_at("process.scheduler", scheduler))
    assert scheduling_of(pid)[:4] == found


def test_scheduler_with_a_deadline(runtime, tmp_path):
    """For a process that enters: the init of a cgroup with a cpuset of its own may not have it."""
    start(runtime)
    wanted = {"policy": "SCHED_DEADLINE", "flags": ["SCHED_FLAG_RESET_ON_FORK"]}
    wanted.update(runtime=10_000_000, deadline=20_000_000, period=30_000_000)
    (tmp_path / "process.json").write_text(json.dumps({"args": ["sleep", "60"], "cwd": "/", "scheduler": wanted}))
    words = ("--pid-file", str(tmp_path / "pid"), "--process", str(tmp_path / "process.json"), runtime.id)
    detached(runtime, "exec", "-d", *words)
    pid = int((tmp_path / "pid").read_text())
    assert scheduling_of(pid) == (POLICIES["SCHED_DEADLINE"], 1, 0, 0, 10_000_000, 20_000_000, 30_000_000)


def test_scheduler_in_real_time_needs_time_for_it(runtime):
    told = refused(runtime, set_at("process.scheduler", {"policy": "SCHED_FIFO", "priority": 10}))
    assert "set the scheduling policy SCHED_FIFO (process.scheduler): operation not permitted" in told
    if Path("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists():
        assert "linux.resources.cpu.realtimeRuntime" in told


@pytest.mark.parametrize(
    ("scheduler", "option"),
    [
        ({"policy": "SCHED_OTHER", "nice": 20}, "nice"),
        ({"policy": "SCHED_OTHER", "priority": 1}, "priority"),
        ({"policy": "SCHED_RR"}, "priority"),
        ({"policy": "SCHED_FIFO", "priority": 100}, "priority"),
        ({"policy": "SCHED_BATCH", "runtime": 5000}, "runtime"),
        ({"policy": "SCHED_DEADLINE", "runtime": 1000, "deadline": 2000}, ""),
        ({"policy": "SCHED_DEADLINE", "runtime": 5000, "deadline": 2000}, ""),
        ({"policy": "SCHED_DEADLINE", "runtime": 5000, "deadline": 7000, "period": 6000}, ""),
    ],
)
def test_a_scheduler_that_cannot_be(runtime, scheduler, option):
    where = f"process.scheduler{'.' if option else ''}{option}: "
    assert where in refused(runtime, set_at("process.scheduler", scheduler))


@pytest.mark.parametrize(("name", "priority", "value"), [("RT", 3, 1 << 13 | 3), ("BE", 7, 2 << 13 | 7)])
def test_io_priority(runtime, name, priority, value):
    pid = start(runtime, set_at("process.ioPriority", {"class": f"IOPRIO_CLASS_{name}", "priority": priority}))
    assert system_call("ioprio_get", 1, pid) == value
    # Who enters has the same, because the process is the container's own with other arguments.
    done = runtime("exec", runtime.id, "busybox", "ionice")
    assert {"RT": "realtime", "BE": "best-effort"}[name] in done.stdout, done.stderr


def test_io_priority_idle_without_a_priority(runtime):
    pid = start(runtime, set_at("process.ioPriority", {"class": "IOPRIO_CLASS_IDLE"}))
    assert system_call("ioprio_get", 1, pid) >> 13 == 3


@pytest.mark.parametrize(
    ("affinity", "found"),
    [
        ({"initial": str(CPUS[-1])}, str(CPUS[-1])),
        ({"initial": str(CPUS[0]), "final": str(CPUS[-1])}, str(CPUS[-1])),
        ({"final": str(CPUS[0])}, str(CPUS[0])),
        ({"final": ""}, None),
    ],
)
def test_exec_cpu_affinity(runtime, affinity, found):
    start(runtime, set_at("process.execCPUAffinity", affinity))
    all_cpus = allowed(runtime("exec", runtime.id, "cat", "/proc/1/status").stdout)
    done = runtime("exec", runtime.id, "cat", "/proc/self/status")
    assert allowed(done.stdout) == (all_cpus if found is None else found), done.stderr


def allowed(status):
    return next(line.split()[1] for line in status.splitlines() if line.startswith("Cpus_allowed_list:"))


def test_exec_cpu_affinity_with_cpus_that_are_not_there(runtime):
    start(runtime)
    process = {"args": ["true"], "cwd": "/", "execCPUAffinity": {"initial": "8000"}}
    (runtime.bundle / "process.json").write_text(json.dumps(process))
    done = runtime("exec", "--process", str(runtime.bundle / "process.json"), runtime.id)
    assert done.returncode == 255
    assert "run on the CPUs 8000 (process.execCPUAffinity.initial): invalid argument" in done.stderr


def test_an_empty_list_with_a_line_feed_asks_for_nothing(runtime):
    policy = {"mode": "MPOL_DEFAULT", "nodes": "\n"}
    affinity = {"initial": "\n", "final": "\n"}
    start(runtime, set_at("process.execCPUAffinity", affinity), set_at("linux.memoryPolicy", policy))
    done = runtime("exec", runtime.id, "true")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(len(CPUS) < 2, reason="there is nothing to be bound to on a machine with one CPU")
def test_the_callers_affinity_is_not_the_containers(runtime):
    """As with runc 1.3 and later: whoever calls may be bound to a CPU by its own manager."""
    runtime.configure(set_at("process.args", ["cat", "/proc/self/status"]))
    done = runtime("run", "-b", str(runtime.bundle), runtime.id, preexec_fn=lambda: os.sched_setaffinity(0, CPUS[:1]))
    assert allowed(done.stdout) != str(CPUS[0]), done.stderr


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="only x86_64 has a 32-bit name that this test knows")
@pytest.mark.parametrize(("domain", "machine"), [("LINUX32", "i686"), ("LINUX", "x86_64")])
def test_personality(runtime, domain, machine):
    start(runtime, set_at("linux.personality", {"domain": domain, "flags": []}))
    assert runtime("exec", runtime.id, "busybox", "uname", "-m").stdout == f"{machine}\n"
    pid = json.loads(runtime("state", runtime.id).stdout)["pid"]
    assert Path(f"/proc/{pid}/personality").read_text() == {"LINUX32": "00000008\n", "LINUX": "00000000\n"}[domain]


def test_personality_flags_are_none_yet(runtime):
    wanted = {"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}
    assert "linux.personality.flags" in refused(runtime, set_at("linux.personality", wanted))


@pytest.mark.parametrize(
    ("policy", "found"),
    [
        ({"mode": "MPOL_BIND", "nodes": "0"}, "bind:0"),
        ({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}, "bind=static:0"),
        ({"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES"]}, "interleave=relative:0"),
        ({"mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": "0"}, "weighted interleave:0"),
        ({"mode": "MPOL_PREFERRED", "nodes": "0"}, "prefer:0"),
        ({"mode": "MPOL_PREFERRED"}, "local"),
        ({"mode": "MPOL_PREFERRED_MANY", "nodes": "0"}, "prefer (many):0"),
        ({"mode": "MPOL_LOCAL"}, "local"),
        ({"mode": "MPOL_DEFAULT"}, "default"),
    ],
)
@pytest.mark.skipif(not Path("/proc/self/numa_maps").exists(), reason="a kernel without NUMA has no memory policies")
def test_memory_policy(runtime, policy, found):
    pid = start(runtime, set_at("linux.memoryPolicy", policy))
    lines = Path(f"/proc/{pid}/numa_maps").read_text().splitlines()
    assert {line.split(" ", 1)[1].split(" anon")[0].split(" file")[0].split(" stack")[0] for line in lines} & {found}, (
        lines
    )


@pytest.mark.parametrize(
    ("policy", "where"),
    [
        ({"mode": "MPOL_LOCAL", "nodes": "0"}, "linux.memoryPolicy.nodes"),
        ({"mode": "MPOL_BIND"}, "linux.memoryPolicy.nodes"),
        ({"mode": "MPOL_BIND", "nodes": "1024"}, "linux.memoryPolicy.nodes"),
        ({"mode": "MPOL_BIND", "nodes": "1023"}, "set the memory policy MPOL_BIND, nodes 1023"),
        (
            {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]},
            "linux.memoryPolicy.flags",
        ),
    ],
)
def test_a_memory_policy_that_cannot_be(runtime, policy, where):
    assert where in refused(runtime, set_at("linux.memoryPolicy", policy))


def add_namespace(**entry):
    def change(spec):
        spec["linux"]["namespaces"] = [n for n in spec["linux"]["namespaces"] if n["type"] != entry["type"]]
        spec["linux"]["namespaces"].append(entry)

    return change


OFFSETS = {"monotonic": {"secs": 7881, "nanosecs": 2718281}, "boottime": {"secs": 1337}}


def test_a_time_namespace_with_offsets(runtime):
    pid = start(runtime, add_namespace(type="time"), set_at("linux.timeOffsets", OFFSETS))
    lines = runtime("exec", runtime.id, "cat", "/proc/self/timens_offsets").stdout.splitlines()
    assert [line.split() for line in lines] == [["monotonic", "7881", "2718281"], ["boottime", "1337", "0"]]
    host = float(Path("/proc/uptime").read_text().split()[0])
    inside = float(runtime("exec", runtime.id, "cat", "/proc/uptime").stdout.split()[0])
    assert 1336 < inside - host < 1400
    assert os.readlink(f"/proc/{pid}/ns/time") != os.readlink("/proc/self/ns/time")


def test_a_time_namespace_without_offsets_and_in_a_user_namespace(runtime):
    def user(spec):
        for name in ("uidMappings", "gidMappings"):
            spec["linux"][name] = [{"containerID": 0, "hostID": 0, "size": 65536}]

    lines = output(runtime, "cat", "/proc/self/timens_offsets", changes=[add_namespace(type="time")]).splitlines()
    assert [line.split()[1:] for line in lines] == [["0", "0"], ["0", "0"]]
    changes = [add_namespace(type="user"), user, set_at("linux.timeOffsets", OFFSETS)]
    assert "7881" in output(runtime, "cat", "/proc/self/timens_offsets", changes=changes)


def test_a_time_namespace_that_is_joined(runtime):
    holder = subprocess.Popen(["unshare", "--time", "--boottime", "4711", "sleep", "60"])
    try:
        path = f"/proc/{holder.pid}/ns/time_for_children"
        while os.readlink(path) == os.readlink("/proc/self/ns/time"):
            pass
        text = output(runtime, "cat", "/proc/self/timens_offsets", changes=[add_namespace(type="time", path=path)])
        assert "4711" in text
    finally:
        holder.kill()
        holder.wait()


@pytest.mark.parametrize(
    ("offsets", "where"),
    [
        ({"boottime": {"secs": -(1 << 40)}}, "linux.timeOffsets.boottime.secs"),
        ({"monotonic": {"secs": 1 << 62}}, "linux.timeOffsets.monotonic.secs"),
        ({"realtime": {"secs": 1}}, "linux.timeOffsets.realtime"),
    ],
)
def test_time_offsets_that_cannot_be(runtime, offsets, where):
    assert where in refused(runtime, add_namespace(type="time"), set_at("linux.timeOffsets", offsets))


def test_time_offsets_without_a_time_namespace(runtime):
    assert "linux.timeOffsets" in refused(runtime, set_at("linux.timeOffsets", OFFSETS))


def test_user_umask_groups_and_limits(runtime):
    user = {"uid": 1000, "gid": 50, "umask": 0o027, "additionalGids": [5, 6]}
    limits = [{"type": "RLIMIT_CORE", "soft": 0, "hard": 1 << 40}, {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]
    changes = [set_at("process.user", user), set_at("process.rlimits", limits)]
    script = "id -u; id -g; id -G; umask; cat /proc/self/limits"
    lines = output(runtime, "sh", "-c", script, changes=changes).splitlines()
    assert lines[:4] == ["1000", "50", "50 5 6", "0027"]
    found = {line[:26].strip(): line[26:].split()[:2] for line in lines[4:]}
    assert found["Max core file size"] == ["0", str(1 << 40)]
    assert found["Max open files"] == ["100", "200"]


def test_without_a_umask_it_is_the_callers(runtime):
    runtime.configure(set_at("process.args", ["sh", "-c", "umask"]))
    done = runtime("run", "-b", str(runtime.bundle), runtime.id, preexec_fn=lambda: os.umask(0o035))
    assert done.stdout == "0035\n", done.stderr


def test_a_limit_over_what_may_be_says_what_it_takes(runtime):
    limits = [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": (1 << 64) - 2}]
    told = refused(runtime, set_at("process.rlimits", limits))
    assert "set RLIMIT_NOFILE to 1, hard 18446744073709551614: operation not permitted" in told


def test_console_size_host_and_domain_name(runtime):
    changes = [
        set_at("process.terminal", True),
        set_at("process.consoleSize", {"height": 33, "width": 111}),
        set_at("hostname", "mrsdalloway"),
        set_at("domainname", "foobarbaz.test"),
        set_at("process.args", ["sh", "-c", "busybox stty size; hostname; cat /proc/sys/kernel/domainname"]),
    ]
    for change in changes:
        runtime.configure(change)
    done = runtime("run", "-b", str(runtime.bundle), runtime.id)
    assert done.stdout.split() == ["33", "111", "mrsdalloway", "foobarbaz.test"], done.stderr


def test_console_size_is_ignored_without_a_terminal(runtime):
    changes = [set_at("process.consoleSize", {"height": 1 << 40, "width": 1})]
    assert output(runtime, "echo", "fine", changes=changes) == "fine\n"


KEYRING = """
import ctypes, json, sys
libc = ctypes.CDLL(None, use_errno=True)
# KEYCTL_GET_KEYRING_ID of KEY_SPEC_SESSION_KEYRING
print(libc.syscall(ctypes.c_long(int(sys.argv[1])), 0, -3, 0, 0, 0))
"""


@pytest.mark.skipif(not Path("/proc/keys").exists(), reason="this kernel has no keys")
@pytest.mark.parametrize("words", [[], ["--no-new-keyring"]])
def test_the_session_keyring(app, tmp_path, words):
    """A container has one of its own, unless it is to have its caller's."""
    hosted = HostedRuntime(app, tmp_path)
    number = str(NUMBERS["keyctl"])
    command = [str(hosted.python), "-I", "-S", "-c", KEYRING, number]
    hosted.configure(set_at("process.args", ["/usr/bin/python3", *command[1:]]))
    hosted.configure(set_at("linux.seccomp", None))
    shell = [*hosted.command, "run", *words, "-b", str(hosted.bundle), hosted.id]
    both = f"{shlex.join(command)} && {shlex.join(shell)}"

    def join():
        system_call("keyctl", 1, 0, 0, 0, 0)  # KEYCTL_JOIN_SESSION_KEYRING

    try:
        done = subprocess.run(
            ["sh", "-c", both], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, preexec_fn=join,
            check=False,
        )  # fmt: skip
        outside, inside = done.stdout.split()
        assert int(outside) > 0 and int(inside) > 0, done
        assert (outside == inside) == bool(words)
    finally:
        hosted.close()


def test_sysctls_of_the_containers_own_namespaces(runtime):
    wanted = {"net.ipv4.ip_forward": "1", "kernel.msgmax": "4096", "kernel/domainname": "a.test"}
    changes = [set_at("linux.sysctl", wanted)]
    files = ["/proc/sys/net/ipv4/ip_forward", "/proc/sys/kernel/msgmax", "/proc/sys/kernel/domainname"]
    assert output(runtime, "cat", *files, changes=changes).split() == ["1", "4096", "a.test"]


def test_a_sysctl_of_a_joined_namespace_that_is_the_hosts_is_refused(runtime):
    changes = [
        add_namespace(type="network", path="/proc/self/ns/net"),
        set_at("linux.sysctl", {"net.ipv4.ip_forward": Path("/proc/sys/net/ipv4/ip_forward").read_text().strip()}),
    ]
    assert "linux.sysctl.net.ipv4.ip_forward" in refused(runtime, *changes)


@pytest.mark.skipif(has_apparmor(), reason="this kernel has AppArmor: tests/fleet asks it for profiles")
def test_an_apparmor_profile_where_there_is_no_apparmor(runtime):
    assert "process.apparmorProfile: 'mine' cannot be had" in refused(
        runtime, set_at("process.apparmorProfile", "mine")
    )
    assert output(runtime, "echo", "a", changes=[set_at("process.apparmorProfile", "unconfined")]) == "a\n"


@pytest.mark.skipif(has_selinux(), reason="this kernel has SELinux")
def test_a_selinux_label_where_there_is_no_selinux(runtime):
    told = refused(runtime, set_at("process.selinuxLabel", "system_u:a:b:s0"))
    assert "process.selinuxLabel: 'system_u:a:b:s0' cannot be had" in told


@pytest.mark.skipif(has_selinux(), reason="this kernel has SELinux")
def test_a_label_of_mounts_means_nothing_where_there_is_no_selinux(runtime):
    assert output(runtime, "echo", "a", changes=[set_at("linux.mountLabel", "system_u:a:b:s0")]) == "a\n"


@pytest.mark.skipif(Path("/sys/fs/resctrl/schemata").exists(), reason="resctrl is mounted on this machine")
@pytest.mark.parametrize("settings", [{}, {"closID": "guaranteed_group"}])
def test_intel_rdt_where_there_is_none(runtime, settings):
    assert "linux.intelRdt: no resctrl file system" in refused(runtime, set_at("linux.intelRdt", settings))


def test_nothing_is_imported_once_the_root_is_the_containers(runtime):
    """Else a container's own module would be loaded, and run as root of the host."""
    runtime.configure(set_at("process.args", ["true"]))
    steps = runtime("--debug", "run", "-b", str(runtime.bundle), runtime.id).stderr.splitlines()
    sealed = next(number for number, step in enumerate(steps) if "let go of the modules' path" in step)
    assert "change the root to" in steps[sealed + 1]
    assert not any("mount" in step for step in steps[sealed + 2 :])


def test_what_is_sealed_cannot_be_imported():
    def look():
        SealImports().execute()
        try:
            import wave  # one that nothing has loaded
        except ImportError:
            return "refused"
        return wave.__name__

    assert run_forked(look) == "refused"
