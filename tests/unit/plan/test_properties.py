# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for every plan, on random states: what is as wanted is left alone, what is not is told, secrets are not.

Values come from small pools, so that equal and different ones both happen often. What counts as managed is said here
once more, out of the models' own fields: a field that is new and forgotten in a plan fails.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass, replace
from typing import Any, NamedTuple

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ansible_collections.stowage.engine.plugins.module_utils._engine.model.cgroup import Cgroup
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.container import Container, ContainerState
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.engine import Engine
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.image import Image
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.network import Network
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.cgroup import plan_cgroup
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.change import Change
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.container import (
    RejoinContainer,
    StartContainer,
    StopContainer,
    UpdateContainer,
    plan_container,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.engine import plan_engine
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.image import plan_image
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.network import UpdateNetwork, plan_network

# No name, key or other value is among them, so that finding one in a diff means that a variable's value was told.
SECRETS = ("rosebud", "xanadu")
# Where the elements of a tuple have a key, no two have the same one, as the options' parsers see to.
KEYS: dict[str, Callable[[Any], Any]] = {
    "peers": lambda peer: peer.subnet,
    "networks": lambda attachment: attachment.network,
    "env": lambda pair: pair[0],
    "labels": lambda pair: pair[0],
    "names": lambda pair: pair[0],
}


def values_of(hint: Any, name: str = "") -> st.SearchStrategy[Any]:
    """Random values of a type hint; ``name`` is the field that they are for."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if name == "env":
        hint = st.tuples(st.sampled_from(["PATH", "TOKEN", "USER"]), st.sampled_from(SECRETS))
        return st.lists(hint, max_size=3, unique_by=KEYS["env"]).map(tuple)
    if origin in (typing.Union, types.UnionType):
        return st.one_of(*(values_of(part) for part in parts))
    if is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        return st.builds(hint, **{field.name: values_of(hints[field.name], field.name) for field in fields(hint)})
    if origin is tuple and parts[-1] is not Ellipsis:
        return st.tuples(*(values_of(part) for part in parts))
    if origin is tuple:
        return st.lists(values_of(parts[0]), max_size=2, unique_by=KEYS.get(name)).map(tuple)
    pools = {str: ["", "a", "b"], int: [-1, 0, 1, 4096], bool: [False, True], bytes: [b"", b"x"], type(None): [None]}
    return st.sampled_from(pools[hint])


def placed(network: Any) -> Any:
    """A network as a user can want it: up."""
    return replace(network, bridge_up=True, vxlan_up=True)


def wanted_container(container: Container) -> Container:
    return replace(container, networks=tuple(replace(at, connected=True) for at in container.networks))


def unmanaged(container: Container) -> Container:
    """With what is compared in another way taken out."""
    return replace(container, env=(), limits=Container("", "").limits, running=None)


class Noun(NamedTuple):
    """A plan, its states, which desired states can be, and whether one is as wanted, told independently of the plan."""

    plan: Callable[..., Iterable[Change]]
    desired: st.SearchStrategy[Any]
    current: st.SearchStrategy[Any]
    is_as_wanted: Callable[[Any, Any], bool]
    reached: Callable[[Any], Any]


def cgroup_is_as_wanted(desired: Cgroup, current: Cgroup) -> bool:
    pairs = ((getattr(desired.limits, f.name), getattr(current.limits, f.name)) for f in fields(desired.limits))
    return all(want is None or want == found for want, found in pairs)


def container_is_as_wanted(desired: Container, state: ContainerState) -> bool:
    found = state.container
    return (
        unmanaged(desired) == unmanaged(found)
        and dict(desired.env) == dict(found.env)
        and cgroup_is_as_wanted(Cgroup("", desired.limits), Cgroup("", found.limits))
        and desired.running in (None, state.running)
        and not (desired.running and state.running and state.stale)
    )


def image_is_as_wanted(desired: Image, current: Image) -> bool:
    digest, platform = desired.digest in ("", current.digest), "" in (desired.platform, current.platform)
    return digest and not current.missing and not current.damaged and (platform or desired.platform == current.platform)


def network_is_as_wanted(desired: Network, current: Network) -> bool:
    return replace(desired, peers=()) == replace(current, peers=()) and {*desired.peers} == {*current.peers}


def named(strategy: st.SearchStrategy[Any], **same: Any) -> st.SearchStrategy[Any]:
    return strategy.map(lambda value: replace(value, **same))


def state_of(container: Container, pid: int = 1) -> ContainerState:
    return ContainerState(container, pid=0 if container.running is False else pid)


NOUNS = {
    "cgroup": Noun(
        plan_cgroup,
        named(values_of(Cgroup), path="shop"),
        named(values_of(Cgroup), path="shop"),
        cgroup_is_as_wanted,
        lambda desired: desired,
    ),
    "container": Noun(
        plan_container,
        named(values_of(Container), name="web").map(wanted_container),
        st.builds(
            ContainerState,
            named(values_of(Container), name="web"),
            pid=st.sampled_from([0, 7]),
            exit_code=st.just(1),
            stale=st.sampled_from([(), ("pid_mode",)]),
        ),
        container_is_as_wanted,
        state_of,
    ),
    "engine": Noun(
        plan_engine, values_of(Engine), values_of(Engine), lambda one, other: one == other, lambda desired: desired
    ),
    "image": Noun(
        plan_image,
        named(values_of(Image), name="site", missing=(), damaged=()),
        named(values_of(Image), name="site", recipe=None),
        image_is_as_wanted,
        lambda desired: desired,
    ),
    "network": Noun(
        plan_network,
        named(values_of(Network), name="backplane").map(placed),
        named(values_of(Network), name="backplane"),
        network_is_as_wanted,
        lambda desired: desired,
    ),
}


@st.composite
def pairs(draw: Callable[..., Any], noun: Noun) -> tuple[Any, Any]:
    """(desired, current): each may be None, and often they differ in one field alone, or in none."""
    desired = draw(st.one_of(st.none(), noun.desired))
    if desired is None or draw(st.booleans()):
        return desired, draw(st.one_of(st.none(), noun.current))
    reached, other = noun.reached(desired), draw(noun.current)
    return desired, draw(st.sampled_from([reached, *_one_field_from(reached, other)]))


def _one_field_from(value: Any, other: Any) -> list[Any]:
    """``value`` with one field at a time as ``other`` has it; of a container's state, one of the container's."""
    if isinstance(value, ContainerState):
        changed = [
            replace(value, container=container) for container in _one_field_from(value.container, other.container)
        ]
        return [*changed, replace(value, pid=other.pid), replace(value, stale=other.stale)]
    return [replace(value, **{field.name: getattr(other, field.name)}) for field in fields(value)]


@pytest.mark.parametrize("noun", NOUNS.values(), ids=NOUNS)
@given(data=st.data())
def test_nothing_is_done_where_all_is_as_wanted(noun: Noun, data: st.DataObject) -> None:
    desired = data.draw(noun.desired)
    assert list(noun.plan(desired, noun.reached(desired))) == []
    assert list(noun.plan(None, None)) == []


@pytest.mark.parametrize("noun", NOUNS.values(), ids=NOUNS)
@settings(max_examples=200)
@given(data=st.data())
def test_a_plan_is_empty_just_where_nothing_managed_differs(noun: Noun, data: st.DataObject) -> None:
    desired, current = data.draw(pairs(noun))
    both = desired is not None and current is not None
    as_wanted = noun.is_as_wanted(desired, current) if both else desired is current
    assert (list(noun.plan(desired, current)) == []) == as_wanted


# What a plan leaves alone: it names the thing, follows from something else, or is only told of.
UNMANAGED = {
    "cgroup": {"path"},
    "container": {"name"},
    "engine": set[str](),
    "image": {
        "name",
        "layers",
        "missing",
        "damaged",
        "size",
        "created",
        "config",
        "recipe",
        "access",
        "verified",
        "limits",
    },
    "network": {"name"},
}
MANAGED = [
    (noun, field.name)
    for noun, model in {
        "cgroup": Cgroup,
        "container": Container,
        "engine": Engine,
        "image": Image,
        "network": Network,
    }.items()
    for field in fields(model)
    if field.name not in UNMANAGED[noun]
]


@pytest.mark.parametrize(("noun", "field"), MANAGED, ids=[f"{noun}.{field}" for noun, field in MANAGED])
@settings(max_examples=20)
@given(data=st.data())
def test_one_field_that_differs_is_seen(noun: str, field: str, data: st.DataObject) -> None:
    plan, desireds, currents, is_as_wanted, reached = NOUNS[noun]
    desired = data.draw(desireds)
    other = data.draw(currents)
    other = getattr(other, "container", other)
    if field == "running":
        other = replace(other, running=not desired.running)
    if field == "platform":  # one that is not named is no difference
        desired, other = replace(desired, platform="linux/arm64"), replace(other, platform="linux/amd64")
    changed = replace(desired, **{field: getattr(other, field)})
    current = reached(changed)
    assume(not is_as_wanted(desired, current))
    assert list(plan(desired, current)) != []


@pytest.mark.parametrize("noun", NOUNS.values(), ids=NOUNS)
@given(data=st.data())
def test_a_change_is_json_and_tells_a_difference(noun: Noun, data: st.DataObject) -> None:
    for change in noun.plan(*data.draw(pairs(noun))):
        told = change.describe()
        assert json.loads(json.dumps(told)) == told
        assert told["before"] != told["after"]
        assert told["summary"].startswith(f"{change.verb} {change.subject} (")


@given(data=st.data(), restart=st.booleans(), recreate=st.booleans())
def test_the_value_of_a_variable_is_never_told(data: st.DataObject, restart: bool, recreate: bool) -> None:
    desired, current = data.draw(pairs(NOUNS["container"]))
    for change in plan_container(desired, current, restart=restart, recreate=recreate):
        told = json.dumps(change.describe())
        assert not any(secret in told for secret in SECRETS)


@given(data=st.data(), restart=st.booleans(), recreate=st.booleans())
def test_an_order_is_followed_once_and_told(data: st.DataObject, restart: bool, recreate: bool) -> None:
    desired = data.draw(NOUNS["container"].desired)
    state = state_of(desired)
    changes = list(plan_container(desired, state, restart=restart, recreate=recreate))
    kinds = [type(change).__name__ for change in changes]
    assert kinds == (["RecreateContainer"] if recreate else ["RestartContainer"] if restart and state.running else [])
    assert all(change.before != change.after for change in changes)


@given(data=st.data())
def test_what_an_update_of_a_network_names_is_all_that_it_takes(data: st.DataObject) -> None:
    desired, current = data.draw(pairs(NOUNS["network"]).filter(lambda pair: None not in pair))
    for change in plan_network(desired, current):
        if isinstance(change, UpdateNetwork):
            after = {name: getattr(desired, name) for name in change.fields}
            assert list(plan_network(desired, replace(current, **after, peers=desired.peers))) == []


@given(data=st.data())
def test_what_an_update_of_a_container_names_is_all_that_it_takes(data: st.DataObject) -> None:
    desired, current = data.draw(pairs(NOUNS["container"]).filter(lambda pair: None not in pair))
    for change in plan_container(desired, current):
        if isinstance(change, UpdateContainer):
            limits = replace(current.container.limits, **change.limits)
            after = {name: getattr(desired, name) for name in change.fields}
            updated = replace(current.container, **after, limits=limits, networks=desired.networks)
            left = list(plan_container(desired, replace(current, container=updated)))
            assert all(isinstance(change, (StartContainer, StopContainer, RejoinContainer)) for change in left)
