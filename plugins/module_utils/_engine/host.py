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
from .image.build.recipe import assemble_image, resolve_recipe
from .image.gc import remove_image
from .image.observe import observe_images
from .image.tagging import resolve_tag, tag_image
from .joins import check_joins
from .linux.files import exclusive_lock
from .linux.subordinate_ids import read_subordinate_ids
from .model.addressing import overlaps
from .model.cgroup import Cgroup
from .model.container import Container, ContainerState, WantedContainer
from .model.image import Image
from .model.network import BRIDGE_MTU, VXLAN_OVERHEAD, Network
from .model.registry import RemoteImage
from .network.apply import create_network, remove_network, update_network
from .network.observe import observe_networks
from .network.underlay import observe_underlay
from .paths import Paths
from .plan.archive import ExportImages, LoadImage
from .plan.build import BuildImage
from .plan.cgroup import CreateCgroup, RemoveCgroup, SetLimits
from .plan.change import Change, plain
from .plan.image import AssembleImage, PullImage, RemoveImage, TagImage
from .plan.network import CreateNetwork, RecreateNetwork, RemoveNetwork, UpdateNetwork
from .plan.policy import RemovePolicy, SetPolicy
from .plan.push import PushImage
from .plan.sbom import RemoveSbom, WriteSbom
from .resolve import refuse, resolve_containers
from .runtime.state import load_state
from .shim.observe import observe_runtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from .model.archive import Archive
    from .model.build import Build, Forecast
    from .model.sbom import Sbom
    from .model.trust import Policy
    from .shim.logs import LogLine

    Absent = Callable[[NotFound], None]
    Progress = Callable[[str], None]

T = TypeVar("T")


