# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every kind of cgroup host can do: named cgroups, and the cgroup of each container.

A named cgroup is known by its path below ours (``quickstart``, ``shop/frontend``). A container's is known by its OCI
``cgroupsPath`` (runtime-spec, config-linux.md, "Control groups"): an absolute path below the mount point of the
hierarchies, or ``slice:prefix:name`` where systemd manages them. Whatever is read is read from the kernel's files;
nothing is remembered. Errors: InvalidOption (a value that cannot be meant), Unsupported (this host lacks a controller
or a file), KernelError (the kernel refuses: the file, the value), Conflict (something is in the way).
"""

from __future__ import annotations

import _signal as signal
import os
from abc import ABC, abstractmethod

from ..errors import Conflict
from ..linux.cgroupfs import list_cgroups
from ..linux.lean import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..model.cgroup import Cgroup, Limits
    from .controller import Controller
    from .resources import Resources
    from .units import Property

# The directory of a container ends so; the name of a cgroup may not (parse_cgroup_path).
SCOPE = ".scope"


class Cgroups(ABC):
    """The cgroups of this host that belong to one ``instance`` of the engine. Opening it changes nothing."""

    kind: str  # "v1", "v2" or "systemd"
    # Whether prepare() puts the monitor in its place too, and so has to wait until there is one.
    places_monitor = True
    # Whether a process cannot go into a container's cgroup by itself, and is to be put there by attach().
    attaches = False

    def __init__(self, instance: str) -> None:
        self.instance = instance

    def load(self) -> None:
        """Import now what the engine's limits take, and `stowage-runtime` does without: a container would wait."""
        from ..model import cgroup  # noqa: F401 -- as above
        from . import controller  # noqa: F401 -- as above

        self._controllers()

    @abstractmethod
    def _controllers(self) -> Sequence[Controller]:
        """Those that hold the engine's limits."""

    # Named cgroups ------------------------------------------------------------------------------

    @abstractmethod
    def observe(self) -> dict[str, Cgroup]:
        """Every named cgroup by path, with the limits that the kernel holds now.

        No limit is None: UNLIMITED (cpu_weight 100, cpuset "") stands where nothing limits. A parent that was made
        for ``a/b`` is a cgroup ``a`` like any other.
        """

    @abstractmethod
    def create(self, cgroup: Cgroup) -> None:
        """Make the cgroup, and its parents, and set its limits. One that exists is kept."""

    @abstractmethod
    def set_limits(self, path: str, limits: Limits) -> None:
        """Set the limits that are not None, live, and make the kernel's files agree with them."""

    @abstractmethod
    def remove(self, path: str) -> None:
        """Remove an empty cgroup; content where there is none. Conflict names what is in it; nothing is killed."""

    # The cgroup of a container --------------------------------------------------------------------

    @abstractmethod
    def container_path(self, parent: str, name: str) -> str:
        """The OCI cgroupsPath of container ``name`` in the named cgroup ``parent`` ("": directly below ours)."""

    @abstractmethod
    def prepare(self, cgroups_path: str, limits: Limits, monitor_pid: int = 0) -> None:
        """Make the container's cgroup and set its limits before anything joins it; Conflict if something is in it.

        ``monitor_pid`` is moved out of the caller's session (not needed on v1 without systemd). 0: there is no monitor;
        then the caller itself is what systemd makes the scope with, and nothing is moved elsewhere.
        """

    @abstractmethod
    def prepare_resources(self, cgroups_path: str, resources: Resources, properties: Sequence[Property] = ()) -> None:
        """The same for what config.json asks for, and without a monitor. Nothing is left of it where it fails.

        ``properties`` are systemd's, for its scope. Raises Conflict too where the cgroup is frozen.
        """

    def settle(self, cgroups_path: str, resources: Resources) -> None:
        """To be called when the init is in the cgroup that prepare_resources() made."""
        return

    @abstractmethod
    def update_resources(self, cgroups_path: str, resources: Resources) -> None:
        """Set what is asked for on the container's cgroup, live. NotFound where it has none."""

    def payload_directory(self, cgroups_path: str) -> str:
        """The directory in the v2 tree that clone3(CLONE_INTO_CGROUP) puts the init into; v1 alone: empty."""
        return ""

    def task_files(self, cgroups_path: str) -> list[str]:
        """v1: the files that join() writes ``0`` to, for a process that does so without this package; v2: none."""
        return []

    @abstractmethod
    def directories(self, cgroups_path: str) -> dict[str, str]:
        """Where the files of each controller are: by controller on v1, v2's one directory as ``""``."""

    def attach(self, cgroups_path: str, pid: int) -> None:
        """Put the process ``pid`` into the container's cgroup, where ``attaches`` says that this is how."""
        raise NotImplementedError

    @abstractmethod
    def join(self, cgroups_path: str) -> None:
        """Put the calling process into the container's cgroup. On v1 it must have one thread alone.

        On v2 it changes nothing when clone3 did it already; otherwise it writes cgroup.procs, which takes long.
        """

    @abstractmethod
    def observe_limits(self, cgroups_path: str) -> Limits | None:
        """The limits that the kernel holds for the container; None where it has no cgroup."""

    @abstractmethod
    def limit_container(self, cgroups_path: str, limits: Limits) -> None:
        """Set the limits that are not None on the container's cgroup, live."""

    @abstractmethod
    def processes(self, cgroups_path: str) -> list[int]:
        """The pids in the container's cgroup and below, as the caller's pid namespace has them; [] where it is gone."""

    @abstractmethod
    def kill(self, cgroups_path: str) -> None:
        """SIGKILL every process in the container's cgroup and below. It does not wait for their end."""

    @abstractmethod
    def is_frozen(self, cgroups_path: str) -> bool:
        """Whether the container is paused, or about to be."""

    @abstractmethod
    def freeze(self, cgroups_path: str, frozen: bool) -> None:
        """Stop all processes of the container where they are, or let them go on; returns when it is so."""

    @abstractmethod
    def destroy(self, cgroups_path: str) -> None:
        """Remove the container's cgroup with all that was made in it. Idempotent; waits briefly for dying processes.

        The monitor may call it for its own container. Conflict names the processes that are still there.
        """


