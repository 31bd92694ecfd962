# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers: what was asked for, and what of it runs."""

from __future__ import annotations

from dataclasses import dataclass

from .cgroup import Limits

# docker's (moby, daemon/config).
DEFAULT_SHM_SIZE = 64 << 20
# Before the name of a container whose namespace another joins, as docker has it.
JOIN = "container:"


@dataclass(frozen=True)
class Attachment:
    """A container's place in a network.

    ``address`` is empty until one is assigned; ``connected`` is the kernel's word.
    """

    network: str
    address: str = ""
    aliases: tuple[str, ...] = ()
    connected: bool = True


@dataclass(frozen=True)
class Port:
    """A port of the host that leads to one of the container. ``host_ip`` 0.0.0.0 means every address of the host."""

    host_port: int
    container_port: int
    protocol: str = "tcp"
    host_ip: str = "0.0.0.0"


@dataclass(frozen=True)
class Volume:
    """A file or directory of the host, bound into the container at ``target``.

    ``idmap``: where the container has a user namespace, the ids of its files are the container's, as far as those go.
    """

    source: str
    target: str
    read_only: bool = False
    idmap: bool = True


@dataclass(frozen=True)
class Device:
    """A device node of the host, or a directory of them, at ``target`` in the container; ``access``: some of rwm."""

    source: str
    target: str
    access: str = "rwm"


@dataclass(frozen=True)
class Ulimit:
    """A limit of setrlimit(2) by its name in lower case (``nofile``); UNLIMITED (-1) where there is none."""

    name: str
    soft: int
    hard: int


@dataclass(frozen=True)
class Security:
    """What a container's processes may do, beside docker's defaults.

    Capabilities are names such as CAP_CHOWN. ``seccomp`` is empty for the default profile, ``unconfined``, or the path
    of a profile, whose content ``seccomp_digest`` stands for. ``label`` has options of SELinux as docker writes them,
    ``unmask`` paths that are neither masked nor read-only, or ``ALL``.
    """

    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    no_new_privileges: bool = True
    read_only: bool = False
    privileged: bool = False
    seccomp: str = ""
    seccomp_digest: str = ""
    apparmor: str = ""
    label: tuple[str, ...] = ()
    mask: tuple[str, ...] = ()
    unmask: tuple[str, ...] = ()


IdMap = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Namespaces:
    """Whose ids, processes, IPC objects and host name a container has: its own (``private``), or the ``host``'s.

    ``pid_mode``, ``ipc_mode`` and ``network_mode`` may also be ``container:`` and the name of the container whose they
    are; ``network_mode`` is never the host's.
    ``userns``: ``keep`` the host's ids; ``auto``, a range of its own that is chosen for it; ``map``, as the maps say.
    The maps are (id in the container, id on the host, how many); empty with ``keep``.
    """

    userns: str = "keep"
    uid_map: IdMap = ()
    gid_map: IdMap = ()
    pid_mode: str = "private"
    ipc_mode: str = "private"
    uts: str = "private"
    network_mode: str = "private"

    @property
    def root(self) -> tuple[int, int]:
        """The user and group ids on the host that the container's root has."""
        uid, gid = (next((o for i, o, _size in ids if i == 0), 0) for ids in (self.uid_map, self.gid_map))
        return uid, gid

    @property
    def joined(self) -> dict[str, str]:
        """The containers whose namespaces it joins, by option."""
        modes = {"pid_mode": self.pid_mode, "ipc_mode": self.ipc_mode, "network_mode": self.network_mode}
        return {option: mode[len(JOIN) :] for option, mode in modes.items() if mode.startswith(JOIN)}


@dataclass(frozen=True)
class Container:
    """A container as wanted, or as found on this host.

    ``args`` is the whole command line, after the image's entrypoint and command were taken into account.
    ``image_digest`` names the manifest that the container was made from. ``running`` is None where it does not
    matter. ``stop_timeout`` is in seconds. ``names_told``: its /etc/hosts has every name that it should have.
    ``shm_size`` is in bytes. ``init``: a program that reaps what is left to process 1 goes before ``args``.
    """

    name: str
    image: str
    image_digest: str = ""
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    working_dir: str = "/"
    user: str = ""
    groups: tuple[str, ...] = ()
    hostname: str = ""
    networks: tuple[Attachment, ...] = ()
    ports: tuple[Port, ...] = ()
    volumes: tuple[Volume, ...] = ()
    tmpfs: tuple[str, ...] = ()
    devices: tuple[Device, ...] = ()
    device_cgroup_rules: tuple[str, ...] = ()
    shm_size: int = DEFAULT_SHM_SIZE
    limits: Limits = Limits()
    ulimits: tuple[Ulimit, ...] = ()
    sysctls: tuple[tuple[str, str], ...] = ()
    oom_score_adj: int = 0
    init: bool = False
    cgroup_parent: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    extra_hosts: tuple[tuple[str, str], ...] = ()
    security: Security = Security()
    namespaces: Namespaces = Namespaces()
    stop_signal: str = "SIGTERM"
    stop_timeout: int = 10
    runtime: str = ""
    running: bool | None = True
    names_told: bool = True


@dataclass(frozen=True)
class ContainerState:
    """A container that was found on this host. ``pid`` is 0 unless it runs; ``exit_code`` is None until it ended.

    ``stale``: the options by which it joined namespaces of a container that has others by now, or none.
    """

    container: Container
    pid: int = 0
    pid_started: int = 0
    exit_code: int | None = None
    started_at: str = ""
    finished_at: str = ""
    stale: tuple[str, ...] = ()

    @property
    def running(self) -> bool:
        return self.pid > 0


@dataclass(frozen=True)
class WantedContainer:
    """A container as a user asks for it: what they left open is filled from the image and the host (resolve.py).

    ``entrypoint``, ``command``, ``working_dir`` and ``user`` are None where the image's own is meant; ``env`` goes on
    top of the image's. Attachments of ``container`` may lack an address. ``restart`` and ``recreate`` are orders.
    """

    container: Container
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    env: tuple[tuple[str, str], ...] = ()
    working_dir: str | None = None
    user: str | None = None
    stop_signal: str | None = None
    restart: bool = False
    recreate: bool = False
