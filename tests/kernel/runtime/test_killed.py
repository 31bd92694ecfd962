"""Whoever is killed, and whenever: nothing goes on unwatched, delete leaves nothing (the fixture counts)."""

from __future__ import annotations

import contextlib
import os
import signal
import time

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.files import exclusive_lock
from ansible_collections.stowage.engine.plugins.module_utils._engine.runtime.state import list_states, load_state
from ansible_collections.stowage.engine.plugins.module_utils._engine.shim import launch
from tests.waiting import wait_for


def fork(function):
    """A child that runs ``function``, whatever comes of it, and ends."""
    pid = os.fork()
    if pid == 0:
        try:
            function()
        finally:
            os._exit(0)
    return pid


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False


def test_a_container_dies_with_its_monitor(host):
    pid = host.run("web", "sleep", "60", user="web")
    os.kill(load_state(host.paths.runtime_root, "web").creator[0], signal.SIGKILL)
    wait_for(lambda: not alive(pid))
    state = host.state("web")
    assert (state.running, state.exit_code) == (False, None)


def test_it_can_be_run_again_after_its_monitor_was_killed(host):
    host.run("web", "sleep", "60")
    os.kill(load_state(host.paths.runtime_root, "web").creator[0], signal.SIGKILL)
    launch.delete_container(host.paths, host.cgroups, "web")
    host.run("web", "sleep", "60")
    assert host.state("web").running


def test_a_created_container_is_given_up_without_its_launcher(host):
    host.prepare("web", "sleep", "60")
    result = host.create("web", patience=0.2)[0]
    wait_for(lambda: not alive(result.pid))
    wait_for(lambda: not host.monitors())
    assert list_states(host.paths.runtime_root) == []
    assert "not started" in launch.read_exit(host.paths, "web")["error"]


def test_a_started_container_outlives_its_launcher(host):
    host.prepare("web", "sleep", "60")
    pid = host.create("web", patience=0.2)[0].pid
    host.start("web")
    time.sleep(0.5)
    assert alive(pid)


def test_delete_while_created(host):
    host.prepare("web", "sleep", "60")
    host.create("web")


@pytest.mark.parametrize("delay", [0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12])
def test_a_module_that_is_killed_leaves_nothing_running(host, delay):
    """The module process runs create_containers and is gone ``delay`` seconds later, at whatever it was doing.

    Who has the lock after it meets nobody who still creates.
    """
    names = ["a", "b", "c"]
    for name in names:
        host.prepare(name, "sleep", "60")

    def module():
        lock = exclusive_lock(host.paths.lock)
        with lock:
            options = {"cgroups": host.cgroups, "patience": 0.3, "launcher": launch.Launcher(host.engine, lock.fd)}
            for result in launch.create_containers(host.paths, host.engine, names, **options):
                if isinstance(result, launch.Created) and result.name != "c":
                    host.start(result.name)

    child = fork(module)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with exclusive_lock(host.paths.lock):
        assert all(state.pid for state in list_states(host.paths.runtime_root))
        # What was started may run; what was not is given up.
        wait_for(lambda: {s.status() for s in list_states(host.paths.runtime_root)} <= {"running"})
        for name in names:
            launch.delete_container(host.paths, host.cgroups, name)
    wait_for(lambda: not host.monitors())


@pytest.mark.parametrize("number", range(6))
def test_a_launcher_or_monitor_that_is_killed_leaves_nothing_running(host, number):
    """One process of the engine after another is killed while a container is being made."""
    host.prepare("web", "sleep", "60")
    child = fork(lambda: host.create("web", patience=0.3))
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        found = sorted(host.monitors())
        if len(found) > number % 3:
            time.sleep(0.004 * (number // 3))
            with contextlib.suppress(ProcessLookupError):
                os.kill(found[number % 3], signal.SIGKILL)
            break
    os.waitpid(child, 0)
    launch.delete_container(host.paths, host.cgroups, "web")
    wait_for(lambda: not host.monitors())
