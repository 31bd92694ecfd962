# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command line's containers on cgroup v2: their limits, asked of systemd and not, and what they cannot undo."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import fleet

from .test_vm_cgroup import PROLOGUE, install_engine

pytestmark = [pytest.mark.root, pytest.mark.vm]

# For what is tried by the command line: a bundle, and the container `c` out of it.
BUNDLE = """
import json, shutil, stat
from _engine.linux import bpf, namespaces
SYSTEMD = ["--systemd-cgroup"] if KIND == "systemd" else []
CODE = ("import sys; sys.path.insert(0, '/opt/engine'); from _engine.cli.runtime import main; "
        "sys.exit(main(sys.argv[1:]))")

def runtime(*words, told="", input=""):
    with open("/opt/out", "w+") as out, open("/opt/in", "w+") as given:
        given.write(input)
        given.seek(0)
        done = subprocess.run([sys.executable, "-I", "-S", "-E", "-c", CODE, *SYSTEMD, *words], stdin=given, stdout=out,
                              stderr=out, cwd="/opt/bundle")
        out.seek(0)
        text = out.read()
    assert told is None or ((done.returncode != 0) == bool(told) and told in text), (words, text)
    return text

def start(resources, args=("sleep", "900"), **changes):
    shutil.rmtree("/opt/bundle", ignore_errors=True)
    os.makedirs("/opt/bundle/rootfs/bin")
    shutil.copy("/bin/busybox", "/opt/bundle/rootfs/bin")
    for name in ("sh", "sleep", "cat", "dd", "tr"):
        os.symlink("busybox", f"/opt/bundle/rootfs/bin/{name}")
    os.chmod("/opt/bundle/rootfs", 0o777)  # root of a user namespace makes mount points there
    runtime("spec")
    spec = json.load(open("/opt/bundle/config.json"))
    spec["process"].update(terminal=False, args=list(args))
    path = {"systemd": "test-a.slice:run:c", "v2": "/test-c"}[KIND]
    spec["linux"].update(resources={"devices": spec["linux"]["resources"]["devices"], **resources}, cgroupsPath=path)
    spec.update(changes.pop("top", {}))
    spec["linux"].update(changes)
    json.dump(spec, open("/opt/bundle/config.json", "w"))
    runtime("run", "-d", "c")
    where = {"systemd": "test.slice/test-a.slice/run-c.scope", "v2": "test-c"}[KIND]
    return f"/sys/fs/cgroup/{where}", json.loads(runtime("state", "c"))["pid"]

def held(directory, *names):
    return [open(f"{directory}/{name}").read().strip() for name in names]

def shown(*names):
    words = ["systemctl", "show", "run-c.scope", *(f"-p{name}" for name in names)]
    lines = subprocess.run(words, capture_output=True, text=True).stdout.split()
    return dict(line.split("=", 1) for line in lines)

def remove():
    runtime("delete", "-f", "c")
    wait(lambda: not os.path.exists("/sys/fs/cgroup/test.slice/test-a.slice/run-c.scope"))
    for unit in ("test-a.slice", "test.slice") if SYSTEMD else ():
        subprocess.run(["systemctl", "stop", unit], check=True)
    assert not os.path.exists("/sys/fs/cgroup/test-c") and not os.path.exists("/sys/fs/cgroup/test.slice")
"""


@pytest.fixture(scope="module")
def machine() -> Iterator[fleet.Node]:
    with fleet.up("tf-limits", ["node-a"], backend="vm") as hosts:
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
    assert run_script(BUNDLE + "runtime('delete', '-f', 'c')\nwait(nothing_left)") == ""


