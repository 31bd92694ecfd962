# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The containers of a host, where images, cgroups, networks and the runtime meet: observed, and made as wanted.

Many at once: all that must stop stop together, all that must start are started by one launcher. One that fails does
not hold the others up; what was begun for it is undone, and the error tells of each.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar, Union

from .demands import check_provisions
from .errors import EngineError, NotFound, RuntimeFailed
from .exposure import apply_names, apply_ports, forwards_of, names_told, write_container_files
from .image.layer.directories import lower_directories
from .image.observe import observe_image
from .joins import observe_stale, refuse_joined
from .linux.files import list_directory
from .model.container import Container, ContainerState
from .model.network import bridge_name
from .network.attach import attach, detach, host_link, observe_attached
from .network.ports import observe_ports
from .plan.container import (
    CreateContainer,
    RecreateContainer,
    RemoveContainer,
    RestartContainer,
    StartContainer,
    StopContainer,
    UpdateContainer,
)
from .plan.joining import in_waves
from .resolve import refuse
from .shim.bundle import prepare_container, remove_bundle, save_definition
from .shim.launch import (
    Born,
    Created,
    Failed,
    Launcher,
    create_containers,
    delete_container,
    joins_pids,
    start_container,
    stop_container,
)
from .shim.observe import observe_runtime
from .shim.solo import SoloMonitor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from .cgroup.interface import Cgroups
    from .model.container import Attachment
    from .model.network import Network
    from .paths import Paths
    from .plan.change import Change

    Absent = Callable[[NotFound], None]
    Progress = Callable[[str], None]
    Failures = dict[str, str]
    Result = Union[Born, Created, Failed]
    Starting = Union[CreateContainer, RecreateContainer, StartContainer, RestartContainer]
    Stopping = Union[RecreateContainer, StopContainer, RestartContainer, RemoveContainer]

T = TypeVar("T")

_STARTING = (CreateContainer, RecreateContainer, StartContainer, RestartContainer)
_STOPPING = (RecreateContainer, StopContainer, RestartContainer, RemoveContainer)
# At most so many are waited for at once.
_WORKERS = 32


@dataclass(frozen=True)
class Site:
    """What containers are made on: paths, cgroups and networks of a host, and the installed engine's command line.

    ``lock`` is the descriptor of the host's lock: who creates containers holds it too, so that a run after one that was
    killed does not meet them at work.
    """

    paths: Paths
    cgroups: Cgroups
    networks: Mapping[str, Network]
    engine: Sequence[str] = ()
    lock: int = -1


def observe_containers(
    paths: Paths, cgroups: Cgroups, observe_networks: Callable[[], Mapping[str, Network]]
) -> dict[str, ContainerState]:
    """All containers by name; of those that run, limits, connections, ports and names are what there really is.

    What a killed run left of a container that it made or removed, files without a definition, is a container of no
    image: so it is made anew or removed, and not forgotten.
    """
    states = observe_runtime(paths, cgroups)
    remains = {*list_directory(paths.containers), *list_directory(paths.container_runs)} - states.keys()
    states.update({name: ContainerState(Container(name, image="")) for name in sorted(remains)})
    running = [state for state in states.values() if state.running]
    attached = observe_attached() if any(state.container.networks for state in running) else {}
    forwards = observe_ports(paths.instance) if any(state.container.ports for state in running) else frozenset()
    known = [state.container for state in running]
    networks = observe_networks() if any(container.networks for container in known) else {}
    for state in running:
        found = state.container
        joined = tuple(replace(at, connected=_is_connected(paths, found.name, at, attached)) for at in found.networks)
        published = zip(found.ports, forwards_of(found))
        ports = tuple(port for port, forward in published if forward in forwards)
        told = names_told(paths, found, networks, known)
        states[found.name] = replace(
            state,
            container=replace(found, networks=joined, ports=ports, names_told=told),
            stale=observe_stale(state, states),
        )
    return states


def _is_connected(paths: Paths, name: str, at: Attachment, attached: Mapping[str, str]) -> bool:
    return attached.get(host_link(paths.instance, name, at.network)) == bridge_name(at.network)


def apply_containers(site: Site, changes: Iterable[Change], tell: Progress) -> None:
    """Make the changes, all of them containers'. Raises RuntimeFailed that names every container that failed."""
    changes = list(changes)
    _check(site, changes)
    failures: Failures = {}
    for change in changes:
        tell(str(change))
    stopping = [change for change in changes if isinstance(change, _STOPPING)]
    _withdraw(stopping, site)
    for wave in reversed(in_waves({change.current.container.name: change.current.container for change in stopping})):
        _stop([change for change in stopping if change.current.container.name in wave], site, failures)
    _remove([change for change in changes if isinstance(change, (RemoveContainer, RecreateContainer))], site, failures)
    _update([change for change in changes if isinstance(change, UpdateContainer)], site, failures)
    starting = {change.desired.name: change for change in changes if isinstance(change, _STARTING)}
    for wave in in_waves({name: change.desired for name, change in starting.items()}):
        _start([starting[name] for name in wave], site, failures, tell)
    expose(site, ports=any(_has_ports(change) for change in changes))
    if failures:
        raise RuntimeFailed("; ".join(_told(name, why) for name, why in sorted(failures.items())))


