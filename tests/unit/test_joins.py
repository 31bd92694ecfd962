# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers that join others: an order to start them in, circles found, and what cannot be joined refused by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import Conflict, NotFound
from ansible_collections.stowage.engine.plugins.module_utils._engine.joins import check_joins, refuse_joined
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.container import (
    JOIN,
    Container,
    ContainerState,
    Namespaces,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.joining import find_circle, in_waves
from ansible_collections.stowage.engine.plugins.module_utils._engine.resolve import refuse

IDS = ((0, 100000, 65536),)


def container(name="web", pid="", ipc="", running=True, **namespaces):
    modes = {"pid_mode": JOIN + pid if pid else "private", "ipc_mode": JOIN + ipc if ipc else "private"}
    return Container(name, "i", running=running, namespaces=Namespaces(**{**modes, **namespaces}))


def state(one, pid=7):
    return ContainerState(one, pid=pid)


def named(*containers):
    return {one.name: one for one in containers}


def check(*wanted, there=(), absent=(), told=refuse):
    check_joins({**named(*wanted), **dict.fromkeys(absent)}, {one.container.name: one for one in there}, told)


WEB = container(pid="db")
DB = container("db")


@pytest.mark.parametrize(
    "fine",
    [
        {"wanted": [WEB, DB]},
        {"wanted": [WEB], "there": [state(DB)]},
        {"wanted": [WEB, container("db", running=None)]},
        {"wanted": [WEB, container("db", running=None)], "there": [state(DB)]},
        {"wanted": [container(pid="db", running=False)]},
        {"wanted": [container(pid="db", running=None)], "there": [state(WEB, 0)]},
        {"wanted": [container(running=False, pid="db")], "absent": ["db"]},
        {"wanted": [container(pid="db"), container("db", userns="map", uid_map=IDS, gid_map=IDS)]},
    ],
)
def test_what_can_be_joined(fine):
    check(*fine.pop("wanted"), **fine)


@pytest.mark.parametrize(
    ("wrong", "kind", "says"),
    [
        (
            {"wanted": [WEB]},
            NotFound,
            "container 'db' is not on this host; container web joins its namespace (pid_mode)",
        ),
        ({"wanted": [container(pid="db", running=None)]}, NotFound, "make it first, or in the same task"),
        ({"wanted": [WEB], "there": [state(DB, 0)]}, NotFound, "running container 'db' is not on this host"),
        ({"wanted": [WEB, container("db", running=None)], "there": [state(DB, 0)]}, NotFound, "start it first"),
        ({"wanted": [WEB, container("db", running=False)]}, Conflict, "container db cannot be stopped: container web"),
        ({"wanted": [WEB], "there": [state(DB)], "absent": ["db"]}, Conflict, "container db cannot be absent"),
        ({"wanted": [container(ipc="db"), container("db", userns="auto")]}, Conflict, "db has ids of its own (userns)"),
        (
            {"wanted": [container(ipc="db")], "there": [state(container("db", userns="auto"))]},
            Conflict,
            "container web, ipc_mode: container db has ids of its own",
        ),
        ({"wanted": [container("a", pid="a")]}, Conflict, "in a circle: a -> a;"),
        (
            {"wanted": [container("c", network_mode="container:b"), container("b", network_mode="container:a")]},
            Conflict,
            "container c, network_mode: container b has the network of a; name that one",
        ),
        ({"wanted": [WEB, container("db", ipc="web")]}, Conflict, "in a circle: web -> db -> web;"),
        ({"wanted": [container("db", ipc="web")], "there": [state(WEB), state(DB)]}, Conflict, "in a circle: "),
    ],
)
def test_what_cannot(wrong, kind, says):
    with pytest.raises(kind) as caught:
        check(*wrong.pop("wanted"), **wrong)
    assert says in str(caught.value)


def test_what_an_earlier_task_may_have_made_or_started_is_taken_for_granted():
    told = []
    check(WEB, told=told.append)
    check(WEB, there=[state(DB, 0)], told=told.append)
    assert [(one.kind, one.name) for one in told] == [("container", "db"), ("running container", "db")]


def test_what_others_run_in_does_not_end_without_them():
    states = {"web": state(WEB), "db": state(DB)}
    with pytest.raises(Conflict, match="container db cannot end: container web runs in its namespace"):
        refuse_joined(["db"], {"db"}, states)
    refuse_joined(["db"], {"db", "web"}, states)
    refuse_joined(["db"], {"db"}, {**states, "web": state(WEB, 0)})
    refuse_joined(["web"], {"web"}, states)


NAMES = "abcde"
graphs = st.fixed_dictionaries(
    {name: st.builds(container, st.just(name), *[st.sampled_from(["", *NAMES])] * 2) for name in NAMES}
)


@given(graphs)
def test_each_starts_after_what_it_joins_or_there_is_a_circle(containers):
    circle = find_circle(containers)
    placed = [name for wave in in_waves(containers) for name in wave]
    assert sorted(placed) == sorted(containers)
    if circle:
        assert circle[0] == circle[-1]
        assert all(other in containers[one].namespaces.joined.values() for one, other in zip(circle, circle[1:]))
        return
    seen = set()
    for wave in in_waves(containers):
        assert all(seen.issuperset(containers[name].namespaces.joined.values()) for name in wave)
        seen |= {*wave}
