# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kill -9 of a whole convergence, of monitors and of launchers, at every step and anywhere: the next run converges."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.process import start_time
from tests.kernel.host.world import TURNS, absent, containers_task, image_task, run_tasks, wait_until

NETWORK = ("network", {"name": "lan", "subnet": "10.77.0.0/24"})
ON_LAN = {"networks": [{"name": "lan"}]}
WEB = {**ON_LAN, "published_ports": ["8080:80", "127.0.0.1:5300:53/udp"], "cgroup_parent": "shop"}
DB = {**ON_LAN, "volumes": ["/usr/share:/data:ro"], "memory": "32M"}
FIRST = (image_task(), ("cgroup", {"name": "shop", "memory": "64M"}), NETWORK, containers_task(web=WEB, db=DB, job={}))
# What changes live, and a container that is to stop.
SECOND = (
    image_task(),
    ("cgroup", {"name": "shop", "memory": "96M", "pids_limit": "50"}),
    ("network", {**NETWORK[1], "names": {"far": "10.77.9.9"}, "mtu": 1400}),
    containers_task(
        web={**WEB, "published_ports": ["8081:80"], "memory": "48M"},
        db={**DB, "memory": "24M", "labels": {"a": "b"}},
        job={"state": "stopped"},
    ),
)
# What takes a new process: another image, environment and subnet.
THIRD = (
    image_task(**{"/etc/motd": "new"}),
    SECOND[1],
    ("network", {"name": "lan", "subnet": "10.78.0.0/24"}),
    containers_task(web={**WEB, "env": {"A": "1"}}, db=DB, job={}),
)
GONE = tuple(absent(THIRD))
OTHER_IMAGE = image_task("other:1")
STORY = (FIRST, SECOND, THIRD, GONE)


# Calls of C functions after which something is different on the host. A kill between two of them is one before the
# second. nft's and mount's functions are called through ctypes, which a profile does not see: their callers count.
WRITES = {
    "mkdir",
    "rename",
    "unlink",
    "rmdir",
    "symlink",
    "write",
    "pwrite",
    "ftruncate",
    "chmod",
    "posix_spawn",
    "mkfifo",
}
WRITES |= {"send", "sendto", "sendmsg", "pidfd_send_signal"}
CALLERS = {"apply_ruleset"}


def kill_self():
    os.kill(os.getpid(), signal.SIGKILL)


def at_step(number):
    """A progress callback that kills this process before step ``number``, counted from 0."""
    steps = iter(range(number + 1))

    def progress(_line):
        if next(steps) == number:
            kill_self()

    return progress


def at_write(number, tell=None):
    """From now on, kill this process when it is about to make its write ``number``; ``tell`` counts along."""
    counted = itertools.count(1)

    def profile(frame, event, argument):
        if (event == "c_call" and argument.__name__ in WRITES) or (event == "call" and frame.f_code.co_name in CALLERS):
            count = next(counted)
            if tell:
                tell(count)
            if count == number:
                kill_self()

    threading.setprofile(profile)
    sys.setprofile(profile)


def demand(world, tasks):
    """Run to the end what was killed, and everything is as it should be."""
    world.run(*tasks)
    world.demand_sound(*tasks)
    if tasks is GONE:
        # A sweep of images that was cut short is gone on with by the next that writes images.
        world.run(OTHER_IMAGE, *absent([OTHER_IMAGE]))
        world.demand_nothing_left()


def test_before_every_step(world):
    number = 0
    more = True
    while more:
        more = False
        for tasks in STORY:
            pid = world.start(lambda tasks=tasks: run_tasks(world.paths, tasks, False, at_step(number)))  # noqa: B023
            more |= world.end(pid)
            demand(world, tasks)
        number += 1
    assert number > 12


def count_writes(world, tasks):
    """How many writes a run makes."""

    def run():
        counts = []
        at_write(0, counts.append)
        run_tasks(world.paths, tasks, False)
        sys.setprofile(None)
        return counts[-1]

    return world.call(run)


