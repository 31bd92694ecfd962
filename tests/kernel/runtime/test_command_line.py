"""What runc's users expect of its options and answers, beside what test_command.py and runc's own suite look at."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time

import pytest

QUIET = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


@pytest.fixture
def start(runtime):
    """Start the container in the background, with more options of ``run``."""

    def start(*options, **more):
        words = [runtime.command, "--root", runtime.root, "run", "-d", "-b", str(runtime.bundle), *options, runtime.id]
        return subprocess.run(words, **{**QUIET, **more}, check=True)

    return start


def wait_for(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_failures_of_exec_are_told_from_those_of_the_program(runtime, start):
    start()
    assert runtime("exec", runtime.id, "sh", "-c", "exit 42").returncode == 42
    assert runtime("exec", runtime.id, "no-such-program").returncode == 255
    assert runtime("exec", "--pid-file", "/no/such/directory/pid", runtime.id, "true").returncode == 255
    assert runtime("exec", "nobody", "true").returncode == 255
    assert runtime("exec", "--no-such-option", runtime.id, "true").returncode == 255


def test_a_stopped_container_is_told_of_in_the_words_that_containerd_looks_for(runtime, start):
    start()
    assert runtime("kill", runtime.id, "0").returncode == 0
    assert runtime("kill", runtime.id, "KILL").returncode == 0
    wait_for(lambda: runtime.status() == "stopped")
    done = runtime("kill", runtime.id, "TERM")
    assert (done.returncode, "container not running" in done.stderr) == (1, True)
    assert runtime("kill", "--all", runtime.id, "TERM").returncode == 0
    assert "cannot exec in a stopped container" in runtime("exec", runtime.id, "true").stderr
    assert "container does not exist" in runtime("state", "nobody").stderr


def test_a_paused_container(runtime, start):
    start()
    assert runtime("pause", runtime.id).returncode == 0
    assert runtime.status() == "paused"
    refused = runtime("exec", runtime.id, "true")
    assert (refused.returncode, "--ignore-paused" in refused.stderr) == (255, True)
    assert "container not running" in runtime("pause", runtime.id).stderr
    assert runtime("resume", runtime.id).returncode == 0
    assert "container not paused" in runtime("resume", runtime.id).stderr
    assert runtime("pause", runtime.id).returncode == 0
    assert runtime("delete", "--force", runtime.id).returncode == 0


def test_a_created_container_ends_at_sigterm(runtime):
    words = [runtime.command, "--root", runtime.root, "create", "-b", str(runtime.bundle), runtime.id]
    subprocess.run(words, **QUIET, check=True)
    assert runtime("kill", runtime.id).returncode == 0
    wait_for(lambda: runtime.status() == "stopped")


def test_what_is_changed_in_the_bundle_later_has_no_effect(runtime, start):
    """runtime-spec, Lifecycle, 2."""
    start()
    runtime.configure(lambda spec: spec["process"].update(cwd="/tmp", env=["A=changed"]))
    assert runtime("exec", runtime.id, "sh", "-c", "pwd; echo $A").stdout == "/\n\n"


def test_run_keep_leaves_a_stopped_container(runtime):
    runtime.configure(lambda spec: spec["process"].update(args=["true"]))
    assert runtime("run", "--keep", "-b", str(runtime.bundle), runtime.id).returncode == 0
    assert runtime.status() == "stopped"


def test_list_as_json_and_the_owner(runtime, start):
    start()
    (entry,) = json.loads(runtime("list", "--format", "json").stdout)
    assert (entry["id"], entry["status"], entry["owner"]) == (runtime.id, "running", "root")
    assert runtime("list", "--format", "xml").returncode == 1


def test_ps_takes_options_of_ps(runtime, start):
    start()
    lines = runtime("ps", runtime.id, "-e", "-o", "pid,args").stdout.splitlines()
    assert [line.split(None, 1)[1] for line in lines[1:]] == ["sleep 60"]


def test_descriptors_are_passed_on_and_missing_ones_refused(runtime, start):
    start()
    reader, writer = os.pipe()
    os.write(writer, b"hello")
    os.close(writer)
    words = [runtime.command, "--root", runtime.root, "exec", "--preserve-fds", "1", runtime.id, "head", "-c5"]
    command = ["bash", "-c", f'exec 3<&{reader}; "$@" /proc/self/fd/3', "bash", *words]
    done = subprocess.run(command, pass_fds=[reader], capture_output=True, text=True, timeout=20, check=False)
    os.close(reader)
    assert (done.returncode, done.stdout) == (0, "hello"), done.stderr
    refused = runtime("exec", "--preserve-fds", "50", runtime.id, "true")
    assert (refused.returncode, "is not open" in refused.stderr) == (255, True)


def test_a_pidfd_goes_to_a_socket(runtime, start, tmp_path):
    path = str(tmp_path / "pidfd.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        start("--pidfd-socket", path)
        connection, _address = listener.accept()
        with connection:
            _data, (pidfd,), _flags, _from = socket.recv_fds(connection, 64, 1)
    pid = json.loads(runtime("state", runtime.id).stdout)["pid"]
    with open(f"/proc/self/fdinfo/{pidfd}", encoding="ascii") as info:
        assert f"Pid:\t{pid}\n" in info.read()
    os.close(pidfd)


def test_readiness_is_passed_on_to_the_service_manager(runtime, start, tmp_path):
    """As under a unit of Type=notify: READY=1 of the program comes out with the main pid that the host knows."""
    path = str(tmp_path / "notify")
    send = "import socket; socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'READY=1', 'notify.sock')"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(20)
        words = [runtime.command, "--root", runtime.root, "run", "-d", "-b", str(runtime.bundle), runtime.id]
        running = subprocess.Popen(words, **QUIET, env={**os.environ, "NOTIFY_SOCKET": path})
        wait_for(lambda: os.path.exists(f"{runtime.root}/.notify-{runtime.id}/notify.sock"))
        wait_for(lambda: runtime.status() == "running")
        assert running.poll() is None, "run -d did not wait"
        inside = runtime("exec", runtime.id, "ls", "/run/notify").stdout
        subprocess.run([sys.executable, "-c", send], cwd=f"{runtime.root}/.notify-{runtime.id}", check=True)
        told = manager.recv(4096).decode()
        assert running.wait(20) == 0
    pid = json.loads(runtime("state", runtime.id).stdout)["pid"]
    assert (inside, told) == ("notify.sock\n", f"MAINPID={pid}\nREADY=1\n")
    runtime("delete", "--force", runtime.id)
    assert not os.path.exists(f"{runtime.root}/.notify-{runtime.id}")


def test_debug_tells_each_step(runtime, tmp_path):
    runtime.configure(lambda spec: spec["process"].update(args=["true"]))
    log = tmp_path / "log"
    words = ["--debug", "--log", str(log), "--log-format", "json", "run", "-b", str(runtime.bundle), runtime.id]
    assert runtime(*words).returncode == 0
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert {entry["level"] for entry in entries} == {"debug"}
    assert "mount proc on /proc" in [entry["msg"] for entry in entries]


def test_what_a_host_cannot_grant_is_a_warning(runtime, tmp_path):
    def ask(spec):
        spec["process"]["args"] = ["true"]
        spec["process"]["capabilities"]["bounding"].append("CAP_OF_TOMORROW")

    runtime.configure(ask)
    done = runtime("run", "-b", str(runtime.bundle), runtime.id)
    assert (done.returncode, "level=warning" in done.stderr, "CAP_OF_TOMORROW" in done.stderr) == (0, True, True)


@pytest.mark.parametrize("name", ["create", "exec", "update", "events", "checkpoint", "restore", "features"])
def test_every_command_has_help(runtime, name):
    for option in ("-h", "--help"):
        done = runtime(name, option)
        assert (done.returncode, done.stdout.splitlines()[0]) == (0, "NAME:")
        assert f"stowage-runtime {name}" in done.stdout.splitlines()[1]


def test_a_spec_for_an_ordinary_user(runtime, tmp_path):
    assert runtime("spec", "--rootless", "-b", str(tmp_path)).returncode == 0
    spec = json.loads((tmp_path / "config.json").read_text())
    types = {entry["type"] for entry in spec["linux"]["namespaces"]}
    assert ("user" in types, "network" in types) == (True, False)
    assert spec["linux"]["uidMappings"] == [{"containerID": 0, "hostID": os.geteuid(), "size": 1}]
