# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `stowage`: see what a host has, look into its containers, enter them."""

from __future__ import annotations

import argparse
import json
import os
import sys

from ..errors import NotFound
from ..host import Host
from ..model.names import parse_name
from ..paths import Paths
from ..plan.change import plain
from ..plan.container import RemoveContainer, StartContainer, StopContainer
from .images import add_image_commands
from .tables import age, size, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..model.container import ContainerState
    from ..plan.change import Change


def main(words: Sequence[str]) -> int:
    """Run one command of `stowage`; returns the exit status."""
    arguments = _parser().parse_args(words)
    paths = Paths.from_environment()
    # The very engine that runs this command starts what it is asked to start.
    app = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    app = os.path.join(app, "__main__.py") if os.path.isdir(app) else app
    host = Host(paths, engine=[sys.executable, "-I", "-S", "-E", app])
    act: Callable[[Host, argparse.Namespace], int] = arguments.act
    return act(host, arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stowage", description="Containers, images and networks of this host.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, act: Callable[[Host, argparse.Namespace], int], told: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=told, description=told[0].upper() + told[1:] + ".")
        sub.set_defaults(act=act)
        return sub

    listing = command("ps", _ps, "list the containers")
    listing.add_argument("--json", action="store_true", help="as JSON, with everything that is known")
    logs = command("logs", _logs, "show what a container wrote to stdout and stderr")
    logs.add_argument("name")
    logs.add_argument("-f", "--follow", action="store_true", help="go on until the container ends")
    logs.add_argument("-n", "--tail", type=int, metavar="LINES", help="only the last so many lines")
    logs.add_argument("-t", "--timestamps", action="store_true", help="with the time of each line")
    enter = command("exec", _exec, "run a program in a running container")
    enter.add_argument("-t", "--tty", action="store_true", help="with a terminal")
    enter.add_argument("-u", "--user", help="as this user[:group]")
    enter.add_argument("-w", "--workdir", help="in this directory")
    enter.add_argument("-e", "--env", action="append", default=[], metavar="NAME=VALUE")
    enter.add_argument("name")
    enter.add_argument("args", nargs=argparse.REMAINDER, metavar="COMMAND", help="the program and its arguments")
    inspect = command(
        "inspect", _inspect, "show a container as it was asked for, and as the kernel has it now, in JSON"
    )
    inspect.add_argument("name")
    inspect.add_argument("-r", "--readable", action="store_true", help="in words, and without what is as usual")
    inspect.add_argument("--show-env", action="store_true", help="with the values of environment variables")
    for name, act, told in (
        ("start", _start, "start containers that do not run"),
        ("stop", _stop, "stop running containers"),
        ("rm", _remove, "stop and remove containers with their writable layers"),
    ):
        command(name, act, told).add_argument("names", nargs="+", metavar="NAME")
    add_image_commands(command)
    command("networks", _networks, "list the networks")
    command("cgroups", _cgroups, "list the cgroups and their limits")
    return parser


def _ps(host: Host, arguments: argparse.Namespace) -> int:
    states = [state for _name, state in sorted(host.observe_containers().items())]
    if arguments.json:
        return _write_json([_told(state) for state in states])
    rows, colours = [], []
    for state in states:
        container = state.container
        image = container.image.replace("docker.io/library/", "").replace("docker.io/", "")
        networks = ", ".join(f"{at.network} {at.address}" for at in container.networks) or "-"
        ports = ", ".join(f"{p.host_ip}:{p.host_port}->{p.container_port}/{p.protocol}" for p in container.ports) or "-"
        memory = size(container.limits.memory if container.limits.memory is not None else -1)
        status, colour = _status(state)
        rows.append([container.name, status, image, networks, ports, memory, str(state.pid or "-")])
        colours.append(colour)
    sys.stdout.write(table(["NAME", "STATUS", "IMAGE", "NETWORKS", "PORTS", "MEMORY LIMIT", "PID"], rows, colours))
    return 0


