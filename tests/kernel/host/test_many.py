# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many containers in one run, several runs at once, and runs of which a part fails."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.runtime.state import load_state
from tests.kernel.host.world import absent, containers_task, image_task, run_tasks, wait_until
from tests.kernel.network.conftest import Failed

LAN = ("network", {"name": "lan", "subnet": "10.77.0.0/24"})
ON_LAN = {"networks": [{"name": "lan"}]}


def test_twenty_in_one_run(world):
    names = [f"c{number:02}" for number in range(20)]
    ports = {name: {**ON_LAN, "published_ports": [f"90{name[1:]}:80"]} for name in names}
    tasks = (image_task(), LAN, containers_task(**ports))
    changes = world.run(*tasks)
    assert len(changes) == 22
    world.demand_sound(*tasks)
    states = world.containers()
    addresses = {state.container.networks[0].address for state in states.values()}
    assert len(addresses) == 20
    # Each can look up all others, whichever came up first.
    for name in names:
        text = Path(world.paths.container_run(name), "hosts").read_text().split()
        assert set(names) <= set(text)
        assert addresses <= set(text)
    world.run(*absent(tasks))
    world.demand_nothing_left()


def test_two_runs_at_once(world):
    """The lock lets one wait for the other, and that one then finds nothing to do."""
    tasks = (image_task(), LAN, containers_task(web=ON_LAN, db=ON_LAN, job={}))
    for wanted in (tasks, (image_task(**{"/etc/motd": "new"}), *tasks[1:]), absent(tasks)):
        runs = [world.start(partial(run_tasks, world.paths, wanted, False)) for _rest in range(3)]
        for pid in runs:
            world.pids.remove(pid)
            assert os.waitpid(pid, 0)[1] == 0, "one of the runs failed"
        world.demand_sound(*wanted)
    world.demand_nothing_left()


BROKEN = {
    "no such program": (
        {"command": ["/no/such/program"]},
        "RuntimeFailed",
        ["container bad: exec '/no/such/program'", "no such file"],
    ),
    "a port in use by another": (
        {**ON_LAN, "published_ports": ["8080:80"]},
        "Conflict",
        ["web and bad", "0.0.0.0:8080/tcp"],
    ),
    "a port and no network": (
        {"published_ports": ["8090:80"]},
        "InvalidOption",
        ["containers[4]: published_ports", "joins one of the networks"],
    ),
    "no such volume": (
        {"volumes": ["/no/such/directory:/data"]},
        "NotFound",
        ["container bad", "volumes", "/no/such/directory"],
    ),
    "no such network": (
        {"networks": [{"name": "wan"}]},
        "NotFound",
        ["container bad", "network 'wan'", "lan"],
    ),
    "no such cgroup": (
        {"cgroup_parent": "shop"},
        "NotFound",
        ["container bad", "cgroup_parent", "shop"],
    ),
    "no such image": ({"image": "other:1"}, "NotFound", ["container bad", "other:1", "pull or build"]),
    "an address outside of the network": (
        {"networks": [{"name": "lan", "ipv4_address": "10.1.2.3"}]},
        "InvalidOption",
        ["container bad", "ipv4_address", "10.77.0.0/24"],
    ),
    "an address of another": (
        {"networks": [{"name": "lan", "ipv4_address": "10.77.0.5"}]},
        "Conflict",
        ["fix", "bad", "10.77.0.5"],
    ),
    "memory that is too little to start": ({"memory": "512K"}, "RuntimeFailed", ["container bad"]),
}
GOOD = {
    "web": {**ON_LAN, "published_ports": ["8080:80"]},
    "db": ON_LAN,
    "job": {},
    "fix": {"networks": [{"name": "lan", "ipv4_address": "10.77.0.5"}]},
}


@pytest.mark.parametrize("case", BROKEN)
def test_one_of_five_cannot_be(lasting_world, case):
    """What can be known before is refused before anything is changed; else the others run, and nothing is left."""
    world = lasting_world
    options, kind, words = BROKEN[case]
    world.run(image_task(), LAN)
    before = world.traces()  # the image and the network that are there
    with pytest.raises(Failed) as failed:
        world.run(containers_task(**GOOD, bad=options))
    assert failed.value.kind == kind, str(failed.value)
    assert all(word in failed.value.text for word in words), failed.value.text
    if kind != "RuntimeFailed":
        assert world.traces() == before
    else:
        world.demand_sound(containers_task(**GOOD, bad=None))
    assert not [item for item in world.traces() if "bad" in item]
    world.run(containers_task(**dict.fromkeys(GOOD), bad=None))
    wait_until(lambda: world.traces() == before, 5.0)  # the kernel takes its time for a network namespace
    assert world.traces() == before


def test_a_failed_update_leaves_what_runs(world):
    """A container whose new form cannot start is gone, the others go on; the old form comes back with its task."""
    tasks = (image_task(), LAN, containers_task(**GOOD))
    world.run(*tasks)
    pids = {name: state.pid for name, state in world.containers().items()}
    with pytest.raises(Failed, match=r"container job: .*/no/such/program"):
        world.run(containers_task(**{**GOOD, "job": {"command": ["/no/such/program"]}}))
    world.demand_sound(containers_task(**{**GOOD, "job": None}))
    assert {name: state.pid for name, state in world.containers().items()}.items() <= pids.items()
    world.run(*tasks)
    world.demand_sound(*tasks)


def test_a_monitor_has_little_of_its_own(world):
    """Ten of them: what they share is a share of each, but what only one has is what counts for many."""
    tasks = (image_task(), containers_task(**{f"c{number}": {} for number in range(10)}))
    world.run(*tasks)
    private = []
    for number in range(10):
        monitor = load_state(world.paths.runtime_root, f"c{number}").creator[0]
        rollup = Path(f"/proc/{monitor}/smaps_rollup").read_text().split()
        private.append(int(rollup[rollup.index("Private_Dirty:") + 1]))
    assert sum(private) / len(private) < 440, private  # kB; 470 were it loaded first, 530 without a rehearsal
    world.run(*absent(tasks))
    world.demand_nothing_left()