class Host:
    """The host that this process runs on, with the state directories of ``paths``.

    ``engine`` is the command line of the installed engine, out of which monitors are started; it is needed only to
    create containers. ``absent`` is told of what a desired state needs and the host lacks (a base image, a network); it
    raises, unless whoever asks (check mode) may take it that an earlier step will have made it.
    """

    def __init__(self, paths: Paths, engine: Sequence[str] = (), *, absent: Absent = refuse) -> None:
        self.paths = paths
        self.absent = absent
        self.engine = tuple(engine)
        self._lock = exclusive_lock(paths.lock)
        self._seen: dict[str, Any] = {}

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

    def observe_images(self) -> dict[str, Image]:
        return self._once("images", lambda: observe_images(self.paths))

    def observe_policy(self) -> Policy | None:
        from .image.trust.policy import observe_policy  # containers do without

        return self._once("policy", lambda: observe_policy(self.paths))

    def observe_sbom(self, path: str) -> Sbom | None:
        from .image.sbom.write import observe_sbom  # containers do without

        return observe_sbom(path)

    def observe_cgroups(self) -> dict[str, Cgroup]:
        return self._once("cgroups", self.cgroups.observe)

    def observe_networks(self) -> dict[str, Network]:
        return self._once("networks", lambda: observe_networks(self.paths))

    def observe_containers(self) -> dict[str, ContainerState]:
        return self._once("containers", lambda: observe_containers(self.paths, self.cgroups, self.observe_networks))

    def _once(self, kind: str, look: Callable[[], T]) -> T:
        if kind not in self._seen:
            self._seen[kind] = look()
        found: T = self._seen[kind]
        return found

    # What is wanted, made whole with what is there ----------------------------------------------

    def resolve_image(self, wanted: Image, *, refresh: bool = False) -> Image:
        """With the digest that assembling would give, or (``refresh``) that the registry has; writes nothing."""
        if wanted.recipe is not None:
            try:
                return resolve_recipe(self.paths, wanted)
            except NotFound as error:
                self.absent(error)
                return wanted
        if refresh:
            from .image.pull import resolve_remote  # http and ssl: 60 ms

            current = self.observe_images().get(wanted.name)
            return replace(wanted, digest=resolve_remote(self.paths, wanted, current.digest if current else ""))
        return wanted

    def resolve_sbom(self, wanted: Sbom) -> Sbom:
        """With the digest of the document that the image gives."""
        from .image.sbom.write import make_sbom  # containers do without

        try:
            return make_sbom(self.paths, wanted)[0]
        except NotFound as error:
            self.absent(error)
            return wanted

    def resolve_archive(self, wanted: Archive) -> Archive:
        """With the digests of the images that are to be in it."""
        from .image.archive.save import resolve_archive  # other modules do without

        try:
            return resolve_archive(self.paths, wanted)
        except NotFound as error:
            self.absent(error)
            return wanted

    def resolve_tag(self, source: str, wanted: Image) -> Image:
        """With the digest of the image of this host that ``source`` means."""
        try:
            return resolve_tag(self.observe_images(), source, wanted)
        except NotFound as error:
            self.absent(error)
            return wanted

    def observe_archive(self, path: str) -> Archive | None:
        """What is at ``path``, verified; None where that is no archive."""
        from .image.archive.save import observe_archive  # other modules do without

        return observe_archive(path)

    def resolve_load(self, path: str, names: Sequence[str]) -> dict[str, Image]:
        """The images that loading ``names`` out of an archive gives; what is lacking here was verified there."""
        from .image.archive.load import resolve_load  # other modules do without

        try:
            return resolve_load(self.paths, path, names)
        except NotFound as error:
            self.absent(error)
            return {name: Image(name) for name in names}

    def resolve_push(self, wanted: RemoteImage) -> RemoteImage:
        """With the digest that the registry is to have; writes nothing, and asks nobody."""
        from .image.push import resolve_push  # http and ssl: 60 ms

        try:
            return resolve_push(self.paths, wanted)
        except NotFound as error:
            self.absent(error)
            return wanted

    def observe_pushed(self, wanted: RemoteImage) -> RemoteImage | None:
        """What the registry has under that name, by a HEAD request."""
        from .image.push import observe_pushed  # http and ssl: 60 ms

        return observe_pushed(wanted)

    def forecast_build(self, build: Build) -> Forecast:
        """What building would come to; writes nothing. A context that is not there may be an earlier step's work."""
        from .building import forecast_build  # containers do without

        return forecast_build(self.paths, build, self.absent)

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
        elif isinstance(change, (PullImage, AssembleImage, RemoveImage, LoadImage, ExportImages, TagImage, PushImage)):
            self._apply_image(change)
        elif isinstance(change, BuildImage):
            from .building import build_image  # containers do without

            build_image(self.paths, change.build, progress or (lambda _line: None))
        elif isinstance(change, (SetPolicy, RemovePolicy)):
            from .image.trust.policy import apply_policy  # containers do without

            apply_policy(self.paths, change.desired if isinstance(change, SetPolicy) else None)
        elif isinstance(change, (WriteSbom, RemoveSbom)):
            from .image.sbom.write import apply_sbom  # containers do without

            apply_sbom(self.paths, change.subject.partition(" ")[2], getattr(change, "desired", None))
        else:
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

    def _apply_image(self, change: Change) -> None:
        if isinstance(change, PullImage):
            from .image.pull import pull_image  # http and ssl: 60 ms

            with self._lock.let_go():  # pulls have locks of their own; others may change the host meanwhile
                pull_image(self.paths, change.desired)
        elif isinstance(change, AssembleImage):
            assemble_image(self.paths, change.desired)
        elif isinstance(change, RemoveImage):
            remove_image(self.paths, change.current.name)
        elif isinstance(change, LoadImage):
            from .image.archive.load import load_images  # other modules do without

            load_images(self.paths, change.path, (change.desired.name,))
        elif isinstance(change, ExportImages):
            from .image.archive.save import save_images  # other modules do without

            save_images(self.paths, change.desired)
        elif isinstance(change, TagImage):
            tag_image(self.paths, change.desired)
        elif isinstance(change, PushImage):
            from .image.push import push_image  # http and ssl: 60 ms

            push_image(self.paths, change.desired)

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
