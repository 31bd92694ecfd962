# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do so that a host runs a container as it is wanted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from ..model.container import Attachment, Container, ContainerState
from .cgroup import limits_to_set
from .change import Change, Fields, difference, picked, plain

# The process was started with these; another value needs another process.
FIXED_FIELDS = (
    "image_digest",
    "args",
    "env",
    "working_dir",
    "user",
    "groups",
    "hostname",
    "volumes",
    "tmpfs",
    "devices",
    "device_cgroup_rules",
    "shm_size",
    "ulimits",
    "sysctls",
    "oom_score_adj",
    "init",
    "cgroup_parent",
    "security",
    "namespaces",
    "runtime",
)
# These change while the process runs.
LIVE_FIELDS = ("image", "ports", "labels", "extra_hosts", "names_told", "stop_signal", "stop_timeout")


@dataclass(frozen=True)
class CreateContainer(Change):
    """Makes a container, and starts it unless ``desired.running`` is False."""

    desired: Container

    @property
    def subject(self) -> str:
        return f"container {self.desired.name}"

    @property
    def after(self) -> Fields:
        return {**picked(self.desired, ("image", "args")), "running": self.desired.running is not False}


@dataclass(frozen=True)
class _FromState(Change):
    current: ContainerState
    desired: Container

    @property
    def subject(self) -> str:
        return f"container {self.desired.name}"


@dataclass(frozen=True)
class RecreateContainer(_FromState):
    """Stops and removes a container and makes it anew, because of ``reason``: what cannot change in place."""

    reason: tuple[str, ...]

    @property
    def before(self) -> Fields:
        return _told_fixed(self.current.container, self.desired, self.reason, env="a value")

    @property
    def after(self) -> Fields:
        if not self.reason:
            return {"recreate": "as ordered"}
        return _told_fixed(self.desired, self.current.container, self.reason, env="another value")


class StartContainer(_FromState):
    """Starts a container that does not run, with its networks, ports and limits as wanted."""

    @property
    def before(self) -> Fields:
        code = self.current.exit_code
        return {"running": False, **({} if code is None else {"exit_code": code})}

    @property
    def after(self) -> Fields:
        return {"running": True}


class StopContainer(_FromState):
    """Asks the container's process to end, and ends it after ``stop_timeout`` seconds."""

    @property
    def before(self) -> Fields:
        return {"running": True}

    @property
    def after(self) -> Fields:
        return {"running": False}


class RestartContainer(_FromState):
    """Stops and starts a container because the user asked for it."""

    @property
    def after(self) -> Fields:
        return {"restart": "as ordered"}


@dataclass(frozen=True)
class RejoinContainer(RestartContainer):
    """Stops and starts a container that is in namespaces which the container it joined has no longer, or soon."""

    options: tuple[str, ...]

    @property
    def before(self) -> Fields:
        return dict.fromkeys(self.options, "of an earlier process")

    @property
    def after(self) -> Fields:
        return picked(self.desired.namespaces, self.options)


class UpdateContainer(_FromState):
    """Changes a container in place; its process goes on."""

    @property
    def fields(self) -> tuple[str, ...]:
        return difference(self.current.container, self.desired, LIVE_FIELDS)

    @property
    def limits(self) -> Fields:
        """The limits to write, by field name."""
        return limits_to_set(self.desired.limits, self.current.container.limits)

    @property
    def before(self) -> Fields:
        found = self.current.container
        limits = {name: getattr(found.limits, name) for name in self.limits}
        return {**picked(found, self.fields), **limits, **_told_connections(found.networks, self.desired.networks)}

    @property
    def after(self) -> Fields:
        networks = _told_connections(self.desired.networks, self.current.container.networks)
        return {**picked(self.desired, self.fields), **self.limits, **networks}


@dataclass(frozen=True)
class RemoveContainer(Change):
    """Stops a container and removes it with its writable layer."""

    current: ContainerState

    @property
    def subject(self) -> str:
        return f"container {self.current.container.name}"

    @property
    def before(self) -> Fields:
        return {"image": self.current.container.image, "running": self.current.running}


def plan_container(
    desired: Container | None, current: ContainerState | None, *, restart: bool = False, recreate: bool = False
) -> Iterator[Change]:
    """Yield the changes; ``desired`` None asks for the container's absence.

    ``restart`` and ``recreate`` are orders: they yield a change also where nothing differs.
    """
    if desired is None:
        if current is not None:
            yield RemoveContainer(current)
        return
    if current is None:
        yield CreateContainer(desired)
        return
    reason = _fixed_reason(current.container, desired)
    if reason or recreate:
        yield RecreateContainer(current, desired, reason)
        return
    update = UpdateContainer(current, desired)
    if update.before != update.after:
        yield update
    if current.running and desired.running is False:
        yield StopContainer(current, desired)
    elif not current.running and desired.running:
        yield StartContainer(current, desired)
    elif current.running and current.stale and desired.running:
        yield RejoinContainer(current, desired, current.stale)
    elif restart and current.running:
        yield RestartContainer(current, desired)


def _fixed_reason(current: Container, desired: Container) -> tuple[str, ...]:
    """The fields that take another process. The order of variables, and whether a network is connected, do not."""
    return difference(_comparable(current), _comparable(desired), (*FIXED_FIELDS, "networks"))


def _comparable(container: Container) -> Container:
    networks = tuple(replace(network, connected=True) for network in container.networks)
    return replace(container, env=tuple(sorted(container.env)), networks=networks)


def _told_fixed(container: Container, other: Container, reason: tuple[str, ...], *, env: str) -> Fields:
    """What ``container`` has of the fields in ``reason``. Variables hold secrets: told by name, never by value."""
    told = {name: _differing(getattr(container, name), getattr(other, name)) for name in reason if name != "env"}
    theirs = dict(other.env)
    for name, value in container.env if "env" in reason else ():
        if theirs.get(name) != value:
            told[f"env {name}"] = env if name in theirs else "a value"
    return told


def _differing(value: Any, other: Any) -> Any:
    """A field as a plain value; of one that has fields of its own, those that differ."""
    if is_dataclass(value):
        return picked(value, difference(value, other, tuple(field.name for field in fields(value))))
    return plain(value)


def _told_connections(networks: tuple[Attachment, ...], others: tuple[Attachment, ...]) -> Fields:
    told = (network for network, other in zip(networks, others) if network != other)
    return {f"network {network.network}": plain(network) for network in told}
