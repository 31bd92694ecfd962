# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The noun ``container``: one, or a list of the same."""

from __future__ import annotations

import ipaddress
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

from ..._engine.errors import InvalidOption
from ..._engine.host import Host
from ..._engine.model.addressing import parse_address, parse_host_ip
from ..._engine.model.cgroup import parse_cgroup_path
from ..._engine.model.container import Attachment, Container, ContainerState, Port, Volume, WantedContainer
from ..._engine.model.names import parse_name
from ..._engine.model.reference import normalise
from ..._engine.plan.change import Change, plain
from ..._engine.plan.joining import plan_containers
from ..run import INFO_SPEC, Noun, Wanted, run, run_info
from .isolation import ISOLATION_OPTIONS, check_isolation, parse_isolation
from .values import (
    LIMIT_OPTIONS,
    parse_command,
    parse_env,
    parse_host_name,
    parse_inside,
    parse_limits,
    parse_pairs,
    parse_signal,
)

ARGUMENT_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["started", "present", "stopped", "absent"], "default": "started"},
    "image": {"type": "str"},
    "command": {"type": "raw"},
    "entrypoint": {"type": "raw"},
    "env": {"type": "dict"},
    "working_dir": {"type": "str"},
    "user": {"type": "str"},
    "groups": {"type": "list", "elements": "str"},
    "hostname": {"type": "str"},
    "networks": {
        "type": "list",
        "elements": "dict",
        "options": {
            "name": {"type": "str", "required": True},
            "ipv4_address": {"type": "str"},
            "aliases": {"type": "list", "elements": "str"},
        },
    },
    "published_ports": {"type": "list", "elements": "str"},
    "volumes": {"type": "list", "elements": "str"},
    "tmpfs": {"type": "list", "elements": "str"},
    "cgroup_parent": {"type": "str"},
    "labels": {"type": "dict"},
    "etc_hosts": {"type": "dict"},
    "runtime": {"type": "str"},
    "stop_signal": {"type": "str"},
    "stop_timeout": {"type": "int", "default": 10},
    "restart": {"type": "bool", "default": False},
    "recreate": {"type": "bool", "default": False},
    **ISOLATION_OPTIONS,
    **LIMIT_OPTIONS,
}
REQUIRED_IF = [("state", state, ["image"]) for state in ("started", "present", "stopped")]
LIST_SPEC: dict[str, Any] = {
    "containers": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": ARGUMENT_SPEC,
        "required_if": REQUIRED_IF,
    },
}


def container_wanted(params: Mapping[str, Any]) -> Wanted:
    """One container's parameters as {name: WantedContainer, or None where it is to be absent}."""
    name = parse_name("name", params["name"])
    if params["state"] == "absent":
        return {name: None}
    if params["stop_timeout"] < 0:
        raise InvalidOption("stop_timeout", params["stop_timeout"], "seconds, from 0")
    if params["published_ports"] and not params["networks"]:
        expected = "nothing, unless the container joins one of the networks, on whose address a port leads to it"
        raise InvalidOption("published_ports", params["published_ports"], expected)
    container = Container(
        name=name,
        image=normalise("image", params["image"]),
        hostname=parse_host_name("hostname", params["hostname"], longest=64) if params["hostname"] else "",
        networks=_parse_networks(params["networks"] or []),
        ports=tuple(port for text in params["published_ports"] or [] for port in parse_ports(text)),
        volumes=tuple(_parse_volume(text) for text in params["volumes"] or []),
        tmpfs=tuple(parse_inside("tmpfs", path) for path in params["tmpfs"] or []),
        limits=parse_limits(params),
        cgroup_parent=parse_cgroup_path("cgroup_parent", params["cgroup_parent"]) if params["cgroup_parent"] else "",
        labels=parse_pairs("labels", params["labels"]),
        extra_hosts=tuple(_parse_host(*pair) for pair in sorted((params["etc_hosts"] or {}).items())),
        stop_timeout=params["stop_timeout"],
        runtime=params["runtime"] or "",
        running={"started": True, "stopped": False, "present": None}[params["state"]],
        groups=tuple(_parse_group(group) for group in params["groups"] or ()),
        **parse_isolation(params),
    )
    check_isolation(container)
    return {
        name: WantedContainer(
            container=container,
            entrypoint=parse_command("entrypoint", params["entrypoint"]),
            command=parse_command("command", params["command"]),
            env=parse_env("env", params["env"]),
            working_dir=parse_inside("working_dir", params["working_dir"]) if params["working_dir"] else None,
            user=params["user"],
            stop_signal=parse_signal("stop_signal", params["stop_signal"]),
            restart=params["restart"],
            recreate=params["recreate"],
        )
    }


def containers_wanted(params: Mapping[str, Any]) -> Wanted:
    """The parameters of ``containers``: every entry as container_wanted() takes it; each name once."""
    wanted: dict[str, Any] = {}
    for number, entry in enumerate(params["containers"]):
        try:
            one = container_wanted(entry)
        except InvalidOption as error:
            raise type(error)(f"containers[{number}]: {error.option}", error.value, error.expected) from error
        if not wanted.keys().isdisjoint(one):
            raise InvalidOption(f"containers[{number}]: name", entry["name"], "a name that no other entry has")
        wanted.update(one)
    return wanted


