"""The same life on Stowage's own runtime, runc and crun: with the same bundle, monitor, log and cgroup."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.linux import mount as m
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.capabilities import (
    DEFAULT_CAPABILITIES,
    capability_mask,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.mount import (
    mount,
    observe_mounts,
    umount2,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.namespaces import (
    CLONE_NEWNS,
    setns,
    unshare,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.cgroup import Limits
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.container import (
    Device,
    Namespaces,
    Security,
    Ulimit,
    Volume,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.shim import launch
from tests.waiting import wait_for

IDS = ((0, 0x70000000, 65536),)
RUNTIMES = [
    pytest.param(name, marks=pytest.mark.skipif(shutil.which(name) is None, reason=f"{name} is not installed"))
    for name in ("runc", "crun")
]


@pytest.fixture(params=["", *RUNTIMES], ids=lambda name: name or "native")
def runtime(request, tmp_path):
    """The name of a runtime. crun takes no host that has v1 and v2 hierarchies both: v2's are out of its sight."""
    if request.param != "crun" or {"cgroup", "cgroup2"} - set(observe_mounts().values()):
        yield request.param
        return
    before = os.open("/proc/self/ns/mnt", os.O_RDONLY)
    unshare(CLONE_NEWNS)
    try:
        mount("none", "/", flags=m.MS_REC | m.MS_PRIVATE)
        hide_unified(tmp_path)
        yield request.param
    finally:
        setns(before, CLONE_NEWNS)
        os.close(before)


def hide_unified(tmp_path):
    """A /sys/fs/cgroup with the hierarchies of v1 alone."""
    new = tmp_path / "cgroup"
    new.mkdir()
    mount("tmpfs", str(new), "tmpfs")
    for path, fstype in observe_mounts().items():
        if fstype == "cgroup" and os.path.dirname(path) == "/sys/fs/cgroup":
            target = new / os.path.basename(path)
            target.mkdir()
            mount(path, str(target), flags=m.MS_BIND)
    for entry in os.scandir("/sys/fs/cgroup"):
        if entry.is_symlink():
            (new / entry.name).symlink_to(os.readlink(entry.path))
    umount2("/sys/fs/cgroup", m.MNT_DETACH)
    mount(str(new), "/sys/fs/cgroup", flags=m.MS_MOVE)


@pytest.fixture
def world(runtime, host):
    """The host, torn down while what ``runtime`` hides is hidden; and the runtime."""
    return host, runtime


def stowage(host, *words):
    environment = {**os.environ, "STOWAGE_ROOT": host.paths.root, "STOWAGE_RUN_ROOT": host.paths.run_root}
    command = [*host.engine, "stowage", *words]
    return subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=20)


def test_output_exit_code_and_end(world):
    host, runtime = world
    assert host.output("web", "sh", "-c", "echo hello; echo oops >&2; exit 3", runtime=runtime) == (
        3,
        "hello\n",
        "oops\n",
    )
    host.stop("web")
    assert not host.state("web").running
    assert host.state("web").exit_code == 3


def test_it_runs_and_stops(world):
    host, runtime = world
    pid = host.run("web", "sleep", "60", runtime=runtime)
    assert (host.state("web").running, host.state("web").pid) == (True, pid)
    host.stop("web", 0.1)
    assert host.state("web").exit_code == 137


def test_it_ends_when_asked(world):
    host, runtime = world
    host.run("web", "sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done", runtime=runtime)
    wait_for(lambda: "ready" in host.log("web"))
    host.stop("web", 10)
    assert host.state("web").exit_code == 5


def test_a_wrong_program_is_told(world):
    host, runtime = world
    host.prepare("web", "nothing", runtime=runtime)
    error = host.create("web")[0].error
    assert "nothing" in error
    assert "not found" in error or "No such file" in error or "no such" in error.lower()


def test_delete_while_running(world):
    host, runtime = world
    host.run("web", "sleep", "60", runtime=runtime)


def test_enter_and_its_exit_status(world):
    host, runtime = world
    host.run("web", "sleep", "60", runtime=runtime, env=(("A", "b"),))
    done = stowage(
        host, "exec", "-u", "web", "-w", "/tmp", "-e", "C=d", "web", "sh", "-c", "id -u; pwd; echo $A $C; exit 4"
    )
    assert (done.returncode, done.stdout.split()) == (4, ["1000", "/tmp", "b", "d"]), done.stderr


