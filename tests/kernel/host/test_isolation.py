# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers with ids of their own, and with options of their own, through the whole cycle of the modules."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.kernel.host.world import IMAGE, absent, containers_task, image_task, wait_until
from tests.kernel.network.conftest import Failed

LAN = ("network", {"name": "lan", "subnet": "10.77.0.0/24"})
OWN_IDS = {
    "userns": "auto",
    "networks": [{"name": "lan"}],
    "published_ports": ["8080:80"],
    "memory": "32M",
    "etc_hosts": {"else": "192.0.2.9"},
}


@pytest.fixture
def open_world(world):
    """A host whose directories are passable for others, as /run/stowage is."""
    os.chmod(world.directory, 0o755)
    return world


def tasks(**web):
    db = {"userns": "auto", "networks": [{"name": "lan"}]}
    return image_task(), LAN, containers_task(web={**OWN_IDS, **web}, db=db)


def base_of(world, name):
    pid = world.containers()[name].pid
    return int(Path(f"/proc/{pid}/uid_map").read_text().split()[1])


def test_a_container_with_ids_of_its_own_lives_as_others_do(open_world):
    world = open_world
    volume = world.directory / "data"
    volume.mkdir()
    wanted = tasks(volumes=[f"{volume}:/data"])
    told = world.told(*wanted)
    assert [str(change) for change in world.run(*wanted)] == told
    world.demand_sound(*wanted)
    states = world.containers()
    bases = {name: base_of(world, name) for name in states}
    assert bases["web"] != bases["db"]
    assert all(base >= 0x70000000 for base in bases.values())
    assert os.stat(f"/proc/{states['web'].pid}").st_uid == bases["web"]
    inside = Path(f"/proc/{states['web'].pid}/root/etc/hosts").read_text()
    assert "192.0.2.9\telse" in inside
    assert "\tdb\n" in inside
    demand_connected(world)
    # What is changed by hand is put right while it goes on.
    world.sh(f"nsenter -t {states['web'].pid} -n ip link del eth0")
    assert world.told(*wanted) == ["update container web (network lan)"]
    world.run(*wanted)
    world.demand_sound(*wanted)
    assert world.containers()["web"].pid == states["web"].pid
    demand_connected(world)
    # One that ended is started again, with the same ids, and what it wrote is still its own.
    os.kill(states["web"].pid, signal.SIGKILL)
    wait_until(lambda: not world.containers()["web"].running and not world.pids_of("web"), 5.0)
    world.run(*wanted)
    world.demand_sound(*wanted)
    assert base_of(world, "web") == bases["web"]
    volume.rmdir()
    world.run(*absent(wanted))
    world.demand_nothing_left()


def demand_connected(world):
    """The container answers on its network, and on the host's published port."""
    pid = world.containers()["web"].pid
    serve = f"timeout 5 nsenter -t {pid} -n busybox nc -l -p 80 -e echo hello"
    ask = "busybox nc -w 2 127.0.0.1 8080 </dev/null | grep hello"
    world.sh(f"{serve} & for _ in $(seq 50); do {ask} && exit 0; sleep 0.05; done; exit 1")


def test_a_change_of_ids_makes_the_container_anew(open_world):
    world = open_world
    world.run(*tasks())
    first = base_of(world, "web")
    given = tasks(userns="map", uidmap=["0:300000:65536"])
    assert world.told(*given) == ["recreate container web (namespaces)"]
    world.run(*given)
    world.demand_sound(*given)
    assert base_of(world, "web") == 300000
    world.run(*tasks())
    assert base_of(world, "web") == first
    world.demand_sound(*tasks())


def test_many_get_ids_of_their_own_at_once(open_world):
    world = open_world
    names = [f"c{number}" for number in range(8)]
    wanted = image_task(), containers_task(**{name: {"userns": "auto"} for name in names})
    world.run(*wanted)
    world.demand_sound(*wanted)
    assert len({base_of(world, name) for name in names}) == 8


def test_options_are_in_the_plan_and_nothing_of_them_is_left_to_do(world):
    profile = world.directory / "profile.json"
    profile.write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    options = {
        "security_opts": [f"seccomp={profile}", "no-new-privileges:false", "mask=/proc/version", "unmask=/proc/sys"],
        "devices": ["/dev/full:/dev/none:r"],
        "device_cgroup_rules": ["c 42:* rwm"],
        "shm_size": "1M",
        "ulimits": ["nofile:100:200"],
        "sysctls": {"net.core.somaxconn": 77},
        "groups": ["1234"],
        "oom_score_adj": 100,
        "uts": "host",
        "ipc_mode": "host",
    }
    del options["shm_size"]
    wanted = image_task(), containers_task(web=options)
    world.run(image_task(), containers_task(web={}))
    told = world.told(*wanted)
    assert len(told) == 1
    assert told[0].startswith("recreate container web (")
    for name in ("groups", "devices", "device_cgroup_rules", "ulimits", "sysctls", "security", "namespaces"):
        assert name in told[0]
    assert [str(change) for change in world.run(*wanted)] == told
    world.demand_sound(*wanted)
    profile.write_text('{"defaultAction": "SCMP_ACT_LOG"}')
    assert world.told(*wanted) == ["recreate container web (security)"]
    world.run(*wanted)
    world.demand_sound(*wanted)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"devices": ["/dev/nonsense"]}, "device '/dev/nonsense' is not on this host; container web asks for it"),
        ({"volumes": ["/nonsense:/x"]}, "file or directory '/nonsense' is not on this host; container web asks for it"),
        ({"runtime": "nonsense"}, "runtime 'nonsense' is not on this host; container web asks for it"),
        ({"devices": ["/etc/passwd"]}, "devices: '/etc/passwd' is not valid; expected a device node of this host"),
        ({"security_opts": ["seccomp=/nonsense"]}, "seccomp profile '/nonsense' is not on this host"),
        ({"security_opts": ["seccomp=/etc/passwd"]}, "a profile in JSON"),
    ],
)
def test_what_this_host_lacks_is_refused_before_anything_is_changed(world, options, says):
    world.run(image_task(), containers_task(web={}))
    pid = world.containers()["web"].pid
    with pytest.raises(Failed) as caught:
        world.run(containers_task(other={}, web=options))
    assert says in str(caught.value)
    assert {name: state.pid for name, state in world.containers().items()} == {"web": pid}


def test_check_mode_refuses_what_no_earlier_task_makes_good(world):
    """What is missing it takes for granted; what is there and is something else, it does not."""
    world.run(image_task())
    lacking = {"devices": ["/dev/nonsense"], "volumes": ["/nonsense:/x"], "runtime": "nonsense"}
    assert [line.split(" (")[0] for line in world.told(containers_task(web=lacking))] == ["create container web"]
    with pytest.raises(Failed, match="devices: '/etc/passwd' is not valid; expected a device node of this host"):
        world.check(containers_task(web={"devices": ["/etc/passwd"]}))


def test_what_a_running_container_was_made_of_may_be_gone(world):
    """As long as nothing has to be started, nothing of it is needed."""
    volume = world.directory / "data"
    volume.mkdir()
    wanted = image_task(), containers_task(web={"volumes": [f"{volume}:/data"]})
    world.run(*wanted)
    volume.rmdir()
    world.demand_sound(*wanted)


def test_a_place_that_is_closed_to_others_is_told(world):
    with pytest.raises(Failed, match=r"userns: /dev/shm/stowage-test-\w+ is closed to other users"):
        world.run(image_task(), containers_task(web={"userns": "auto"}))
    world.run(("image", {"name": IMAGE, "state": "absent"}))
    world.demand_nothing_left()
