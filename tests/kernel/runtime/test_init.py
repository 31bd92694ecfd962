"""``init: true``: a first process that reaps, passes signals on, and ends as its command does."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.model.container import Namespaces
from tests.waiting import wait_for

IDS = ((0, 0x70000000, 65536),)


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_zombie(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.parametrize("namespaces", [Namespaces(), Namespaces("auto", IDS, IDS)], ids=["keep", "auto"])
@pytest.mark.parametrize("runtime", ["", "runc"])
def test_the_command_is_its_child_and_its_exit_status_the_container_s(host, runtime, namespaces):
    script = "echo $$ $PPID; readlink /proc/1/exe; cat /proc/1/cmdline | tr '\\0' ' '; exit 3"
    code, out, err = host.output("web", "sh", "-c", script, init=True, runtime=runtime, namespaces=namespaces)
    assert (code, err) == (3, "")
    pids, rest = out.split("\n", 1)
    assert pids.split()[1] == "1"  # the parent; the pid is 2 unless the runtime had further processes, as runc's Go has
    assert rest.startswith("/sbin/docker-init\n/sbin/docker-init -- sh -c echo")


def test_it_reaps_what_is_left_to_it(host):
    script = "for n in 1 2 3; do (sleep 1 &); done; sleep 60"
    pid = host.run("web", "sh", "-c", script, init=True)
    wait_for(lambda: len(children(pid)) == 4)
    wait_for(lambda: len(children(pid)) == 1)


def test_without_it_nobody_reaps(host):
    """What the test before is about: a shell that executes its last command leaves orphans as zombies."""
    pid = host.run("web", "sh", "-c", "for n in 1 2 3; do (sleep 0.1 &); done; exec sleep 60")
    wait_for(lambda: len(children(pid)) == 3 and all(map(is_zombie, children(pid))), "zombies")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGRTMAX])
def test_signals_reach_the_command(host, number):
    name = {signal.SIGRTMAX: "64"}.get(number, signal.Signals(number).name[3:])
    script = f"trap 'echo got {name}; exit 7' {name}; echo ready; while :; do sleep 0.05; done"
    pid = host.run("web", "sh", "-c", script, init=True)
    wait_for(lambda: "ready" in host.log("web"))
    os.kill(pid, number)
    assert host.wait("web") == 7
    assert f"got {name}" in host.log("web")


def test_a_command_without_handlers_ends_by_a_signal_as_it_would_elsewhere(host):
    """As process 1 itself it would not: the kernel gives that no default action."""
    pid = host.run("web", "sleep", "60", init=True)
    wait_for(lambda: children(pid))  # until it has forked, a signal is to a process 1 that does not wait for any
    started = time.monotonic()
    host.stop("web", 10)
    assert time.monotonic() - started < 5
    assert host.state("web").exit_code == 128 + signal.SIGTERM


def test_the_command_has_no_signals_blocked(host):
    assert host.output("web", "grep", "SigBlk", "/proc/self/status", init=True)[1].split()[1] == "0" * 16


def test_a_command_is_looked_up_as_path_has_it(host):
    env = (("PATH", "/nonsense:/bin"),)
    assert host.output("web", "echo", "hello", init=True, env=env)[:2] == (0, "hello\n")
    assert host.output("path", "/bin/echo", "hello", init=True, env=env)[:2] == (0, "hello\n")


def test_a_command_that_is_not_there_is_told(host):
    code, _out, err = host.output("web", "nonsense", init=True)
    assert (code, err) == (127, "init: cannot execute 'nonsense': it is not in the container, or no program\n")


def test_it_is_small(host):
    pid = host.run("web", "sleep", "60", init=True)
    assert "VmRSS" in Path(f"/proc/{pid}/status").read_text()
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    assert int(next(line.split()[1] for line in lines if line.startswith("Pss:"))) < 64
