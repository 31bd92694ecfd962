"""What runc's users expect of its options and answers, beside what test_command.py and runc's own suite look at."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time

import pytest

from tests.waiting import has_open, wait_for

QUIET = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


@pytest.fixture
def start(runtime):
    """Start the container in the background, with more options of ``run``."""

    def start(*options, **more):
        words = [runtime.command, "--root", runtime.root, "run", "-d", "-b", str(runtime.bundle), *options, runtime.id]
        return subprocess.run(words, **{**QUIET, **more}, check=True)

    return start


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


@pytest.fixture
def create(runtime):
    """Create the container."""

    def create():
        words = [runtime.command, "--root", runtime.root, "create", "-b", str(runtime.bundle), runtime.id]
        subprocess.run(words, **QUIET, check=True)

    return create


def test_a_created_container_is_paused_too(runtime, create):
    create()
    assert runtime("pause", runtime.id).returncode == 0
    assert runtime.status() == "paused"
    assert "it is paused, not created" in runtime("start", runtime.id).stderr
    assert runtime("resume", runtime.id).returncode == 0
    assert runtime.status() == "created"
    assert runtime("start", runtime.id).returncode == 0
    assert runtime.status() == "running"


@pytest.mark.parametrize("words", [("kill", "KILL"), ("delete", "--force")])
def test_a_created_container_that_is_paused_can_be_ended(runtime, create, words):
    create()
    assert runtime("pause", runtime.id).returncode == 0
    begun = time.monotonic()
    assert runtime(words[0], runtime.id, *words[1:]).returncode == 0
    wait_for(lambda: runtime("state", runtime.id).returncode or runtime.status() == "stopped")
    assert time.monotonic() - begun < 5


def test_a_process_enters_what_has_none_of_its_own(runtime, create):
    """It can be created, though not started (runtime-spec, config.md, Process)."""
    runtime.configure(lambda spec: spec.pop("process"))
    create()
    done = runtime("exec", runtime.id, "/bin/pwd")
    assert (done.returncode, done.stdout) == (0, "/\n"), done.stderr


def test_a_created_container_ends_at_sigterm(runtime):
    words = [runtime.command, "--root", runtime.root, "create", "-b", str(runtime.bundle), runtime.id]
    subprocess.run(words, **QUIET, check=True)
    assert runtime("kill", runtime.id).returncode == 0
    wait_for(lambda: runtime.status() == "stopped")


def test_what_a_process_says_nothing_of_is_as_the_containers_own_has_it(runtime, start, tmp_path):
    limits = [{"type": "RLIMIT_NOFILE", "soft": 123, "hard": 456}]
    runtime.configure(lambda spec: spec["process"].update(rlimits=limits))
    start()
    script = "grep Cap /proc/self/status; ulimit -Sn; ulimit -Hn"
    asked = runtime("exec", runtime.id, "sh", "-c", script).stdout
    assert asked.splitlines()[-2:] == ["123", "456"]
    process = {"args": ["sh", "-c", script], "cwd": "/", "env": ["PATH=/bin"]}
    (tmp_path / "process").write_text(json.dumps(process))
    assert runtime("exec", "--process", str(tmp_path / "process"), runtime.id).stdout == asked
    nothing = {"capabilities": {}, "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 99, "hard": 99}]}
    (tmp_path / "process").write_text(json.dumps({**process, **nothing}))
    told = runtime("exec", "--process", str(tmp_path / "process"), runtime.id).stdout.splitlines()
    assert told[-2:] == ["99", "99"]
    assert [line.split()[1] for line in told[:5]] == ["0" * 16] * 5


@pytest.mark.parametrize("words", [["run"], ["run", "-d"], ["create"]])
def test_what_has_no_process_is_not_started(runtime, words, tmp_path):
    """Exit status 1, as with runc: no program ran. It may be created, but a start is an error (runtime.md, Start)."""
    runtime.configure(lambda spec: spec.pop("process"))
    with open(tmp_path / "told", "w") as told:
        command = [runtime.command, "--root", runtime.root, *words, "-b", str(runtime.bundle), runtime.id]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=told, stderr=told, check=False)
    if words == ["create"]:
        assert done.returncode == 0
        done = runtime("start", runtime.id)
        assert (done.returncode, "can be created but not started" in done.stderr) == (1, True)
    else:
        assert done.returncode == 1
        (line,) = (tmp_path / "told").read_text().splitlines()
        assert "process: None is not valid; expected a process to be started" in line
        assert runtime("list", "-q").stdout == ""


def test_arguments_that_are_too_long_are_told_of_as_that(runtime, create, tmp_path):
    """execve(2): one of 128 KiB is, and it is a trampoline that is executed first, by its descriptor."""
    process = {"args": ["echo", "x" * 200_000], "cwd": "/", "env": ["PATH=/bin"]}
    (tmp_path / "process").write_text(json.dumps(process))
    runtime.configure(lambda spec: spec["process"].update(args=process["args"]))
    create()
    entered = runtime("exec", "--process", str(tmp_path / "process"), runtime.id)
    assert (entered.returncode, "exec echo: argument list too long" in entered.stderr) == (255, True), entered.stderr
    started = runtime("start", runtime.id)
    assert (started.returncode, "exec echo: argument list too long" in started.stderr) == (1, True), started.stderr


def test_bytes_that_are_not_utf_8_are_passed_on(runtime, start):
    """A file's name can be any."""
    start()
    words = [runtime.command, "--root", runtime.root, "exec", "-e", b"A=\xe9", runtime.id, "sh", "-c"]
    done = subprocess.run([*words, b'echo "$A" "$1"', b"sh", b"\xff"], stdout=subprocess.PIPE, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (0, b"\xe9 \xff\n")
    done = subprocess.run([*words[:4], runtime.id, b"/no/\xff"], stderr=subprocess.PIPE, timeout=20, check=False)
    assert (done.returncode, b"no such file or directory" in done.stderr) == (255, True), done.stderr


def test_what_is_nested_too_deeply_or_too_long_is_one_line(runtime, start, tmp_path):
    start()
    (tmp_path / "deep").write_text("[" * 200_000)
    done = runtime("exec", "--process", str(tmp_path / "deep"), runtime.id)
    assert (done.returncode, len(done.stderr.splitlines())) == (255, 1), done.stderr[-500:]
    words = [runtime.command, "--root", runtime.root, "events", "--interval", "1000000h", runtime.id]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as events:
        wait_for(lambda: has_open(events.pid, "[pidfd]"), "watcher")
        assert runtime("kill", runtime.id, "KILL").returncode == 0
        assert events.communicate(timeout=10)[1] == ""
    assert events.returncode == 0


@pytest.mark.parametrize("given", [None, "", "many", "-1"])
def test_a_count_of_listening_sockets_that_is_none(runtime, given):
    """sd_listen_fds(3) passes nothing on then."""
    runtime.configure(lambda spec: spec["process"].update(args=["true"]))
    script = 'LISTEN_PID=$$ exec "$@"'
    words = ["sh", "-c", script, "sh", runtime.command, "--root", runtime.root, "run", "-b", str(runtime.bundle)]
    environment = {name: value for name, value in os.environ.items() if name != "LISTEN_FDS"}
    environment.update({} if given is None else {"LISTEN_FDS": given})
    done = subprocess.run([*words, runtime.id], **{**QUIET, "stderr": subprocess.PIPE}, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_directory_of_states_is_nobody_elses_whatever_the_umask(runtime, tmp_path):
    runtime.root = str(tmp_path / "above/state")
    runtime.configure(lambda spec: spec["process"].update(args=["sh", "-c", "umask"]))
    done = runtime("run", "-b", str(runtime.bundle), runtime.id, preexec_fn=lambda: os.umask(0))
    assert (done.returncode, done.stdout) == (0, "0000\n"), done.stderr
    assert not (tmp_path / "above").stat().st_mode & 0o022


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


NO_CAPABILITIES = ["CAP_OF_TOMORROW", "cap_sys_admin", "chown", "", "CAP_A\nCAP_B"]
NOT_GRANTED = "CAP_OF_TOMORROW, cap_sys_admin, chown, '', 'CAP_A\\nCAP_B'"


def test_what_a_host_cannot_grant_is_a_warning(runtime, tmp_path):
    """In one line, whatever the names are; the program has the rest (config.md, Linux Process, capabilities)."""

    def ask(spec):
        spec["process"]["args"] = ["grep", "^Cap[PB]", "/proc/self/status"]
        spec["process"]["capabilities"] = {name: ["CAP_CHOWN", *NO_CAPABILITIES] for name in ("bounding", "permitted")}

    runtime.configure(ask)
    words = ["run", "-b", str(runtime.bundle), runtime.id]
    done = runtime(*words)
    assert (done.returncode, done.stdout.split()[1::2]) == (0, ["0000000000000001"] * 2), done.stderr
    assert ("level=warning" in done.stderr, len(done.stderr.splitlines())) == (True, 1)
    log = tmp_path / "log"
    assert runtime("--log", str(log), "--log-format", "json", *words).stderr == ""
    (entry,) = [json.loads(line) for line in log.read_text().splitlines()]
    assert (entry["level"], entry["msg"].partition(": ")[2]) == ("warning", NOT_GRANTED)


def test_a_process_that_enters_is_warned_of_what_it_cannot_have(runtime, start):
    """``exec --cap``, whose names are taken as they stand, as with runc."""
    start()
    words = [word for name in ("CAP_SYS_PTRACE", *NO_CAPABILITIES) for word in ("--cap", name)]
    done = runtime("exec", *words, runtime.id, "grep", "CapEff", "/proc/self/status")
    assert (done.returncode, int(done.stdout.split()[1], 16) & (1 << 19 | 1 << 21)) == (0, 1 << 19), done.stderr
    assert ("level=warning" in done.stderr, len(done.stderr.splitlines())) == (True, 1)


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
