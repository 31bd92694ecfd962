# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers in namespaces of others, through the whole cycle: order, drift, what is refused, and what is shared."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.kernel.host.world import absent, containers_task, image_task, wait_until
from tests.kernel.network.conftest import Failed

RUNTIMES = [
    "",
    pytest.param(
        "runc",
        marks=pytest.mark.skipif(shutil.which("runc") is None, reason="runc is not installed: nothing to join with"),
    ),
]
JOINED = {"pid_mode": "container:db", "ipc_mode": "container:db"}


def tasks(db=(), **web):
    """The one that joins stands first."""
    return image_task(), containers_task(web={**JOINED, **web}, db={**dict(db)})


def namespaces(world, name):
    pid = world.containers()[name].pid
    return {kind: os.readlink(f"/proc/{pid}/ns/{kind}") for kind in ("pid", "ipc", "uts", "net", "mnt", "cgroup")}


def shared(world, one="web", other="db"):
    first, second = namespaces(world, one), namespaces(world, other)
    return [kind for kind in first if first[kind] == second[kind]]


def demand_one_shared_memory(world):
    pids = {name: world.containers()[name].pid for name in ("web", "db")}
    Path(f"/proc/{pids['db']}/root/dev/shm/token").write_text("of db")
    assert Path(f"/proc/{pids['web']}/root/dev/shm/token").read_text() == "of db"
    mounts = Path(f"/proc/{pids['web']}/mounts").read_text().splitlines()
    options = next(line.split()[3] for line in mounts if line.split()[1] == "/dev/shm").split(",")
    assert {"nosuid", "nodev", "noexec"} <= {*options}


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_container_joins_another_that_the_same_task_makes(world, runtime):
    wanted = tasks(runtime=runtime)
    told = world.told(*wanted)
    assert [line.split(" (")[0] for line in told] == ["assemble image docker.io/library/world:1"] * (len(told) - 2) + [
        "create container db",
        "create container web",
    ]
    assert [str(change) for change in world.run(*wanted)] == told
    world.demand_sound(*wanted)
    assert shared(world) == ["pid", "ipc"]
    demand_one_shared_memory(world)
    world.run(*absent(wanted))
    if not runtime:  # runc's directory stays
        world.demand_nothing_left()


def test_a_monitor_has_its_container_for_its_only_child(world):
    world.run(*tasks())
    for pid in (state.pid for state in world.containers().values()):
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        children = Path(f"/proc/{parent}/task/{parent}/children")
        wait_until(lambda path=children: len(path.read_text().split()) == 1, 5.0)  # its creator is still to be reaped
        assert children.read_text().split() == [str(pid)]


def test_what_joins_one_that_is_changed_is_restarted_with_it(world):
    world.run(*tasks())
    before = {name: state.pid for name, state in world.containers().items()}
    wanted = tasks(db={"env": {"A": "b"}})
    told = world.told(*wanted)
    rejoined = ", ".join(f"{option}: of an earlier process -> container:db" for option in JOINED)
    assert told == ["recreate container db (env A: a value)", f"rejoin container web ({rejoined})"]
    assert [str(change) for change in world.run(*wanted)] == told
    world.demand_sound(*wanted)
    after = {name: state.pid for name, state in world.containers().items()}
    assert all(after[name] != before[name] for name in after)
    assert shared(world) == ["pid", "ipc"]


def test_a_restart_that_is_ordered_takes_along_what_joined(world):
    world.run(*tasks())
    told = world.told(*tasks(db={"restart": True}))
    assert [line.split(" (")[0] for line in told] == ["restart container db", "rejoin container web"]
    world.run(*tasks(db={"restart": True}))
    world.demand_sound(*tasks())
    assert shared(world) == ["pid", "ipc"]


def test_the_end_of_its_first_process_ends_all_in_the_namespace(world):
    world.run(*tasks())
    os.kill(world.containers()["db"].pid, signal.SIGKILL)
    wait_until(lambda: not any(state.running for state in world.containers().values()), 5.0)
    told = world.told(*tasks())
    assert [line.split(" (")[0] for line in told] == ["start container db", "start container web"]
    world.run(*tasks())
    world.demand_sound(*tasks())
    assert shared(world) == ["pid", "ipc"]