def test_resources_are_on_the_container_and_in_its_own_tree(run):
    run(
        BUNDLE
        + """
mebi = 1 << 20
disk = os.stat("/dev/vda").st_rdev
block_io = {"weight": 500, "throttleReadBpsDevice": [{"major": os.major(disk), "minor": os.minor(disk), "rate": mebi}]}
cpu = {"shares": 512, "quota": 50000, "period": 200000, "burst": 1000, "cpus": "0", "mems": "0"}
resources = {"memory": {"limit": 64 * mebi, "swap": 96 * mebi, "reservation": 32 * mebi}, "cpu": cpu,
             "pids": {"limit": 1}, "hugepageLimits": [{"pageSize": "2MB", "limit": 4 * mebi}], "blockIO": block_io,
             "unified": {"memory.high": str(48 * mebi)}}
scope, pid = start(resources, top={"annotations": {"org.systemd.property.TimeoutStopSec": "7"}})
payload = scope + "/payload"
assert own_cgroup(pid) == payload[len("/sys/fs/cgroup"):]
names = ("memory.max", "memory.swap.max", "memory.low", "cpu.weight", "cpu.max", "cpuset.cpus", "pids.max",
         "memory.high", "io.weight")
wanted = [str(64 * mebi), str(32 * mebi), str(32 * mebi), "59", "50000 200000", "0", "1", str(48 * mebi),
          "default 4950"]
assert held(payload, *names) == held(scope, *names) == wanted, (held(payload, *names), held(scope, *names))
assert held(payload, "cpu.max.burst", "hugetlb.2MB.max", "hugetlb.2MB.rsvd.max") == ["1000", *[str(4 * mebi)] * 2]
assert held(payload, "io.max") == [f"{os.major(disk)}:{os.minor(disk)} rbps=1048576 wbps=max riops=max wiops=max"]
assert held(payload, "cgroup.controllers") == held("/sys/fs/cgroup", "cgroup.controllers") or SYSTEMD
if SYSTEMD:
    found = shown("MemoryMax", "MemorySwapMax", "CPUWeight", "CPUQuotaPerSecUSec", "CPUQuotaPeriodUSec", "TasksMax",
                  "AllowedCPUs", "Delegate", "Slice", "TimeoutStopUSec", "MemoryHigh")
    assert found == {"MemoryMax": str(64 * mebi), "MemorySwapMax": str(32 * mebi), "CPUWeight": "59",
                     "CPUQuotaPerSecUSec": "250ms", "CPUQuotaPeriodUSec": "200ms", "TasksMax": "1", "AllowedCPUs": "0",
                     "Delegate": "yes", "Slice": "test-a.slice", "TimeoutStopUSec": "7s",
                     "MemoryHigh": str(48 * mebi)}, found
runtime("update", "--memory", "50M", "--memory-swap", "80M", "--pids-limit", "30", "--cpu-quota", "-1", "c")
names = ("memory.max", "memory.swap.max", "pids.max")
wanted = [str(50 * mebi), str(30 * mebi), "30"]
assert held(payload, "cpu.max") == ["max 200000"] and held(scope, "cpu.max")[0].startswith("max ")
assert held(payload, *names) == held(scope, *names) == wanted, (held(payload, *names), held(scope, *names))
runtime("update", "-r", "-", "c", input='{"memory": {"limit": 1024, "checkBeforeUpdate": true}}',
        told="rejecting memory limit")
runtime("update", "-r", "-", "c", input='{"memory": {"swappiness": 5}}', told="cgroup v2 has nothing like it")
runtime("update", "-r", "-", "c", input='{"unified": {"foo.bar": "5"}}', told="has no 'foo' cgroup controller")
runtime("update", "-r", "-", "c", input='{"unified": {"memory.nonsense": "5"}}', told="has no memory.nonsense")
runtime("update", "--cpu-idle", "1", "c")
assert held(scope, "cpu.idle") == held(payload, "cpu.idle") == ["1"]
runtime("update", "--cpu-share", "2048", "c")
assert held(scope, "cpu.idle", "cpu.weight") == held(payload, "cpu.idle", "cpu.weight") == ["0", "174"]
if SYSTEMD:
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    assert held(scope, "memory.max", "cpu.weight") == [str(50 * mebi), "174"]
    assert shown("MemoryMax", "TasksMax", "CPUWeight") == {"MemoryMax": str(50 * mebi), "TasksMax": "30",
                                                           "CPUWeight": "174"}
data = json.loads(runtime("events", "--stats", "c"))["data"]
assert data["memory"]["usage"]["limit"] == 50 * mebi and data["pids"] == {"current": 1, "limit": 30}
assert data["cpu"]["usage"]["total"] > 0 and "hugetlb" in data and "psi" in data["cpu"]
runtime("pause", "c")
assert json.loads(runtime("state", "c"))["status"] == "paused"
remove()
"""
    )


def test_running_out_of_memory_is_an_event(run):
    run(
        BUNDLE
        + """
scope, pid = start({"memory": {"limit": 16 << 20, "swap": 16 << 20}})
watcher = subprocess.Popen([sys.executable, "-I", "-S", "-E", "-c", CODE, "events", "--interval", "1h", "c"],
                           stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
files = f"/proc/{watcher.pid}/fd"
wait(lambda: any(os.path.realpath(f"{files}/{fd}").endswith("/memory.events") for fd in os.listdir(files)))
runtime("exec", "c", "sh", "-c", r"x=$(dd if=/dev/zero bs=1M count=64 | tr '\\0' x)", told=None)
assert json.loads(watcher.stdout.readline()) == {"type": "oom", "id": "c"}
remove()
assert watcher.wait(10) == 0
"""
    )