def test_limits_are_the_kernel_s_and_change_live(world):
    host, runtime = world
    pid = host.run("web", "sleep", "60", runtime=runtime, limits=Limits(memory=32 << 20, pids=20))
    assert (host.state("web").container.limits.memory, host.state("web").container.limits.pids) == (32 << 20, 20)
    path = host.cgroups.container_path("", "web")
    host.cgroups.limit_container(path, Limits(memory=48 << 20))
    assert host.state("web").container.limits.memory == 48 << 20
    assert pid in host.cgroups.processes(path)


def test_all_of_it_can_be_paused(world):
    host, runtime = world
    host.run("web", "sh", "-c", "while :; do echo tick; sleep 0.02; done", runtime=runtime)
    wait_for(lambda: "tick" in host.log("web"))
    path = host.cgroups.container_path("", "web")
    host.cgroups.freeze(path, True)
    before = host.log("web")
    time.sleep(0.2)
    assert host.log("web") == before
    host.cgroups.freeze(path, False)
    wait_for(lambda: host.log("web") != before)


def test_what_it_may_do_is_the_same(world):
    host, runtime = world
    pid = host.run("web", "sleep", "60", runtime=runtime)
    # crun does not wait until its init has become the program.
    wait_for(lambda: Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"sleep"))
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    assert int(status["CapBnd"], 16) == int(status["CapEff"], 16) == capability_mask(DEFAULT_CAPABILITIES)
    assert (status["Seccomp"].strip(), status["NoNewPrivs"].strip()) == ("2", "1")


def test_options(world):
    host, runtime = world
    fields = {
        "devices": (Device("/dev/fuse", "/dev/fuse", "r"),),
        "ulimits": (Ulimit("nofile", 100, 200),),
        "sysctls": (("net.core.somaxconn", "77"),),
        "groups": ("4321",),
        "shm_size": 1 << 20,
        "oom_score_adj": 321,
        "security": Security(mask=("/etc/passwd",), read_only=True),
    }
    script = """
        (: </dev/fuse) && echo readable; (: >/dev/fuse) 2>/dev/null || echo not writable
        ulimit -n; cat /proc/sys/net/core/somaxconn; id -G; grep -c 'shm.*size=1024k' /proc/mounts
        cat /proc/self/oom_score_adj; wc -c </etc/passwd; touch /x 2>/dev/null || echo read-only
    """
    code, out, err = host.output("web", "sh", "-c", script, runtime=runtime, **fields)
    assert (code, err) == (0, "")
    expected = ["readable", "not writable", "100", "77", "0 4321", "1", "321", "0", "read-only"]
    assert out.splitlines() == expected


def test_ids_of_its_own(world, tmp_path):
    host, runtime = world
    (tmp_path / "data").mkdir()
    namespaces, volumes = Namespaces("auto", IDS, IDS), (Volume(str(tmp_path / "data"), "/data"),)
    script = "id -u; stat -c %u / /data; touch /new /data/new; stat -c %u /new /data/new; cat /etc/hostname; sleep 60"
    pid = host.run("web", "sh", "-c", script, runtime=runtime, namespaces=namespaces, volumes=volumes)
    wait_for(lambda: "web" in host.log("web"))
    assert host.log("web").split() == ["0"] * 5 + ["web"]
    assert os.stat(f"/proc/{pid}").st_uid == IDS[0][1]
    assert os.stat(tmp_path / "data/new").st_uid == 0
    assert os.stat(os.path.join(host.paths.container("web"), "upper/new")).st_uid == IDS[0][1]
    done = stowage(host, "exec", "web", "sh", "-c", "id -u; hostname")
    assert done.stdout.split() == ["0", "web"], done.stderr
    assert os.stat("/dev/null").st_uid == 0, "the host's device was given to the container's root"


def test_the_runtime_s_own_command_knows_it(world):
    host, runtime = world
    if not runtime:
        pytest.skip("of other runtimes")
    pid = host.run("web", "sleep", "60", runtime=runtime)
    command = [runtime, "--root", f"{host.paths.run_root}/runtimes/{runtime}", "state", "web"]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=20).stdout)
    assert (told["status"], told["pid"]) == ("running", pid)


def test_a_runtime_by_its_path(world):
    host, runtime = world
    if not runtime:
        pytest.skip("of other runtimes")
    assert host.output("web", "echo", "hello", runtime=shutil.which(runtime)) == (0, "hello\n", "")


def test_a_runtime_that_is_not_installed_is_told(host):
    host.prepare("web", "true", runtime="no-such-runtime")
    result = host.create("web")[0]
    assert isinstance(result, launch.Failed)
    assert "'no-such-runtime' is not installed" in result.error