def parse_ports(text: str) -> tuple[Port, ...]:
    """``[host_ip:]host_port:container_port[/protocol]``; both may be ranges of equal length (docker's syntax)."""
    expected = "[host_ip:]host_port:container_port[/tcp|/udp], such as 8080:80 or 127.0.0.1:5300:53/udp"
    numbers, slash, protocol = text.partition("/")
    parts = numbers.split(":")
    if len(parts) not in (2, 3) or protocol not in (("tcp", "udp") if slash else ("",)):
        raise InvalidOption("published_ports", text, expected)
    host_ip = parse_host_ip("published_ports", parts[0]) if len(parts) == 3 else "0.0.0.0"
    host, inside = (_parse_range(part) for part in parts[-2:])
    if not host or len(host) != len(inside):
        raise InvalidOption("published_ports", text, expected)
    return tuple(Port(one, other, protocol or "tcp", host_ip) for one, other in zip(host, inside))


def _parse_range(text: str) -> range:
    first, _dash, last = text.partition("-")
    if not text.isascii() or not first.isdecimal() or not (last or first).isdecimal():
        return range(0)
    numbers = range(int(first), int(last or first) + 1)
    return numbers if numbers and numbers[0] >= 1 and numbers[-1] <= 65_535 else range(0)


def _parse_host(name: str, address: Any) -> tuple[str, str]:
    parse_host_name("etc_hosts", name)
    try:
        return name, str(ipaddress.ip_address(address))
    except ValueError as error:
        raise InvalidOption(f"etc_hosts: {name}", address, "an IPv4 or IPv6 address") from error


def _parse_networks(given: Sequence[Mapping[str, Any]]) -> tuple[Attachment, ...]:
    attachments: list[Attachment] = []
    for number, network in enumerate(given):
        name = parse_name(f"networks[{number}]: name", network["name"])
        if any(other.network == name for other in attachments):
            raise InvalidOption(f"networks[{number}]: name", name, "each network once")
        address = network.get("ipv4_address")
        attachments.append(
            Attachment(
                network=name,
                address=parse_address(f"networks[{number}]: ipv4_address", address) if address else "",
                aliases=tuple(parse_name(f"networks[{number}]: aliases", a) for a in network.get("aliases") or ()),
            )
        )
    return tuple(attachments)


def _parse_volume(text: str) -> Volume:
    parts = text.split(":")
    # normpath() would take '..' for the parent of a symbolic link, which it is not.
    absolute = len(parts) in (2, 3) and all(part.startswith("/") and ".." not in part.split("/") for part in parts[:2])
    target = posixpath.normpath("/" + parts[1].lstrip("/")) if absolute else "/"
    options = parts[2].split(",") if len(parts) > 2 else []
    sound = (
        {*options} <= {"ro", "rw", "noidmap"} and len({*options} - {"noidmap"}) < 2 and len({*options}) == len(options)
    )
    if target == "/" or not sound or "\0" in text:
        expected = "/path/on/host:/path/in/container, both absolute and without '..', with :ro at the end if read-only"
        raise InvalidOption("volumes", text, expected)
    source = posixpath.normpath("/" + parts[0].lstrip("/"))
    return Volume(source, target, read_only="ro" in options, idmap="noidmap" not in options)


def _parse_group(text: str) -> str:
    """A number, or a name of the image's /etc/group."""
    if not text or ":" in text or not text.isprintable() or (text.isdecimal() and int(text) > 0xFFFFFFFE):
        raise InvalidOption("groups", text, "a group's name in the image, or its number")
    return text


class ContainerNoun(Noun):
    name = "container"

    def __init__(self) -> None:
        self.orders: dict[str, WantedContainer] = {}

    def observe(self, host: Host) -> Mapping[str, ContainerState]:
        return host.observe_containers()

    def resolve(self, host: Host, wanted: Wanted) -> Wanted:
        self.orders = {name: want for name, want in wanted.items() if want}
        return host.resolve_containers(wanted)

    def plan(self, desired: Wanted, current: Mapping[str, Any]) -> Iterable[Change]:
        orders = {name: {"restart": one.restart, "recreate": one.recreate} for name, one in self.orders.items()}
        yield from plan_containers(desired, current, orders)

    def plan_again(self, desired: Wanted, current: Mapping[str, Any]) -> Iterable[Change]:
        yield from plan_containers(desired, current)

    def tell(self, thing: ContainerState) -> dict[str, Any]:
        """Of the environment the names alone: values are often secret, and results end up in logs."""
        told = plain(replace(thing.container, running=thing.running))
        status = {"pid": thing.pid, "exit_code": thing.exit_code, "started_at": thing.started_at}
        maps = {name: dict(getattr(thing.container, name)) for name in ("labels", "extra_hosts", "sysctls")}
        env = [name for name, _value in thing.container.env]
        return {**told, **maps, **status, "env": env, "finished_at": thing.finished_at}


# The modules --------------------------------------------------------------------------------------


def run_container() -> NoReturn:
    module = AnsibleModule(ARGUMENT_SPEC, required_if=REQUIRED_IF, supports_check_mode=True)
    run(module, ContainerNoun(), container_wanted)


def run_containers() -> NoReturn:
    run(AnsibleModule(LIST_SPEC, supports_check_mode=True), ContainerNoun(), containers_wanted, many=True)


def run_container_info() -> NoReturn:
    run_info(AnsibleModule(INFO_SPEC, supports_check_mode=True), ContainerNoun())