def _told(name: str, why: str) -> str:
    """A failure with the container's name, which some tell themselves."""
    prefix = f"container {name}: "
    return prefix + (why[len(prefix) :] if why.startswith(prefix) else why)


def _withdraw(changes: Iterable[Stopping], site: Site) -> None:
    """Publish no port of what is going to stop: once it has, nothing would seem to be left to do."""
    stopping = {change.current.container.name for change in changes if change.current.container.ports}
    if stopping:
        states = observe_runtime(site.paths, site.cgroups)
        staying = [state for name, state in states.items() if name not in stopping]
        apply_ports(site.paths, site.networks, staying)


def _has_ports(change: Change) -> bool:
    """Whether a container that publishes ports, before or after, is concerned."""
    current: ContainerState | None = getattr(change, "current", None)
    desired: Container | None = getattr(change, "desired", None)
    return bool((current and current.container.ports) or (desired and desired.ports))


def expose(site: Site, *, ports: bool) -> None:
    """Tell the names of the containers that run now, and publish their ports, where any may be others."""
    states = observe_runtime(site.paths, site.cgroups).values()
    if ports:
        apply_ports(site.paths, site.networks, states)
    apply_names(site.paths, site.networks, states)


def _check(site: Site, changes: Sequence[Change]) -> None:
    """Refuse what would fail halfway, before anything is changed."""
    ending = [c.current.container.name for c in changes if isinstance(c, (StopContainer, RemoveContainer))]
    if ending:
        states = observe_runtime(site.paths, site.cgroups)
        refuse_joined(ending, {change.subject.partition(" ")[2] for change in changes}, states)
    check_containers(site.paths, changes, refuse)


def check_containers(paths: Paths, changes: Iterable[Change], absent: Absent) -> None:
    """Tell ``absent`` of what containers that are to be made or started need and this host lacks, beside what was
    looked for when they were resolved. Raises InvalidOption where something else is in its place."""
    for change in changes:
        if isinstance(change, _STARTING):
            check_provisions(change.desired, absent)
            try:
                if change.desired.image_digest:  # else the image is to come, too
                    _layers(paths, change.desired)
            except NotFound as error:
                absent(error)


def _layers(paths: Paths, container: Container) -> list[str]:
    """The unpacked layers of the container's image, lowest first. Raises NotFound."""
    image = observe_image(paths, container.image_digest)
    if image is None:
        raise NotFound("image", f"{container.image}@{container.image_digest}", "pull or build it again")
    if image.missing:
        raise NotFound("layer", image.missing[0], f"run stowage.engine.image for {container.image} to unpack it again")
    return lower_directories(paths, image.layers)[::-1]


def _stop(changes: Iterable[Stopping], site: Site, failures: Failures) -> None:
    """Ask all to end at once, and wait for each as long as it may take."""

    def stop(state: ContainerState) -> None:
        stop_container(site.paths, site.cgroups, state.container.name, timeout=state.container.stop_timeout)

    _each(stop, {c.current.container.name: c.current for c in changes if c.current.running}, failures)


def _remove(changes: Iterable[RemoveContainer | RecreateContainer], site: Site, failures: Failures) -> None:
    def remove(name: str) -> None:
        delete_container(site.paths, site.cgroups, name)
        remove_bundle(site.paths, name)

    names = [change.current.container.name for change in changes]
    _each(remove, {name: name for name in names if name not in failures}, failures)


def _update(changes: Iterable[UpdateContainer], site: Site, failures: Failures) -> None:
    """Limits, connections and the record; ports and names follow for all containers together."""
    networks = site.networks

    def update(change: UpdateContainer) -> None:
        if change.current.running:
            path = site.cgroups.container_path(change.desired.cgroup_parent, change.desired.name)
            if change.limits:
                site.cgroups.limit_container(path, change.desired.limits)
            found = {at.network for at in change.current.container.networks if at.connected}
            for number, at in enumerate(change.desired.networks):
                if at.network not in found:
                    _connect(site, change.desired, number, change.current.pid, networks)
        save_definition(site.paths, change.desired)

    _each(update, {change.desired.name: change for change in changes}, failures)


