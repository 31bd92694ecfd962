"""CVE-2019-5736 as it was: have the kernel execute /proc/self/exe inside a container, or open that of a process that
enters it, keep a descriptor of the host's binary, and write to it once nobody runs it any more.

The runtime is run by a copy of Python, which is what there is to be overwritten.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import textwrap
import time

import pytest

from tests.kernel.runtime.hosted import HostedRuntime, without_trampoline
from tests.waiting import wait_for

# Run by the host's Python, where the attack works so far: a child keeps a descriptor of that, waits until it is gone
# (ETXTBSY till then), and writes through /proc/self/fd. The exit status tells that it got to run at all.
ATTACK = """
import os, sys, time
fd = os.open("/proc/self/exe", os.O_RDONLY)
os.set_inheritable(fd, True)
keeper = '''
import os, sys, time
end = time.monotonic() + 3
while time.monotonic() < end:
    try:
        writer = os.open("/proc/self/fd/%d", os.O_WRONLY | os.O_TRUNC)
    except OSError as error:
        open("/tmp/told", "w").write(os.strerror(error.errno))
        time.sleep(0.01)
        continue
    os.write(writer, b"#!/bin/sh" + bytes([10]))
    open("/tmp/told", "w").write("written")
    break
''' % fd
os.execv("/usr/bin/python3", ["python3", "-c", keeper])
"""


@pytest.fixture(scope="module", params=[True, False], ids=["trampoline", "no trampoline"])
def engine(request, app, tmp_path_factory):
    """The engine; and as it is on an architecture that no trampoline is for."""
    return app if request.param else without_trampoline(app, tmp_path_factory.mktemp("without") / "engine")


@pytest.fixture
def runtime(engine, tmp_path):
    runtime = HostedRuntime(engine, tmp_path)
    (runtime.rootfs / "script").write_text("#!/proc/self/exe\n" + ATTACK)
    (runtime.rootfs / "script").chmod(0o755)
    (runtime.rootfs / "attack.py").write_text(ATTACK)
    (runtime.rootfs / "link").symlink_to("/proc/self/exe")
    program = bytearray((runtime.rootfs / "../../host/bin" / runtime.python.name).read_bytes())
    wanted = b"/lib64/ld-linux-x86-64.so.2\0"
    if wanted in program:
        place = program.index(wanted)
        program[place : place + 15] = b"/proc/self/exe\0"
    (runtime.rootfs / "interpreted").write_bytes(program)
    (runtime.rootfs / "interpreted").chmod(0o755)
    yield runtime
    runtime.close()


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


ENTRYPOINTS = {
    "itself": ("/proc/self/exe", "/attack.py"),
    "another process's": ("/proc/1/exe", "/attack.py"),
    "link": ("/link", "/attack.py"),
    "script": ("/script",),
    "interpreter": ("/interpreted", "/attack.py"),
}


@pytest.mark.parametrize("args", ENTRYPOINTS.values(), ids=ENTRYPOINTS.keys())
def test_an_entrypoint_does_not_reach_the_hosts_binary(runtime, args):
    before = digest(runtime.python)
    refused = runtime.try_start(*args) != 0
    assert not refused or "procfs" in runtime.log()
    deadline = time.monotonic() + 5
    while '"running"' in runtime("state", runtime.id).stdout and time.monotonic() < deadline:
        time.sleep(0.1)  # the attack waits for the moments between these calls
    assert digest(runtime.python) == before, (runtime.rootfs / "tmp/told").read_text()
    assert not (runtime.rootfs / "tmp/told").exists(), "the host's Python ran inside the container"


@pytest.mark.parametrize("args", ENTRYPOINTS.values(), ids=ENTRYPOINTS.keys())
def test_neither_does_an_entered_process(runtime, args):
    before = digest(runtime.python)
    runtime.start("/bin/sleep", "60")
    done = runtime("exec", runtime.id, *args)
    if args[0] != "/proc/1/exe":  # that is sleep
        assert done.returncode != 0, done
    assert digest(runtime.python) == before
    assert not (runtime.rootfs / "tmp/told").exists(), "the host's Python ran inside the container"


WATCH = textwrap.dedent("""
    import os, sys, time
    kept = {}
    open("/tmp/ready", "w").close()
    while not os.path.exists("/tmp/enough"):
        for pid in os.listdir("/proc"):
            if not pid.isdigit() or int(pid) in (1, os.getpid()):
                continue
            try:
                fd = os.open(f"/proc/{pid}/exe", os.O_RDONLY)
                name = os.readlink(f"/proc/self/fd/{fd}")
            except OSError:
                continue
            if not name.startswith(("/usr/", "/memfd:")) and name not in kept:
                kept[name] = fd
            else:
                os.close(fd)
    told = [f"seen {len(kept)}"]
    for name, fd in kept.items():
        for _attempt in range(100):
            try:
                os.write(os.open(f"/proc/self/fd/{fd}", os.O_WRONLY), b"#!/bin/sh")
                told.append("written")
                break
            except OSError as error:
                told.append(os.strerror(error.errno))
                time.sleep(0.01)
    print(sorted(set(told)), flush=True)
    time.sleep(60)