def _status(state: ContainerState) -> tuple[str, str]:
    if state.running:
        return f"running for {age(state.started_at) or 'a moment'}", "green"
    if state.exit_code is None:
        return "not started", "dim"
    ago = f", {age(state.finished_at)} ago" if state.finished_at else ""
    return f"ended ({state.exit_code}){ago}", "dim" if state.exit_code == 0 else "red"


def _logs(host: Host, arguments: argparse.Namespace) -> int:
    _state(host, arguments.name)
    for line in host.read_logs(arguments.name, tail=arguments.tail, follow=arguments.follow):
        stream = sys.stderr if line.stream == "stderr" else sys.stdout
        stream.write(f"{line.time} {line.text}\n" if arguments.timestamps else f"{line.text}\n")
        stream.flush()
    return 0


def _exec(host: Host, arguments: argparse.Namespace) -> int:
    args = arguments.args[1:] if arguments.args[:1] == ["--"] else arguments.args
    if not args:
        sys.stderr.write("stowage exec: which program? Try: stowage exec NAME sh\n")
        return 2
    host.seal_exec(_state(host, arguments.name).container)
    env = dict(pair.partition("=")[::2] for pair in arguments.env)
    user, cwd = arguments.user or "", arguments.workdir or ""
    return host.exec_process(arguments.name, args, env=env, cwd=cwd, user=user, tty=arguments.tty)


def _inspect(host: Host, arguments: argparse.Namespace) -> int:
    from .inspect import hide_values, readable  # one command's

    _state(host, arguments.name)
    told = host.inspect_container(arguments.name)
    if not arguments.show_env:
        told["definition"]["env"] = hide_values(told["definition"]["env"])
    if not arguments.readable:
        return _write_json(told)
    sys.stdout.write(readable(told))
    return 0


def _start(host: Host, arguments: argparse.Namespace) -> int:
    return _apply(
        host, arguments.names, lambda state: None if state.running else StartContainer(state, state.container)
    )


def _stop(host: Host, arguments: argparse.Namespace) -> int:
    return _apply(host, arguments.names, lambda state: StopContainer(state, state.container) if state.running else None)


def _remove(host: Host, arguments: argparse.Namespace) -> int:
    return _apply(host, arguments.names, RemoveContainer)


def _apply(host: Host, names: Sequence[str], plan: Callable[[ContainerState], Change | None]) -> int:
    with host.locked():
        changes = [change for change in (plan(_state(host, name)) for name in names) if change]
        host.apply(changes, progress=_tell)
    return 0


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")


def _networks(host: Host, arguments: argparse.Namespace) -> int:
    rows = [
        [name, network.driver, network.subnet, network.gateway, str(network.mtu), str(len(network.peers))]
        for name, network in sorted(host.observe_networks().items())
    ]
    sys.stdout.write(table(["NAME", "DRIVER", "SUBNET", "GATEWAY", "MTU", "PEERS"], rows))
    return 0


def _cgroups(host: Host, arguments: argparse.Namespace) -> int:
    rows = []
    for path, cgroup in sorted(host.observe_cgroups().items()):
        limits = cgroup.limits
        cpus = f"{limits.cpu_quota / 100_000:g}" if limits.cpu_quota and limits.cpu_quota > 0 else "-"
        pids = str(limits.pids) if limits.pids and limits.pids > 0 else "-"
        rows.append([path, size(limits.memory if limits.memory is not None else -1), cpus, pids])
    sys.stdout.write(table(["NAME", "MEMORY", "CPUS", "PIDS"], rows))
    return 0


def _state(host: Host, name: str) -> ContainerState:
    state = host.observe_containers().get(parse_name("NAME", name))
    if state is None:
        raise NotFound("container", name, "see: stowage ps")
    return state


def _told(state: ContainerState) -> dict[str, object]:
    """Of the environment the names alone: values are often secret (``inspect --show-env`` has them)."""
    told = {**plain(state.container), **plain(state)}
    del told["container"], told["running"]
    return {**told, "env": [name for name, _value in state.container.env], "running": state.running}


def _write_json(value: object) -> int:
    json.dump(value, sys.stdout, indent=2)
    sys.stdout.write("\n")
    return 0