def test_before_any_write(world):
    chance = random.Random(1)
    counts = [count_writes(world, tasks) for tasks in STORY]
    assert min(counts) > 50, counts
    killed = 0
    for _rest in range(TURNS):
        for tasks, count in zip(STORY, counts):
            pid = world.begin(*tasks, before=partial(at_write, chance.randrange(1, count)))
            killed += world.end(pid)
            demand(world, tasks)
    # What is there already of another turn is not written again, so that a late write may not come.
    assert killed >= 3 * TURNS


def test_at_any_instant(world):
    """The module's process is killed, and in turns whatever there is of the engine: launcher, monitor, creator."""
    chance = random.Random(2)
    killed = 0
    for turn in range(TURNS):
        for tasks in STORY:
            pid = world.begin(*tasks)
            time.sleep(chance.uniform(0.01, 0.4))
            victims = world.engine_processes() if turn % 2 else [pid]
            if victims:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(chance.choice(victims), signal.SIGKILL)
                    killed += 1
            world.end(pid)
            demand(world, tasks)
    assert killed >= 3 * TURNS


def test_monitors_that_are_killed_while_they_create(world):
    """Whoever waits for them is told, and no init outlives them."""
    tasks = [image_task(), containers_task(one={}, two={})]
    chance = random.Random(3)
    for _rest in range(TURNS):
        pid = world.begin(*tasks)
        wait_until(lambda: len(world.engine_processes()) > 1, 5.0, pause=0.0005)
        time.sleep(chance.uniform(0.0, 0.02))
        _launcher, *others = sorted(world.engine_processes())
        os.kill(chance.choice(others), signal.SIGKILL)
        wait_until(lambda pid=pid: start_time(pid) == 0, 10.0)
        assert start_time(pid) == 0, "the run waits for a monitor that was killed"
        world.end(pid)
        demand(world, tasks)
        world.run(*absent(tasks))
        world.demand_nothing_left()


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed; it kills at a system call")
@pytest.mark.parametrize(
    ("call", "number"),
    [
        ("mkdir", 3),
        ("rename", 2),
        ("mount", 1),
        ("mount", 6),
        ("pivot_root", 1),
        ("clone3", 1),
        ("seccomp", 1),
        ("execve", 1),
        ("unlink", 1),
        ("write", 12),
    ],
)
def test_at_a_system_call(lasting_world, call, number):
    """Whichever process of a run makes the call for the n-th time: the module's, a launcher, a monitor, an init."""
    world = lasting_world
    tasks = (NETWORK, containers_task(web=ON_LAN, db=ON_LAN))
    world.run(image_task())
    entered, go = os.pipe()
    pid = world.begin(*tasks, before=lambda: os.read(entered, 1))
    inject = f"inject={call}:signal=SIGKILL:when={number}"
    command = [
        "strace",
        "-f",
        "-q",
        "-o",
        str(world.directory / "strace"),
        "-e",
        f"trace={call}",
        "-e",
        inject,
        "-p",
        str(pid),
    ]
    strace = subprocess.Popen(command)
    wait_until(lambda: f"TracerPid:\t{strace.pid}\n" in Path(f"/proc/{pid}/status").read_text(), 5.0)
    os.write(go, b"!")
    world.end(pid)
    wait_until(lambda: "+++ killed by SIGKILL" in (world.directory / "strace").read_text(), 5.0)
    # It would stay as long as there are monitors; those go on without it.
    strace.terminate()
    strace.wait()
    assert "+++ killed by SIGKILL" in (world.directory / "strace").read_text()
    os.close(entered)
    os.close(go)
    demand(world, (image_task(), *tasks))
    world.run(*absent(tasks))
    world.demand_monitors(0)
    assert not [item for item in world.traces() - world.before if "/layers" not in item and "/images" not in item]