def test_a_namespace_that_is_no_longer_the_others_is_seen_and_left(world):
    """Another task makes db anew: web goes on, with IPC objects that db has no longer."""
    web = {"ipc_mode": "container:db"}
    world.run(image_task(), containers_task(db={}, web=web))
    assert shared(world) == ["ipc"]
    world.run(containers_task(db={"hostname": "other"}))
    assert shared(world) == []
    told = world.told(containers_task(web=web))
    assert told == ["rejoin container web (ipc_mode: of an earlier process -> container:db)"]
    assert [str(change) for change in world.run(containers_task(web=web))] == told
    assert shared(world) == ["ipc"]
    demand_one_shared_memory(world)
    assert world.told(containers_task(web=web)) == []


def test_what_is_joined_must_be_there_and_run(world):
    world.run(image_task())
    with pytest.raises(Failed, match="container 'db' is not on this host; container web joins its namespace"):
        world.run(containers_task(web=JOINED))
    assert world.told(containers_task(web=JOINED))[0].startswith("create container web")
    world.run(containers_task(db={"state": "stopped"}))
    with pytest.raises(Failed, match=r"running container 'db' is not on this host; .* start it first"):
        world.run(containers_task(web=JOINED))
    for state in ("stopped", "absent"):
        one = {"db": {"state": "stopped"} if state == "stopped" else None}
        for go in (world.check, world.run):
            with pytest.raises(Failed, match=rf"container db cannot be {state}: container web joins its namespace"):
                go(containers_task(web=JOINED, **one))
    assert world.containers().keys() == {"db"}


def test_no_circle(world):
    world.run(image_task())
    circle = {"a": {"ipc_mode": "container:b"}, "b": {"pid_mode": "container:c"}, "c": {"ipc_mode": "container:a"}}
    for go in (world.check, world.run):
        with pytest.raises(Failed, match="in a circle: a -> b -> c -> a"):
            go(containers_task(**circle))
    world.run(containers_task(a={}, b={"pid_mode": "container:a"}))
    with pytest.raises(Failed, match="in a circle"):
        world.run(containers_task(a={"ipc_mode": "container:b"}))


def test_what_others_run_in_does_not_end_without_them(world):
    wanted = tasks()
    world.run(*wanted)
    pids = {name: state.pid for name, state in world.containers().items()}
    for one in ({"db": None}, {"db": {"state": "stopped"}}):
        with pytest.raises(Failed, match=r"container db cannot end: container web runs in its namespace \(pid_mode\)"):
            world.run(containers_task(**one))
    assert {name: state.pid for name, state in world.containers().items()} == pids
    world.run(containers_task(db={"state": "stopped"}, web={**JOINED, "state": "stopped"}))
    assert not any(state.running for state in world.containers().values())
    world.run(*absent(wanted))
    world.demand_nothing_left()


def test_one_that_stops_slowly_has_its_time_before_what_it_joined_goes(world):
    """The end of db would kill web at once: exit code 137, and not web's own 7."""
    script = "trap 'sleep 0.3; exit 7' TERM; while :; do sleep 0.05; done"
    web = {"command": ["sh", "-c", script], "stop_signal": "TERM", "stop_timeout": 5}
    wanted = tasks(**web)
    world.run(*wanted)
    world.run(image_task(), containers_task(web={**JOINED, **web, "state": "stopped"}, db={"state": "stopped"}))
    assert world.containers()["web"].exit_code == 7


def test_one_joins_what_another_joined(world):
    chain = {"c": {"pid_mode": "container:b"}, "b": {"pid_mode": "container:a"}, "a": {}}
    wanted = image_task(), containers_task(**chain)
    assert [line.split(" (")[0] for line in world.told(*wanted)][-3:] == [f"create container {name}" for name in "abc"]
    world.run(*wanted)
    world.demand_sound(*wanted)
    assert shared(world, "c", "a") == ["pid"]


