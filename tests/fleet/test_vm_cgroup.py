# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""cgroup v2 on a real machine, with systemd and beside it: the engine runs there under the system's own Python."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import fleet

ENGINE = Path(__file__).resolve().parents[2] / "plugins/module_utils/_engine"

pytestmark = [pytest.mark.root, pytest.mark.vm]

# What every script begins with. `every` has a value for each limit; `member` is a process in a container's cgroup.
PROLOGUE = """
import os, signal, subprocess, sys, time
sys.path.insert(0, "/opt/engine")
from _engine.cgroup.manager import open_cgroups
from _engine.cgroup.v2.manager import V2
from _engine.errors import *
from _engine.model.cgroup import *

systemd = open_cgroups("stowage-test")
v2 = V2("stowage-test-v2", "/sys/fs/cgroup")
cgroups = {"systemd": systemd, "v2": v2}[KIND]
every = Limits(memory=64 << 20, memory_reservation=32 << 20, memory_swap=96 << 20, cpu_quota=50000, cpu_weight=50,
               pids=100, cpuset_cpus="0", cpuset_mems="0")
none = Limits(-1, -1, -1, -1, 100, -1, "", "")

def spawn(work=lambda: None):
    pid = os.fork()
    if pid == 0:
        os.setsid()
        for fd in range(3):
            os.dup2(os.open("/dev/null", os.O_RDWR), fd)
        work()
        while True:
            signal.pause()
    return pid

def joined(path):
    pid = spawn(lambda: cgroups.join(path))
    wait(lambda: cgroups.processes(path) == [pid])
    return pid

def wait(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)

def directory(name):
    return next(root for root, _, _ in os.walk("/sys/fs/cgroup") if root.endswith(name))

def own_cgroup(pid):
    return open(f"/proc/{pid}/cgroup").read().strip()[3:]

def end(pid):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

def nothing_left():
    units = subprocess.run(["systemctl", "list-units", "--all", "--plain", "--no-legend", "stowage*"],
                           capture_output=True, text=True).stdout
    found = [root for top in ("/sys/fs/cgroup", "/run/systemd/transient", "/run/systemd/system.control")
             for root, directories, files in os.walk(top) if any("stowage" in name for name in directories + files)]
    return not units and not found

def refused(kind, function, *arguments):
    try:
        function(*arguments)
    except kind as error:
        return str(error)
    raise AssertionError(f"{kind.__name__} was not raised")
"""


def install_engine(node: fleet.Node) -> None:
    """The engine's files, in /opt/engine."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(ENGINE, "_engine", filter=lambda member: None if "__pycache__" in member.name else member)
    subprocess.run(node.argv(["sh", "-c", "mkdir -p /opt/engine && tar -xC /opt/engine"]), input=archive.getvalue(),
                   check=True, timeout=60)  # fmt: skip


@pytest.fixture(scope="module")
def machine() -> Iterator[fleet.Node]:
    with fleet.up("tf-cgroup", ["node-a"], backend="vm") as hosts:
        node = hosts.node("node-a")
        install_engine(node)
        yield node


@pytest.fixture(params=["systemd", "v2"])
def run(request: pytest.FixtureRequest, machine: fleet.Node):
    """Runs a script there, for each kind; what it prints is the result."""

    def run_script(script: str) -> str:
        source = f"KIND = {request.param!r}\n{PROLOGUE}\n{script}"
        return machine.run(["/usr/bin/python3", "-I", "-S", "-"], stdin=source, timeout=120).stdout

    yield run_script
    assert run_script("wait(nothing_left)") == ""


def test_the_kind_is_found(machine):
    script = f"KIND = 'systemd'\n{PROLOGUE}\nprint(systemd.kind)"
    assert machine.run(["/usr/bin/python3", "-I", "-S", "-"], stdin=script).stdout == "systemd\n"


def test_drift_by_hand_is_seen_and_repaired(run):
    run("""
cgroups.create(Cgroup("a-b/c.d", every))
assert cgroups.observe() == {"a-b": Cgroup("a-b", none), "a-b/c.d": Cgroup("a-b/c.d", every)}, cgroups.observe()
cgroups.create(Cgroup("a-b/c.d", every))
drifts = {"memory.max": "1G", "memory.swap.max": "max", "memory.low": "0", "cpu.max": "max 50000", "cpu.weight": "77",
          "pids.max": "7", "cpuset.cpus": "0-1"}
where = directory("c.d" if KIND == "v2" else "c.d.slice")
for name, value in drifts.items():
    open(f"{where}/{name}", "w").write(value)
    seen = cgroups.observe()["a-b/c.d"].limits
    assert seen != every, name
    cgroups.set_limits("a-b/c.d", every)
    assert cgroups.observe()["a-b/c.d"].limits == every, (name, cgroups.observe())
cgroups.set_limits("a-b/c.d", none)
assert cgroups.observe()["a-b/c.d"].limits == none
assert "a-b still holds" in refused(Conflict, cgroups.remove, "a-b")
cgroups.remove("a-b/c.d")
cgroups.remove("a-b")
cgroups.remove("a-b")
assert cgroups.observe() == {}
""")


def test_a_container_has_its_own_cgroup(run):
    run("""