def _start(changes: Iterable[Starting], site: Site, failures: Failures, tell: Progress) -> None:
    """Prepare, create through one launcher, connect, start. What fails is taken away again: of a container that was
    there before, its process alone."""
    made = {change.desired.name for change in changes if isinstance(change, (CreateContainer, RecreateContainer))}
    wanted = {change.desired.name: change.desired for change in changes if change.desired.name not in failures}
    launcher = _begin(site, wanted, failures)
    networks = site.networks
    neighbours = {
        name: state.container for name, state in observe_runtime(site.paths, site.cgroups).items() if state.running
    }
    everyone = {**neighbours, **wanted}.values()

    def prepare(container: Container) -> None:
        delete_container(site.paths, site.cgroups, container.name)
        path = site.cgroups.container_path(container.cgroup_parent, container.name)
        prepare_container(site.paths, container, layers=_layers(site.paths, container), cgroups_path=path)
        write_container_files(site.paths, container, networks, everyone)

    for name, container in wanted.items():
        _try(prepare, name, container, failures)

    links = _Links(site, wanted)

    def undo(name: str) -> None:
        links.disconnect(name)
        delete_container(site.paths, site.cgroups, name)
        if name in made:
            remove_bundle(site.paths, name)

    names = [name for name, container in wanted.items() if container.running is not False and name not in failures]

    def start(found: Created) -> None:
        links.connect(found)
        start_container(site.paths, found.name)

    for result in _create(site, names, launcher) if launcher else ():
        if isinstance(result, Failed):
            failures[result.name] = result.error
        elif isinstance(result, Born):
            _try(links.connect, result.name, result, failures)
        elif result.name not in failures:
            tell(f"start container {result.name}")
            _try(start, result.name, result, failures)
    for name in wanted.keys() & failures.keys():
        _try(undo, name, name, failures)


class _Links:
    """The links of containers that are being started to their networks."""

    def __init__(self, site: Site, wanted: Mapping[str, Container]) -> None:
        self._site = site
        self._wanted = wanted
        self._connected: set[str] = set()

    def connect(self, found: Born | Created) -> None:
        """Connect a container as soon as it has a network namespace, once."""
        if found.name in self._connected:
            return
        self._connected.add(found.name)
        container = self._wanted[found.name]
        for number in range(len(container.networks)):
            _connect(self._site, container, number, found.pid, self._site.networks)

    def disconnect(self, name: str) -> None:
        """Take back what connect() did: the links go with the namespace, but the kernel takes its time for that."""
        for at in self._wanted[name].networks if name in self._connected else ():
            detach(at.network, container=name, instance=self._site.paths.instance)


def _begin(site: Site, wanted: Mapping[str, Container], failures: Failures) -> Launcher | SoloMonitor | None:
    """Start what is going to create them: it takes as long to come up as the bundles take to be written."""
    names = [name for name, container in wanted.items() if container.running is not False]
    try:
        sealed = joins_pids(wanted[name] for name in names)
        if len(names) == 1 and not sealed:
            external = bool(wanted[names[0]].runtime)
            alone = not external and not site.cgroups.places_monitor
            return SoloMonitor(site.engine, site.lock, subreaper=external, alone=alone)
        return Launcher(site.engine, site.lock, sealed=sealed) if names else None
    except RuntimeFailed as error:
        failures.update(dict.fromkeys(names, str(error)))
        return None


def _create(site: Site, names: list[str], launcher: Launcher | SoloMonitor) -> Iterator[Result]:
    """Create containers; where the launcher itself ends early, those that it has not told of have failed."""
    untold = dict.fromkeys(names)
    try:
        for result in create_containers(site.paths, site.engine, names, cgroups=site.cgroups, launcher=launcher):
            if not isinstance(result, Born):
                del untold[result.name]
            yield result
    except RuntimeFailed as error:
        yield from (Failed(name, str(error)) for name in untold)


def _connect(site: Site, container: Container, number: int, pid: int, networks: Mapping[str, Network]) -> None:
    """Put the container on its network of that number, as eth<number>; the first has the default route."""
    at = container.networks[number]
    attach(
        networks[at.network],
        container=container.name,
        pid=pid,
        address=at.address,
        instance=site.paths.instance,
        interface=f"eth{number}",
        default_route=number == 0,
    )


def _each(act: Callable[[T], None], items: Mapping[str, T], failures: Failures) -> None:
    """Call ``act`` on every item at the same time; a failure is noted under the item's name."""
    if len(items) < 2:
        for name, item in items.items():
            _try(act, name, item, failures)
        return
    with ThreadPoolExecutor(min(len(items), _WORKERS)) as pool:
        tries = [pool.submit(_try, act, name, item, failures) for name, item in items.items()]
    for done in tries:
        done.result()  # raises what is no failure of a container, but an error of ours


def _try(act: Callable[[T], None], name: str, item: T, failures: Failures) -> None:
    try:
        act(item)
    except (EngineError, OSError) as error:
        failures.setdefault(name, str(error))
