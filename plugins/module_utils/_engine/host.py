# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host: what it has (observe) and how a change is made true on it (apply). The only code that changes a host.

Observing writes nothing, not even a lock file, so check mode may do it. Changes are made under the host's lock.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeVar

from .cgroup.manager import Cgroups, open_cgroups
from .containers import Site, apply_containers, check_containers, observe_containers
from .demands import complete_container
from .errors import Conflict, NotFound
from .exposure import apply_names
from .images import HostImages
from .joins import check_joins
from .linux.subordinate_ids import read_subordinate_ids
from .model.addressing import overlaps
from .model.cgroup import Cgroup
from .model.container import Container, ContainerState, WantedContainer
from .model.image import Image
from .model.network import BRIDGE_MTU, VXLAN_OVERHEAD, Network
from .network.apply import create_network, remove_network, update_network
from .network.observe import observe_networks
from .network.underlay import observe_underlay
from .paths import Paths
from .plan.cgroup import CreateCgroup, RemoveCgroup, SetLimits
from .plan.change import Change, plain
from .plan.commit import CommitContainer
from .plan.network import CreateNetwork, RecreateNetwork, RemoveNetwork, UpdateNetwork
from .resolve import refuse, resolve_containers
from .runtime.state import load_state
from .shim.observe import observe_runtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from .model.commit import Commit
    from .shim.logs import LogLine

    Absent = Callable[[NotFound], None]
    Progress = Callable[[str], None]

T = TypeVar("T")


