# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From any state to any other on one host: check mode says what a run then does, writes nothing, and is then silent."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.kernel.host.world import TURNS, absent, containers_task, image_task

CGROUPS = ("shop", "batch")
SUBNETS = {"lan": ("10.71.0.0/24", "10.72.0.0/28"), "back": ("10.73.0.0/24", "10.74.0.0/29")}
CONTAINERS = ("web", "db", "a-container-with-a-rather-long-name.1")

memory = st.sampled_from([None, "32M", "48M", "unlimited"])
pids = st.sampled_from([None, "40", "60", "unlimited"])
# On v1 no quota may be above a parent's: those of containers are below all of theirs.
cpus = st.sampled_from([None, "0.5", "1.5", "unlimited"])
few_cpus = st.sampled_from([None, "0.2", "0.4", "unlimited"])


def _given(**options):
    """The options that are not None."""
    return {name: value for name, value in options.items() if value is not None}


@st.composite
def cgroup_tasks(draw):
    names = draw(st.sets(st.sampled_from(CGROUPS)))
    limits = {"memory": memory, "pids_limit": pids, "cpus": cpus, "cpu_weight": st.sampled_from([None, 50, 200])}
    return [
        ("cgroup", _given(name=name, **{key: draw(value) for key, value in limits.items()})) for name in sorted(names)
    ]


@st.composite
def network_tasks(draw):
    names = draw(st.sets(st.sampled_from(sorted(SUBNETS))))
    options = {
        "mtu": st.sampled_from([None, 1400]),
        "masquerade": st.booleans(),
        "names": st.sampled_from([None, {"far": "10.99.0.1"}]),
    }
    return [
        (
            "network",
            _given(
                name=name,
                subnet=draw(st.sampled_from(SUBNETS[name])),
                **{key: draw(value) for key, value in options.items()},
            ),
        )
        for name in sorted(names)
    ]


@st.composite
def container(draw, number, cgroups, networks):
    joined = draw(st.lists(st.sampled_from(networks), unique=True)) if networks else []
    ports = [f"80{number}{draw(st.integers(0, 2))}:80"]
    ports += [f"127.0.0.1:81{number}0:53/udp", f"82{number}0-82{number}3:90-93"]
    options = {
        "state": st.sampled_from(["started", "started", "stopped", "present"]),
        "command": st.sampled_from([["sleep", "3600"], ["sh", "-c", "exec sleep 3601"], ["nc", "-l", "-p", "80"]]),
        "env": st.sampled_from([None, {"A": "1"}, {"B": "two words", "A": "2"}]),
        "labels": st.sampled_from([None, {"tier": "front"}]),
        "etc_hosts": st.sampled_from([None, {"else": "192.0.2.9"}]),
        "memory": memory,
        "pids_limit": pids,
        "cpus": few_cpus,
        "cgroup_parent": st.sampled_from([None, *cgroups]),
        "volumes": st.sampled_from([None, ["/usr/share:/data:ro"]]),
        "tmpfs": st.sampled_from([None, ["/scratch"]]),
        "read_only": st.booleans(),
        "cap_add": st.sampled_from([None, ["NET_ADMIN"]]),
        "published_ports": st.lists(st.sampled_from(ports), unique=True) if joined else st.none(),
        "networks": st.just([{"name": name, **draw(st.sampled_from([{}, {"aliases": ["x"]}]))} for name in joined]),
    }
    return _given(**{key: draw(value) for key, value in options.items()})


@st.composite
def states(draw):
    """Tasks that make a state whole: what is not in it is removed."""
    cgroups, networks = draw(cgroup_tasks()), draw(network_tasks())
    names = draw(st.sets(st.sampled_from(CONTAINERS)))
    cgroup_names, network_names = ([params["name"] for _noun, params in tasks] for tasks in (cgroups, networks))
    wanted = {
        name: draw(container(number, cgroup_names, network_names)) if name in names else None
        for number, name in enumerate(CONTAINERS)
    }
    unwanted = [("network", {"name": name}) for name in SUBNETS if name not in network_names]
    unwanted += [("cgroup", {"name": name}) for name in CGROUPS if name not in cgroup_names]
    return [image_task(), *cgroups, *networks, containers_task(**wanted), *absent(unwanted)]


# No deadline: how long a run takes is the machine's affair. No shrinking: the host is in another state by then.
@settings(
    max_examples=4 * TURNS,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(tasks=states())
def test_check_mode_is_exact(lasting_world, tasks):
    world = lasting_world
    for task in tasks:
        before = world.listing()
        said = [change.describe() for change in world.check(task)]
        assert world.listing() == before, "check mode wrote something"
        assert [change.describe() for change in world.run(task)] == said
    world.demand_sound(*tasks)
