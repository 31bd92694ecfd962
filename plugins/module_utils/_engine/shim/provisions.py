# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a container takes from this host beside its image: device nodes, a seccomp profile, a program to be its init,
and what the mounts of its volumes allow.

It is looked for before anything is changed, and again when the bundle is written. Raises InvalidOption where it is not
what was asked for, NotFound where the host lacks it.
"""

from __future__ import annotations

import os
import stat

from ..errors import InvalidOption, NotFound
from ..linux.apparmor import find_default_profile
from ..linux.lean import suppress
from ..linux.process import find_program
from ..linux.reaper import build_reaper
from ..runtime.config.defaults import DEFAULT_PATH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from ..model.container import Container, Device

# Programs that reap what is left to them and pass signals on, where there is no code of ours for the machine; all take
# ``--`` and a command. Docker and podman bring their own beside PATH.
INITS = (
    *("docker-init", "tini", "catatonit", "dumb-init", "/usr/libexec/docker/docker-init"),
    *("/usr/libexec/podman/catatonit", "/usr/bin/tini-static"),
)

# Flags of a mount, as statvfs(3) tells them and mount(8) spells them; ST_NOSYMFOLLOW is in linux/statfs.h alone.
_MOUNT_FLAGS = (
    *((os.ST_RDONLY, "ro"), (os.ST_NOSUID, "nosuid"), (os.ST_NODEV, "nodev"), (os.ST_NOEXEC, "noexec")),
    (0x2000, "nosymfollow"),
)

_PROCESSORS = "/sys/devices/system/cpu"

# Not among the devices of a privileged container: it has these of its own.
_NOT_THE_HOSTS = (
    *("pts", "ptmx", "shm", "fd", "mqueue", "console", ".lxc", ".lxd-mounts", ".udev"),
    *("null", "zero", "full", "random", "urandom", "tty"),
)


class Provisions:
    """``devices`` are OCI's, with the ``access`` that was asked for and the node's ``source`` on the host; ``seccomp``
    is docker's or OCI's profile, not yet fitted to the container; ``init`` is a program, its bytes; ``masked`` are
    paths that tell too much about this machine; ``sysctls`` are docker's, as far as this kernel has them; ``flags`` are
    those of the mount that a volume's source is on; ``apparmor`` is a profile for who names none."""

    def __init__(
        self,
        devices: Sequence[dict[str, Any]] = (),
        seccomp: Any = None,
        init: bytes = b"",
        masked: Sequence[str] = (),
        sysctls: Mapping[str, str] | None = None,
        flags: Mapping[str, Sequence[str]] | None = None,
        apparmor: str = "",
    ) -> None:
        self.devices = devices
        self.seccomp = seccomp
        self.init = init
        self.masked = masked
        self.sysctls = sysctls or {}
        self.flags = flags or {}
        self.apparmor = apparmor


def observe_provisions(container: Container) -> Provisions:
    """What is there now for ``container``."""
    security = container.security
    devices = list(_all_devices()) if security.privileged else []
    devices += [node for device in container.devices for node in _nodes(device)]
    by_path = {device["path"]: device for device in devices}
    profile = None
    if security.seccomp.startswith("/"):
        from .seccomp_file import read_profile  # few have one of their own

        profile = read_profile(security.seccomp)[0]
    return Provisions(
        list(by_path.values()),
        profile,
        find_init(container) if container.init else b"",
        observe_masked(),
        observe_sysctls(own_ids=bool(container.namespaces.uid_map))
        if container.namespaces.network_mode == "private"
        else {},
        {volume.source: list(observe_flags(volume.source)) for volume in container.volumes},
        "" if security.privileged or security.apparmor else find_default_profile(),
    )


def observe_flags(path: str) -> Iterator[str]:
    """What the mount that ``path`` is on does not allow. A path that is missing is told of when it is to be mounted."""
    with suppress(OSError):
        found = os.statvfs(path).f_flag
        yield from (name for flag, name in _MOUNT_FLAGS if found & flag)


def observe_sysctls(*, own_ids: bool) -> dict[str, str]:
    """Docker's settings of a network namespace: ports below 1024, and ping, for everybody in it."""
    wanted = {"net.ipv4.ip_unprivileged_port_start": "0"}
    if not own_ids:  # these groups are more than a user namespace has
        wanted["net.ipv4.ping_group_range"] = "0 2147483647"
    return {name: value for name, value in wanted.items() if os.path.exists(f"/proc/sys/{name.replace('.', '/')}")}


def observe_masked() -> list[str]:
    """What docker masks where it is there: how hot a processor is tells what others do on it (GHSA-6fw5-f8r9-fgfm)."""
    if not os.path.exists(f"{_PROCESSORS}/cpu0/thermal_throttle"):
        return []  # as on most machines that are virtual, or not x86
    paths = (f"{_PROCESSORS}/{name}/thermal_throttle" for name in sorted(os.listdir(_PROCESSORS)))
    return [path for path in paths if os.path.exists(path)]


def find_init(container: Container) -> bytes:
    """The program for ``init: true``: our own, or the host's."""
    name = container.args[0] if container.args else ""
    directories = dict(container.env).get("PATH", DEFAULT_PATH).split(":")
    paths = [name] if "/" in name else [os.path.join(directory, name) for directory in directories]
    found = build_reaper(paths, f"init: cannot execute {name!r}: it is not in the container, or no program\n")
    if found:
        return found
    for program in INITS:
        path = find_program(program)
        if path:
            with open(path, "rb") as file:
                return file.read()
    raise NotFound(
        "program", "catatonit", f"container {container.name} asks for an init; install it or tini, or leave init out"
    )


def _nodes(device: Device) -> Iterator[dict[str, Any]]:
    """The nodes of an option: one, or all in a directory and below, as docker has it."""
    if not os.path.isdir(device.source):
        found = _node(device.source, device.target, device.access)
        if found is None:
            raise InvalidOption("devices", device.source, "a device node of this host, or a directory of them")
        yield found
        return
    for directory, _folders, names in os.walk(device.source):
        for name in sorted(names):
            path = os.path.join(directory, name)
            found = _node(path, os.path.join(device.target, os.path.relpath(path, device.source)), device.access)
            if found is not None:
                yield found


def _all_devices() -> Iterator[dict[str, Any]]:
    for directory, folders, names in os.walk("/dev"):
        if directory == "/dev":
            folders[:] = [name for name in folders if name not in _NOT_THE_HOSTS]
        for name in sorted(names):
            path = os.path.join(directory, name)
            found = None if name in _NOT_THE_HOSTS or os.path.islink(path) else _node(path, path, "rwm")
            if found is not None:
                yield found


def _node(source: str, target: str, access: str) -> dict[str, Any] | None:
    try:
        status = os.stat(source)
    except OSError:
        return None
    kind = {stat.S_IFCHR: "c", stat.S_IFBLK: "b"}.get(stat.S_IFMT(status.st_mode))
    if kind is None:
        return None
    number = {"major": os.major(status.st_rdev), "minor": os.minor(status.st_rdev)}
    owner = {"fileMode": stat.S_IMODE(status.st_mode), "uid": status.st_uid, "gid": status.st_gid}
    return {"path": target, "type": kind, **number, **owner, "access": access, "source": source}
