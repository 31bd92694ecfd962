# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fleet: hosts under one name, made by either backend, with an inventory and an ssh config."""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from . import cgroups, ssh, switch
from .errors import FleetError
from .process import kill_all
from .state import Host, State
from .traces import leftovers

BACKENDS = ("namespace", "vm")
BUILD = Path(__file__).resolve().parents[2] / "build" / "fleet"
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")


class Node:
    """One host of a fleet, reached over ssh."""

    def __init__(self, fleet: Fleet, host: Host) -> None:
        self._fleet = fleet
        self.name = host.name
        self.address = host.address
        self.process = host.process

    def argv(self, argv: Sequence[str]) -> list[str]:
        """The command line on this machine that runs `argv` on the host."""
        return ["ssh", "-F", str(self._fleet.ssh_config), self.name, "--", shlex.join(argv)]

    def run(
        self, argv: Sequence[str], *, stdin: str = "", check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Runs a program on the host. FleetError when it fails, unless `check` is False, or takes too long."""
        try:
            done = subprocess.run(
                self.argv(argv), input=stdin, text=True, capture_output=True, timeout=timeout, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise FleetError(f"{self.name}: {shlex.join(argv)} did not end within {timeout:.0f} s") from error
        if check and done.returncode:
            raise FleetError(
                f"{self.name}: {shlex.join(argv)} ended with status {done.returncode}: "
                f"{(done.stderr or done.stdout).strip()}"
            )
        return done


class Fleet:
    """The hosts that are up under one name; leaving it as a context manager takes them down."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.name = state.name
        self.backend = state.backend
        self.directory = state.directory
        self.inventory = state.directory / "inventory.yml"
        self.ssh_config = state.directory / "ssh_config"
        self.nodes = [Node(self, host) for host in state.hosts]

    def node(self, name: str) -> Node:
        for node in self.nodes:
            if node.name == name:
                return node
        raise FleetError(f"fleet {self.name} has no host {name!r}; it has {', '.join(n.name for n in self.nodes)}")

    def down(self) -> None:
        down(self.name, base=self.directory.parent)

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *_rest: object) -> None:
        self.down()


def up(name: str, hosts: Sequence[str], *, backend: str = "namespace", base: Path = BUILD) -> Fleet:
    """Makes the hosts and returns when each answers on ssh; leaves nothing when that fails."""
    for what, value in [("fleet", name), *(("host", host) for host in hosts)]:
        if not NAME.fullmatch(value) or value == "cache":  # build/fleet/cache holds the image of the machines
            raise FleetError(
                f"{what} name {value!r}: expected 1 to 32 of a-z, 0-9 and '-', as in a host name, and not 'cache'"
            )
    if not hosts or len(set(hosts)) != len(hosts) or len(hosts) > 200:
        raise FleetError(f"hosts {', '.join(hosts) or '(none)'}: expected 1 to 200 different names")
    if backend not in BACKENDS:
        raise FleetError(f"backend {backend!r}: expected one of {', '.join(BACKENDS)}")
    directory = base.resolve() / name
    if load(name, base=base):
        raise FleetError(f"fleet {name} is up already; take it down first: python -m tests.fleet down --name {name}")
    down(name, base=base)  # what a killed `up` may have left
    directory.mkdir(parents=True, mode=0o700)
    state = State(name, backend, directory, [Host(host) for host in hosts])
    try:
        state.save()
        state.sockets.mkdir(mode=0o700)
        importlib.import_module(f".{backend}", __package__).make(state)
        ssh.write_client_files(state)
        ssh.await_servers(state)
        state.ready = True
        state.save()
    except BaseException:
        down(name, base=base)
        raise
    return Fleet(state)


def load(name: str, *, base: Path = BUILD) -> Fleet | None:
    """The fleet of that name, when it is up with all its hosts."""
    state = State.load(base.resolve() / name)
    return Fleet(state) if state and state.ready and all(host.alive for host in state.hosts) else None


def leftovers_of(name: str, *, base: Path = BUILD) -> list[str]:
    """What there is of this one fleet, whatever else goes on on the machine; nothing once it is down."""
    return leftovers(fleet=State(name, "", base.resolve() / name))


def down(name: str, *, base: Path = BUILD) -> None:
    """Ends the fleet and removes everything of it, however far it got; fine when there is none."""
    directory = base.resolve() / name
    state = State.load(directory) or State(name, "", directory)
    ssh.close_connections(state)
    kill_all(state.processes)
    cgroups.remove(state.cgroup_prefix)
    switch.remove(state)
    shutil.rmtree(directory, ignore_errors=True)
    if directory.exists():
        raise FleetError(f"cannot remove {directory}; is something mounted below it? see findmnt")