def list_named(base: str, prefix: str = "") -> Iterator[str]:
    """The paths of the named cgroups below the directory ``base``: not the containers', nor what is private to us."""
    for name in list_cgroups(f"{base}/{prefix}"):
        if not name.endswith(SCOPE) and name[0] != "_":
            yield prefix + name
            yield from list_named(base, f"{prefix}{name}/")


def kill_processes(list_processes: Callable[[], list[int]], *, rounds: int) -> None:
    """SIGKILL what is listed while there is something, at most ``rounds`` times: what forks may slip through one."""
    for _round in range(rounds):
        pids = list_processes()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not pids:
            return


def refuse_taken(cgroups_path: str, pids: list[int], *, frozen: bool) -> None:
    """Raise Conflict where the cgroup of a new container has something in it already, or would not let it run.

    runtime-spec, config-linux.md: what a runtime may check, because one container could have an influence on another.
    """
    if frozen:
        raise Conflict(f"container's cgroup unexpectedly frozen: {cgroups_path}; thaw or remove it first")
    if pids:
        held = ", ".join(map(str, pids[:10]))
        raise Conflict(f"container's cgroup is not empty: {cgroups_path} still holds the processes {held}")


def refuse_occupied(path: str, children: list[str], pids: list[int]) -> None:
    """Raise Conflict where a cgroup that is to be removed, or made anew, still has something in it."""
    if not children and not pids:
        return
    held = [f"the cgroups {', '.join(children)}"] if children else []
    held += [f"the processes {', '.join(map(str, pids[:10]))}{', ...' if len(pids) > 10 else ''}"] if pids else []
    raise Conflict(f"cgroup {path} still holds {' and '.join(held)}; remove or stop these first")