def test_one_with_ids_of_its_own_may_be_joined(world):
    os.chmod(world.directory, 0o755)
    wanted = tasks(db={"userns": "auto"}, ipc_mode="private")
    world.run(*wanted)
    world.demand_sound(*wanted)
    assert shared(world) == ["pid"]
    for go in (world.check, world.run):
        with pytest.raises(Failed, match="container web, ipc_mode: container db has ids of its own"):
            go(*tasks(db={"userns": "auto"}))


def test_one_of_many_that_cannot_start_fails_with_those_that_join_it(world):
    wanted = image_task(), containers_task(web=JOINED, db={"command": ["nonsense"]}, other={})
    with pytest.raises(Failed) as caught:
        world.run(*wanted)
    assert "container db: " in str(caught.value)
    assert "container web: pid_mode: container db does not run" in str(caught.value)
    assert {name for name, state in world.containers().items() if state.running} == {"other"}


def test_what_a_container_made_of_its_shared_memory_leads_nowhere_else(world):
    """/dev/shm of db is a link by now: followed inside db, or not at all, never on the host."""
    world.run(image_task(), containers_task(db={"privileged": True}))
    pid = world.containers()["db"].pid
    inside = f"nsenter -t {pid} -m busybox sh -c"
    world.sh(f"{inside} 'umount /dev/shm && rmdir /dev/shm && ln -s /proc/1/root/etc /dev/shm'")
    with pytest.raises(Failed, match="ipc_mode: cannot join container db"):
        world.run(containers_task(db={"privileged": True}, web={"ipc_mode": "container:db"}))


LAN = "network", {"name": "lan", "subnet": "10.77.0.0/24"}
SERVER = {"networks": [{"name": "lan"}], "published_ports": ["8080:80"], "etc_hosts": {"else": "192.0.2.9"}}
SIDE = {"network_mode": "container:db"}


def demand_an_answer(world):
    """What web serves is reached at db's port."""
    serve = f"timeout 5 nsenter -t {world.containers()['web'].pid} -n busybox nc -l -p 80 -e echo hello"
    ask = "busybox nc -w 2 127.0.0.1 8080 </dev/null | grep hello"
    world.sh(f"{serve} & for _ in $(seq 50); do {ask} && exit 0; sleep 0.05; done; exit 1")


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_container_has_the_network_of_another(world, runtime):
    """What one of them does is reached at the other's port, and both know the same names."""
    wanted = image_task(), LAN, containers_task(web={**SIDE, "runtime": runtime}, db=SERVER)
    told = world.told(*wanted)
    assert [str(change) for change in world.run(*wanted)] == told
    world.demand_sound(*wanted)
    assert shared(world) == ["net"]
    demand_an_answer(world)
    hosts = [Path(f"/proc/{world.containers()[name].pid}/root/etc/hosts").read_text() for name in ("web", "db")]
    assert hosts[0] == hosts[1]
    assert "192.0.2.9\telse" in hosts[0]
    world.run(*absent(wanted))
    if not runtime:  # runc's directory stays
        world.demand_nothing_left()


def test_its_network_lives_as_long_as_it_does(world):
    """Though db is gone, web holds the namespace: db gets another, and its address and port come along."""
    wanted = image_task(), LAN, containers_task(web=SIDE, db=SERVER)
    world.run(*wanted)
    old = world.containers()
    os.kill(old["db"].pid, signal.SIGKILL)
    wait_until(lambda: not world.containers()["db"].running and not world.pids_of("db"), 5.0)
    assert world.containers()["web"].pid == old["web"].pid
    world.run(image_task(), LAN, containers_task(db=SERVER))
    assert shared(world) == []
    assert world.told(*wanted) == ["rejoin container web (network_mode: of an earlier process -> container:db)"]
    world.run(*wanted)
    world.demand_sound(*wanted)
    assert shared(world) == ["net"]
    demand_an_answer(world)