""")


def grant(runtime, *capabilities):
    def change(spec):
        for names in spec["process"]["capabilities"].values():
            names.extend(capabilities)

    runtime.configure(change)


def start_watcher(runtime, *capabilities):
    """Have the container look at all that comes, until ``/tmp/enough`` is there."""
    grant(runtime, *capabilities)
    (runtime.rootfs / "watch.py").write_text(WATCH)
    runtime.start("/usr/bin/python3", "/watch.py")
    wait_for((runtime.rootfs / "tmp/ready").exists)


def end_watcher(runtime):
    """What it has to tell."""
    (runtime.rootfs / "tmp/enough").touch()
    wait_for(lambda: "seen" in runtime.log())
    return runtime.log()


@pytest.mark.parametrize("capabilities", [(), ("CAP_SYS_PTRACE",)])
def test_a_watcher_inside_cannot_write_to_what_enters(runtime, engine, app, capabilities):
    """CAP_SYS_PTRACE opens /proc/<pid>/exe of anybody, non-dumpable or not (ptrace(2), access mode checking)."""
    before = digest(runtime.python)
    start_watcher(runtime, *capabilities)
    for _count in range(20):
        assert runtime("exec", runtime.id, "/bin/true").returncode == 0
    told = end_watcher(runtime)
    assert "written" not in told
    assert digest(runtime.python) == before
    if engine == app:
        assert "['seen 0']" in told


def test_a_watcher_cannot_write_to_what_enters_without_a_trampoline(runtime):
    """Which a process with a scheduler does, as one with a label does: a trampoline would be in the way of it."""
    before = digest(runtime.python)
    runtime.configure(lambda spec: spec["process"].update(scheduler={"policy": "SCHED_OTHER"}))
    start_watcher(runtime, "CAP_SYS_PTRACE")
    for _count in range(20):
        assert runtime("exec", runtime.id, "/bin/true").returncode == 0
    told = end_watcher(runtime)
    assert "seen 0" not in told, "it was not even seen: nothing was tried"
    assert "written" not in told
    assert digest(runtime.python) == before


# Before its program is: open what process 1 is run from, and write to it when that has gone on.
OPEN_INIT = """
import os, sys, time
try:
    fd = os.open("/proc/1/exe", os.O_RDONLY)
except OSError as error:
    open("/tmp/told", "w").write(os.strerror(error.errno))
    sys.exit()
os.set_inheritable(fd, True)
if os.fork():
    sys.exit()
while not os.path.exists("/tmp/started"):
    time.sleep(0.02)