def test_a_container_cannot_take_its_device_program_away(run):
    """With CAP_SYS_ADMIN, and a cgroup mount that it may write to: the program is above what it can reach."""
    run(
        BUNDLE
        + """
disk = os.stat("/dev/vda").st_rdev
writable = {"destination": "/sys/fs/cgroup", "type": "cgroup2", "source": "cgroup", "options": ["rw"]}
mounts = [{"destination": "/proc", "type": "proc", "source": "proc"}, writable]
spaces = [{"type": kind} for kind in ("mount", "pid", "cgroup", "ipc", "uts", "user")]
maps = {name: [{"containerID": 0, "hostID": 100000, "size": 65536}] for name in ("uidMappings", "gidMappings")}
scope, pid = start({}, top={"mounts": mounts}, namespaces=spaces, maskedPaths=[], readonlyPaths=[], **maps)
# What is root there may divide its cgroup, and no more (runtime-spec, "Cgroup ownership").
owners = {name: os.stat(f"{scope}/{name}").st_uid for name in (".", "payload", "payload/cgroup.procs",
          "payload/cgroup.subtree_control", "payload/memory.max")}
assert owners == {".": 0, "payload": 100000, "payload/cgroup.procs": 100000, "payload/cgroup.subtree_control": 100000,
                  "payload/memory.max": 0}, owners
remove()
spaces.pop()
scope, pid = start({}, top={"mounts": mounts}, namespaces=spaces, maskedPaths=[], readonlyPaths=[])
assert os.stat(f"{scope}/payload").st_uid == 0
os.mknod("/opt/bundle/rootfs/disk", stat.S_IFBLK | 0o600, disk)
directory = os.open(scope, os.O_RDONLY)
programs = bpf.query_programs(directory, bpf.BPF_CGROUP_DEVICE)
assert len(programs) == 1
spaces = [(os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY), flag)
          for kind, flag in (("cgroup", namespaces.CLONE_NEWCGROUP), ("mnt", namespaces.CLONE_NEWNS))]

def attack():
    open(f"{scope}/payload/cgroup.procs", "w").write("0")
    for fd, flag in spaces:
        namespaces.setns(fd, flag)
    found, detached = [], 0
    for where, _, _ in os.walk("/sys/fs/cgroup"):
        fd = os.open(where, os.O_RDONLY)
        found += bpf.query_programs(fd, bpf.BPF_CGROUP_DEVICE)
        for number in programs:
            try:
                bpf.detach_program(fd, bpf.open_program(number), bpf.BPF_CGROUP_DEVICE)
                detached += 1
            except OSError:
                pass
    open("/sys/fs/cgroup/cgroup.procs", "w").write("0")  # it may write there
    opened = os.path.exists("/disk")
    try:
        os.open("/disk", os.O_RDONLY)
    except PermissionError:
        opened = False
    return [len(found), detached, opened]

def attacked():
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, json.dumps(attack()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    return json.loads(os.read(reader, 4096))

assert attacked() == [0, 0, False]
# On the payload it could: that is what the place above is for.
inner = os.open(f"{scope}/payload", os.O_RDONLY)
bpf.attach_program(inner, bpf.open_program(programs[0]), bpf.BPF_CGROUP_DEVICE)
assert attacked() == [1, 1, False]
for number in programs:
    bpf.detach_program(directory, bpf.open_program(number), bpf.BPF_CGROUP_DEVICE)
assert attacked() == [0, 0, True]
remove()
"""
    )


def test_marks_of_packets_have_hierarchies_of_v1_beside_v2(machine):
    script = (
        f"KIND = 'v2'\n{PROLOGUE}\n"
        """
from _engine.cgroup.resources import Resources
from _engine.cgroup.v1.manager import V1
from _engine.linux.cgroupfs import Hierarchy
subprocess.run("mkdir -p /opt/net && mount -t cgroup -o net_cls,net_prio none /opt/net", shell=True, check=True)
v1 = V1("stowage-test", [Hierarchy("/opt/net", 1, frozenset(("net_cls", "net_prio")))])
try:
    v1.prepare_resources("/stowage-test-net", Resources({"network": {"classID": 1048577, "priorities": [
        {"name": "lo", "priority": 500}]}}))
    directory = "/opt/net/stowage-test-net"
    assert open(f"{directory}/net_cls.classid").read().strip() == "1048577"
    assert "lo 500" in open(f"{directory}/net_prio.ifpriomap").read().splitlines()
    priorities = [{"name": "nothing0", "priority": 1}]
    wrong = Resources({"network": {"priorities": priorities}})
    told = refused(KernelError, v1.update_resources, "/stowage-test-net", wrong)
    assert "linux.resources.network.priorities[0]" in told and "no interface of that name" in told, told
finally:
    os.rmdir("/opt/net/stowage-test-net")
    subprocess.run(["umount", "/opt/net"], check=True)
"""
    )
    machine.run(["/usr/bin/python3", "-I", "-S", "-"], stdin=script)