class Host(HostImages):
    """The host that this process runs on, with the state directories of ``paths``.

    ``engine`` is the command line of the installed engine, out of which monitors are started; it is needed only to
    create containers. ``absent`` is told of what a desired state needs and the host lacks (a base image, a network); it
    raises, unless whoever asks (check mode) may take it that an earlier step will have made it.
    """

    def __init__(self, paths: Paths, engine: Sequence[str] = (), *, absent: Absent = refuse) -> None:
        super().__init__(paths, absent)
        self.engine = tuple(engine)

    @cached_property
    def cgroups(self) -> Cgroups:
        cgroups = open_cgroups(self.paths.instance)
        cgroups.load()
        return cgroups

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the host's lock: one run at a time changes it. What was seen before may have been changed since."""
        with self._lock:
            self._seen.clear()
            yield

    # What is there: one look at each kind, until something is applied -------------------------------

    def observe_cgroups(self) -> dict[str, Cgroup]:
        return self._once("cgroups", self.cgroups.observe)

    def observe_networks(self) -> dict[str, Network]:
        return self._once("networks", lambda: observe_networks(self.paths))

    def observe_containers(self) -> dict[str, ContainerState]:
        return self._once("containers", lambda: observe_containers(self.paths, self.cgroups, self.observe_networks))

    # What is wanted, made whole with what is there ----------------------------------------------

    def resolve_network(self, wanted: Network) -> Network:
        """With the underlay's device, and the MTU that it allows. Raises Conflict, InvalidOption."""
        for other in self.observe_networks().values():
            if other.name != wanted.name and overlaps(other.pool, wanted.pool):
                raise Conflict(f"{wanted.pool} overlaps {other.pool} of network {other.name}; choose another subnet")
        if wanted.vxlan is None:
            return replace(wanted, mtu=wanted.mtu or BRIDGE_MTU)
        underlay = observe_underlay(wanted.vxlan.address, wanted.vxlan.device)
        vxlan = replace(wanted.vxlan, device=underlay.device)
        return replace(wanted, vxlan=vxlan, mtu=wanted.mtu or underlay.mtu - VXLAN_OVERHEAD)

    def resolve_containers(self, wanted: Mapping[str, WantedContainer | None]) -> dict[str, Container | None]:
        """See resolve.py; looks only at what these containers ask for."""
        attached = any(want.container.networks for want in wanted.values() if want)
        placed = any(want.container.cgroup_parent for want in wanted.values() if want)
        mapped = any(want.container.namespaces.userns == "auto" for want in wanted.values() if want)
        containers = self.observe_containers()
        desired = resolve_containers(
            wanted,
            containers=containers,
            images=self.observe_images(),
            networks=self.observe_networks() if attached else {},
            cgroups=self.observe_cgroups() if placed else {},
            subordinate=(read_subordinate_ids("/etc/subuid"), read_subordinate_ids("/etc/subgid"))
            if mapped
            else ((), ()),
            absent=self.absent,
        )
        check_joins(desired, containers, self.absent)
        for name, container in desired.items():
            if container is not None:
                current = containers[name].container if name in containers else None
                desired[name] = complete_container(container, current, self.absent)
        return desired

    def forecast_commit(self, commit: Commit) -> Image:
        """The image that a container has come to; nothing is known of it where the container is an earlier task's."""
        from .committing import forecast_commit  # other modules do without

        return self._complete(Image(commit.name), lambda: forecast_commit(self.paths, self.cgroups, commit))

    def check(self, changes: Iterable[Change]) -> None:
        """What apply() refuses before it changes anything, with what is not there told to ``absent``."""
        check_containers(self.paths, changes, self.absent)

    # Making it so -------------------------------------------------------------------------------

    def apply(self, changes: Iterable[Change], progress: Progress | None = None) -> None:
        """Make the changes, in order; containers together, in parallel. The caller holds the lock.

        ``progress`` is called with a line before each step. Every step may be repeated after it was interrupted.
        """
        try:
            containers = []
            for change in changes:
                if change.subject.startswith("container "):
                    containers.append(change)
                    continue
                if progress:  # words for a thousand peers take as long as their entries
                    progress(str(change))
                self._apply_one(change, progress)
                self._seen.clear()
            if containers:
                site = Site(self.paths, self.cgroups, self.observe_networks(), self.engine, self._lock.fd)
                apply_containers(site, containers, progress or (lambda _rest: None))
        finally:
            self._seen.clear()

    def _apply_one(self, change: Change, progress: Progress | None) -> None:
        if isinstance(change, (CreateNetwork, RecreateNetwork, UpdateNetwork, RemoveNetwork)):
            self._apply_network(change)
        elif isinstance(change, CreateCgroup):
            self.cgroups.create(change.desired)
        elif isinstance(change, SetLimits):
            self.cgroups.set_limits(change.desired.path, change.desired.limits)
        elif isinstance(change, RemoveCgroup):
            self.cgroups.remove(change.current.path)
        elif isinstance(change, CommitContainer):
            from .committing import commit_container  # other modules do without

            commit_container(self.paths, self.cgroups, change.commit)
        elif not self._apply_image(change, progress):
            raise TypeError(f"no way to apply {type(change).__name__}")

    def _apply_network(self, change: Change) -> None:
        if isinstance(change, CreateNetwork):
            create_network(self.paths, change.desired)
        elif isinstance(change, RecreateNetwork):
            remove_network(self.paths, change.current)
            create_network(self.paths, change.desired)
        elif isinstance(change, UpdateNetwork):
            # The containers are told first: once the names are saved, nothing seems to be left to do.
            networks = {**observe_networks(self.paths), change.desired.name: change.desired}
            apply_names(self.paths, networks, observe_runtime(self.paths, self.cgroups).values())
            update_network(self.paths, change.current, change.desired)
        elif isinstance(change, RemoveNetwork):
            self._refuse_joined(change.current.name)
            remove_network(self.paths, change.current)

    def _refuse_joined(self, network: str) -> None:
        """Raise Conflict where containers are on the network: they would go on without it, and say nothing."""
        states = observe_runtime(self.paths, self.cgroups)
        joined = [
            name for name, state in states.items() if any(at.network == network for at in state.container.networks)
        ]
        if joined:
            told = ", ".join(sorted(joined))
            raise Conflict(f"network {network!r} cannot be removed: containers are on it: {told}; remove them first")

    # Looking into containers --------------------------------------------------------------------

    def read_logs(self, name: str, *, tail: int | None = None, follow: bool = False) -> Iterator[LogLine]:
        """What the container wrote, line by line; ``follow`` goes on until its monitor ends."""
        from .shim.logs import read_logs  # modules do without

        running = follow and self.observe_containers()[name].running
        monitor = load_state(self.paths.runtime_root, name).creator[0] if running else 0
        yield from read_logs(os.path.join(self.paths.container(name), "log"), tail=tail, follow=monitor)

    def inspect_container(self, name: str) -> dict[str, Any]:
        """What was asked for, and what the kernel says now of the container if it runs; see runtime/effective.py."""
        from .runtime.effective import observe_effective  # modules do without
        from .shim.bundle import read_definition  # modules do without

        state = self.observe_containers()[name]
        definition = read_definition(self.paths, name)
        effective = None
        if state.running:
            found = state.container
            effective = {
                **observe_effective(state.pid),
                "cgroup_limits": plain(found.limits),
                "networks": plain(found.networks),
                "ports": plain(found.ports),
                "names_told": found.names_told,
            }
        status = {key: value for key, value in plain(state).items() if key != "container"}
        return {
            "name": name,
            "running": state.running,
            **status,
            "definition": plain(definition.container),
            "cgroups_path": definition.cgroups_path,
            "layers": definition.layers,
            "effective": effective,
        }

    def seal_exec(self, container: Container) -> None:
        """What a command does before exec_process(), and before anything else: it may be begun anew by that."""
        from .shim.exec_container import seal_command  # modules do without

        seal_command(container)

    def exec_process(
        self,
        name: str,
        args: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str = "",
        user: str = "",
        tty: bool = False,
    ) -> int:
        """Run a program in a running container, with this process's streams; returns its exit status."""
        from .shim.exec_container import exec_process  # modules do without

        return exec_process(self.paths, name, args, env=env, cwd=cwd, user=user, tty=tty)