for _attempt in range(100):
    try:
        os.write(os.open(f"/proc/self/fd/{fd}", os.O_WRONLY), b"#!/bin/sh")
        told = "written"
        break
    except OSError as error:
        told = os.strerror(error.errno)
        time.sleep(0.01)
open("/tmp/told", "w").write(told)
"""


@pytest.mark.parametrize(("capabilities", "more"), [((), ()), (("CAP_SYS_PTRACE",), ()), ((), ("CAP_SYS_PTRACE",))])
def test_neither_does_what_enters_a_created_container(runtime, capabilities, more):
    """Its init is Python of ours until it is started. ``more`` are capabilities of the entering process alone."""
    before = digest(runtime.python)
    grant(runtime, *capabilities)
    (runtime.rootfs / "open.py").write_text(OPEN_INIT)
    with open(runtime.bundle / "log", "wb") as log:
        streams = {"capture_output": False, "stdout": log, "stderr": log}
        assert runtime("create", "-b", str(runtime.bundle), runtime.id, **streams).returncode == 0, runtime.log()
        options = [word for name in more for word in ("--cap", name)]
        entered = runtime("exec", *options, runtime.id, "/usr/bin/python3", "/open.py", **streams)
    refused = "a process with CAP_SYS_PTRACE could reach this host's Python" in runtime.log()
    assert (entered.returncode, refused) == ((255, True) if more else (0, False)), runtime.log()
    assert runtime("start", runtime.id).returncode == 0
    (runtime.rootfs / "tmp/started").touch()
    if not refused:
        wait_for((runtime.rootfs / "tmp/told").exists)
        assert (runtime.rootfs / "tmp/told").read_text() in ("Permission denied", "Read-only file system")
    assert digest(runtime.python) == before


@pytest.mark.parametrize("capabilities", [(), ("CAP_SYS_PTRACE",)])
def test_neither_does_a_program_of_the_container_as_its_hook(runtime, capabilities):
    before = digest(runtime.python)
    grant(runtime, *capabilities)
    (runtime.rootfs / "open.py").write_text(OPEN_INIT)
    hook = {"path": "/usr/bin/python3", "args": ["python3", "/open.py"], "env": []}
    runtime.configure(lambda spec: spec.update(hooks={"startContainer": [hook]}))
    runtime.start("/bin/sleep", "60")
    (runtime.rootfs / "tmp/started").touch()
    wait_for((runtime.rootfs / "tmp/told").exists)
    assert (runtime.rootfs / "tmp/told").read_text() in ("Permission denied", "Read-only file system")
    assert digest(runtime.python) == before


def test_a_watcher_cannot_write_to_what_joins_its_pid_namespace(runtime, engine, tmp_path):
    """A container that is given the pid namespace of another: its init is seen there while it is still ours."""
    before = digest(runtime.python)
    start_watcher(runtime, "CAP_SYS_PTRACE")
    pid = json.loads(runtime("state", runtime.id).stdout)["pid"]
    (tmp_path / "second").mkdir()
    second = HostedRuntime(engine, tmp_path / "second")
    second.command[0] = runtime.command[0]
    try:

        def join(spec):
            for entry in spec["linux"]["namespaces"]:
                if entry["type"] == "pid":
                    entry["path"] = f"/proc/{pid}/ns/pid"

        second.configure(join)
        for _count in range(10):
            done = second.run("/bin/true")
            assert done.returncode == 0, done
    finally:
        second.close()
    told = end_watcher(runtime)
    assert "seen 0" not in told, "it was not even seen: nothing was tried"
    assert "written" not in told
    assert digest(runtime.python) == before


def test_the_copy_is_what_runs(runtime):
    """The other tests would pass for nothing, were it not."""
    process = subprocess.Popen(
        [*runtime.command[:4], "-c", "input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert os.readlink(f"/proc/{process.pid}/exe") == str(runtime.python)
    finally:
        process.communicate("\n")
