"""The life of a container: created, started, watched, stopped, deleted; and how each step fails."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import Conflict, InvalidOption, NotFound
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.process import start_time
from ansible_collections.stowage.engine.plugins.module_utils._engine.runtime.state import load_state
from ansible_collections.stowage.engine.plugins.module_utils._engine.shim import launch


def test_output_and_exit_code_are_kept(host):
    code, stdout, stderr = host.output("web", "sh", "-c", "echo hello; echo oops >&2; exit 3")
    assert (code, stdout, stderr) == (3, "hello\n", "oops\n")
    state = host.state("web")
    assert (state.running, state.exit_code) == (False, 3)
    assert state.finished_at.endswith("Z")


def test_a_long_output_is_whole(host):
    code, stdout, _err = host.output("web", "seq", "1", "200000")
    assert code == 0
    assert stdout == "".join(f"{number}\n" for number in range(1, 200001))


def test_a_line_without_an_end_is_kept(host):
    assert host.output("web", "sh", "-c", "echo -n some; sleep 0.05; echo -n thing")[1] == "something\n"


def test_death_by_a_signal_is_128_and_its_number(host):
    pid = host.run("web", "sleep", "60")
    os.kill(pid, signal.SIGKILL)
    assert host.wait("web") == 128 + signal.SIGKILL


def test_what_it_wrote_to_its_root_stays(host):
    assert host.output("web", "sh", "-c", "echo kept > /file")[0] == 0
    host.stop("web")
    assert host.output("web", "cat", "/file") == (0, "kept\n", "")


def test_it_runs_with_its_pid_and_start_time(host):
    pid = host.run("web", "sleep", "60")
    state = host.state("web")
    assert (state.running, state.pid, state.pid_started) == (True, pid, start_time(pid))
    begun = time.mktime(time.strptime(state.started_at[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
    assert abs(begun - time.time()) < 5


def test_created_is_not_running(host):
    host.prepare("web", "sleep", "60")
    host.create("web")
    assert not host.state("web").running
    assert load_state(host.paths.runtime_root, "web").status() == "created"
    host.start("web")
    with pytest.raises(Conflict, match="running, not created"):
        host.start("web")


def test_many_at_once(host):
    names = [f"web{number}" for number in range(20)]
    for name in names:
        host.prepare(name, "sleep", "60")
    assert {result.name for result in host.create(*names)} == set(names)
    for name in names:
        host.start(name)
    assert all(host.state(name).running for name in names)


def test_one_that_fails_does_not_hold_up_the_others(host):
    host.prepare("good", "sleep", "60")
    host.prepare("bad", "/no/such/program")
    results = {result.name: result for result in host.create("good", "bad", "missing")}
    assert isinstance(results["good"], launch.Created)
    assert results["bad"].error == "container bad: exec '/no/such/program': no such file or directory"
    assert "'missing' is not on this host" in results["missing"].error


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("nothing",), "exec 'nothing': executable file not found in $PATH"),
        (("/etc/passwd",), "exec '/etc/passwd': permission denied"),
        (("/etc",), "is a directory"),
    ],
)
def test_a_wrong_program_is_told_and_leaves_nothing(host, args, told):
    host.prepare("web", *args)
    result = host.create("web")[0]
    assert told in result.error
    path = host.cgroups.container_path("", "web")
    deadline = time.monotonic() + 5
    while host.monitors() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert host.cgroups.observe_limits(path) is None
    assert os.listdir(host.paths.runtime_root) == []


def test_a_program_that_is_none_is_told_at_start(host):
    """The file may be executed, but the kernel does not know how."""
    host.prepare("web", "/bad")
    upper = Path(host.paths.container("web"), "upper")
    (upper / "bad").write_bytes(b"\x00\x01\x02 nonsense")
    (upper / "bad").chmod(0o755)
    assert isinstance(host.create("web")[0], launch.Created)
    with pytest.raises(launch.RuntimeFailed, match="exec format error"):
        host.start("web")
    assert host.state("web").exit_code == 127


@pytest.mark.parametrize("user", ["nobody-here", "web:", "1000:no-group", "-1", "1e3"])
def test_an_unknown_user_is_refused(host, user):
    host.prepare("web", "true", user=user)
    assert repr(user) in host.create("web")[0].error


def test_a_missing_layer_is_refused_before_anything_is_made(host, tmp_path):
    with pytest.raises(InvalidOption, match="unpacked layer"):
        host.prepare("web", "true", layers=[str(tmp_path / "gone")])
    assert not os.path.exists(host.paths.container("web"))


def test_stop_asks_first(host):
    host.run("web", "sh", "-c", "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.02; done")
    while "ready" not in host.log("web"):
        time.sleep(0.01)
    host.stop("web", timeout=10)
    assert host.state("web").exit_code == 7
    assert host.log("web") == "ready\nbye\n"


def test_stop_kills_what_does_not_listen(host):
    host.run("web", "sleep", "60")
    begun = time.monotonic()
    host.stop("web", timeout=0.3)
    assert 0.3 <= time.monotonic() - begun < 3
    assert host.state("web").exit_code == 137


def test_stop_has_a_signal_of_its_own(host):
    host.run("web", "sh", "-c", "trap 'exit 9' USR1; echo ready; while :; do sleep 0.02; done", stop_signal="SIGUSR1")
    while "ready" not in host.log("web"):
        time.sleep(0.01)
    host.stop("web", timeout=10)
    assert host.state("web").exit_code == 9


def test_sigterm_to_the_monitor_goes_on_to_the_container(host):
    host.run("web", "sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.02; done")
    while "ready" not in host.log("web"):
        time.sleep(0.01)
    os.kill(load_state(host.paths.runtime_root, "web").creator[0], signal.SIGTERM)
    assert host.wait("web") == 5


def test_the_end_takes_cgroup_and_state_away(host):
    host.output("web", "true")
    host.stop("web")  # waits for the monitor
    assert host.cgroups.observe_limits(host.cgroups.container_path("", "web")) is None
    with pytest.raises(NotFound):
        load_state(host.paths.runtime_root, "web")


def test_delete_is_idempotent(host):
    host.run("web", "sleep", "60")
    host.delete("web")
    host.delete("web")


def test_the_monitor_keeps_nothing_of_its_caller(host):
    host.run("web", "sleep", "60")
    monitor = load_state(host.paths.runtime_root, "web").creator[0]
    assert os.getsid(monitor) == monitor
    assert os.readlink(f"/proc/{monitor}/cwd") == "/"
    kinds = sorted(os.readlink(f"/proc/{monitor}/fd/{fd}").split(":")[0] for fd in os.listdir(f"/proc/{monitor}/fd"))
    log = os.path.join(host.paths.container("web"), "log")
    assert set(kinds) <= {"/dev/null", "pipe", log, "anon_inode", f"/proc/{monitor}/fd"}
    paths = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    mine = {os.readlink(path) for path in paths if os.path.lexists(path)}
    theirs = {os.readlink(f"/proc/{monitor}/fd/{fd}") for fd in os.listdir(f"/proc/{monitor}/fd")}
    assert not {link for link in mine & theirs if link.startswith("pipe")}