cgroups.create(Cgroup("shop", Limits(pids=50)))
path = cgroups.container_path("shop", "web")
assert cgroups.observe_limits(path) is None
monitor = spawn()
cgroups.prepare(path, Limits(memory=32 << 20, pids=9, cpuset_cpus="1"), monitor)
assert own_cgroup(monitor).endswith({"systemd": "stowage-test-web.scope/monitor", "v2": "_monitors"}[KIND])
assert cgroups.observe_limits(path) == Limits(32 << 20, -1, -1, -1, 100, 9, "1", "")
assert list(cgroups.observe()) == ["shop"]
assert cgroups.payload_directory(path) == directory("web.scope/payload")
member = joined(path)
cgroups.limit_container(path, Limits(memory=48 << 20, memory_swap=48 << 20, cpuset_cpus="0-1"))
assert cgroups.observe_limits(path) == Limits(48 << 20, -1, 48 << 20, -1, 100, 9, "0-1", "")
assert "its list cannot be emptied" in refused(KernelError, cgroups.limit_container, path, Limits(cpuset_cpus=""))
assert str(member) in refused(Conflict, cgroups.prepare, path, Limits(), monitor)
assert str(member) in refused(Conflict, cgroups.destroy, path)
assert "web.scope" in refused(Conflict, cgroups.remove, "shop")
cgroups.freeze(path, True)
cgroups.freeze(path, False)
os.mkdir(directory("web.scope/payload") + "/made-inside")
cgroups.kill(path)
assert os.waitpid(member, 0)[1] == signal.SIGKILL
end(monitor)
cgroups.destroy(path)
cgroups.destroy(path)
cgroups.remove("shop")
""")


def test_a_monitor_removes_its_own_container(run):
    run("""
path = cgroups.container_path("", "solo")
def work():
    signal.sigwait([signal.SIGUSR1])
    cgroups.destroy(path)
    os._exit(0)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
monitor = spawn(work)
cgroups.prepare(path, Limits(pids=9), monitor)
os.kill(monitor, signal.SIGUSR1)
assert os.waitpid(monitor, 0)[1] == 0
wait(lambda: cgroups.observe_limits(path) is None and not cgroups.processes(path))
cgroups.destroy(path)
""")


def test_a_fork_bomb_is_killed(run):
    run("""
path = cgroups.container_path("", "bomb")
monitor = spawn()
cgroups.prepare(path, Limits(pids=60), monitor)
def explode():
    cgroups.join(path)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        try:
            os.fork()
        except OSError:
            pass
bomb = spawn(explode)
wait(lambda: len(cgroups.processes(path)) > 50)
cgroups.kill(path)
os.waitpid(bomb, 0)
end(monitor)
cgroups.destroy(path)
""")


def test_processes_in_the_way_of_controllers_are_told(machine):
    script = (
        f"KIND = 'systemd'\n{PROLOGUE}\n"
        """
inner = V2("stowage-test-inner", "/sys/fs/cgroup" + own_cgroup("self"))
told = refused(Unsupported, inner.create, Cgroup("a", Limits(pids=5)))
inner.create(Cgroup("a"))
inner.remove("a")
print(told)
"""
    )
    told = machine.run(["/usr/bin/python3", "-I", "-S", "-"], stdin=script).stdout
    assert "cgroup.subtree_control cannot hand on memory, " in told
    assert "mkdir" in told


def test_a_container_outlives_the_session_that_started_it(machine):
    script = (
        f"KIND = 'systemd'\n{PROLOGUE}\n"
        """
path = cgroups.container_path("", "stays")
def work():
    signal.sigwait([signal.SIGUSR1])
    if os.fork() == 0:
        cgroups.join(path)
        while True:
            signal.pause()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
monitor = spawn(work)
cgroups.prepare(path, Limits(pids=9), monitor)
os.kill(monitor, signal.SIGUSR1)
wait(lambda: cgroups.processes(path))
print(monitor, *cgroups.processes(path), flush=True)
subprocess.Popen(["systemd-run", "--quiet", "loginctl", "terminate-session", open("/proc/self/sessionid").read()])
time.sleep(20)
"""
    )
    plain = ["-o", "ControlPath=none"]  # a session of its own: the shared connection's goes on
    argv = machine.argv(["/usr/bin/python3", "-I", "-S", "-"])
    argv[1:1] = plain
    ended = subprocess.run(argv, input=script, text=True, capture_output=True, timeout=60, check=False)
    assert ended.returncode == 255, "the session was not ended"
    monitor, payload = ended.stdout.split()
    script = (
        f"KIND = 'systemd'\n{PROLOGUE}\n"
        f"""
path = cgroups.container_path("", "stays")
assert cgroups.processes(path) == [{payload}]
assert own_cgroup({monitor}).endswith("stowage-test-stays.scope/monitor")
cgroups.kill(path)
os.kill({monitor}, signal.SIGKILL)
wait(lambda: not cgroups.processes(path))
cgroups.destroy(path)
wait(nothing_left)
"""
    )
    machine.run(["/usr/bin/python3", "-I", "-S", "-"], stdin=script)
