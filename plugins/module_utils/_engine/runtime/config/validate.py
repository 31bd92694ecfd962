# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A config.json that can be meant, or one line that names the JSON path, the value and what is expected there.

Properties that the specification does not have are ignored, as it demands; those that it has and this runtime does not
do are refused, so that nothing is silently weaker than asked. Nothing is created here. Source: runtime-spec 1.3; the
single values are held against schema.py, and what takes more than one value to judge is judged here.
"""

from __future__ import annotations

import fcntl
import os
import stat

from ...errors import InvalidOption, NotFound, RuntimeFailed
from ...linux.lean import loads
from ...linux.namespaces import NAMESPACES
from ...model.sysctl import namespace_of_sysctl
from .kinds import Fault
from .mount_checks import validate_mounts
from .schema import CONFIG, PROCESS, RESOURCES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from .kinds import Kind

_RARE = ("timeOffsets", "memoryPolicy", "personality", "netDevices", "intelRdt")

_NS_GET_NSTYPE = 0xB703  # ioctl_nsfs(2), Linux 4.11


def read_config(bundle: str) -> dict[str, Any]:
    """The configuration of a bundle, valid. Raises NotFound, RuntimeFailed, InvalidOption, Unsupported."""
    spec = load_config(bundle)
    validate_config(spec)
    return dict(spec)


def load_config(bundle: str) -> Any:
    """The configuration of a bundle as it stands. Raises NotFound, RuntimeFailed."""
    path = os.path.join(bundle, "config.json")
    try:
        return loads(_read_regular(path))
    except FileNotFoundError as error:
        raise NotFound("bundle", bundle, "it has no config.json; `stowage-runtime spec` writes one") from error
    except (OSError, ValueError, RecursionError) as error:
        raise RuntimeFailed(f"{path}: cannot be read as JSON: {error}") from error


def _read_regular(path: str) -> bytes:
    """All of a file that is a regular one: whatever else is there could keep us waiting."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    with open(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("it is not a regular file")
        return file.read()


def validate_config(spec: Any, *, mounted: bool = True) -> None:
    """Raise InvalidOption or Unsupported at the first thing that cannot be meant or done.

    Not ``mounted``: the namespaces that it joins by their path are not there yet.
    """
    _hold(spec, CONFIG, "config.json")
    linux = spec.get("linux") or {}
    if spec.get("process") is not None:
        _check_process(spec["process"])
    namespaces = _check_namespaces(spec, linux, mounted=mounted)
    _check_linux(linux, namespaces)
    validate_mounts(spec, namespaces)


def validate_process(process: Any) -> None:
    """The same for a process on its own (``exec --process``)."""
    _hold(process, PROCESS, "process")
    _check_process(process)


def validate_resources(resources: Any) -> None:
    """The same for ``linux.resources`` on their own (``update``)."""
    _hold(resources, RESOURCES, "linux.resources")
    _check_resources(resources)


def _hold(value: Any, kind: Kind, name: str) -> None:
    """Hold ``value`` against the schema; ``name`` is how it is told of, and what its own members' paths begin with."""
    try:
        kind.check(value)
    except Fault as fault:
        where = fault.place if name == "config.json" and fault.place else fault.inside(name).place
        raise InvalidOption(where, fault.value, fault.expected + _known_as(where)) from None


def _known_as(where: str) -> str:
    """What those who read the messages of runc look for."""
    for name in ("mode", "flag", "node"):
        if where.startswith(f"linux.memoryPolicy.{name}"):
            return f" (invalid memory policy {name})"
    return ""


def _check_process(process: Mapping[str, Any]) -> None:
    if not process["args"] or not process["args"][0]:
        raise InvalidOption("process.args", process["args"], "at least the program to run")
    size = process.get("consoleSize")
    if size and process.get("terminal") and max(size["height"], size["width"]) > 0xFFFF:
        raise InvalidOption("process.consoleSize", size, "numbers to 65535, which is what a terminal can have")
    seen = set()
    for index, limit in enumerate(process.get("rlimits") or ()):
        if limit["type"] in seen:
            raise InvalidOption(f"process.rlimits[{index}].type", limit["type"], "each limit once")
        seen.add(limit["type"])
        if limit["soft"] > limit["hard"]:
            raise InvalidOption(f"process.rlimits[{index}].soft", limit["soft"], f"at most hard, {limit['hard']}")
    if process.get("scheduler") or process.get("execCPUAffinity"):
        from ..steps.scheduling import check_process  # rarely asked for

        check_process(process)
    if process.get("apparmorProfile") or process.get("selinuxLabel"):
        from ..steps.labels import check_labels  # rarely asked for

        check_labels(process)


def _check_namespaces(spec: Mapping[str, Any], linux: Mapping[str, Any], *, mounted: bool) -> Mapping[str, str]:
    """The types of namespace that there are, with the path of those that are joined."""
    namespaces: dict[str, str] = {}
    for index, entry in enumerate(linux.get("namespaces") or ()):
        kind, path = entry["type"], entry.get("path") or ""
        if kind in namespaces:
            raise InvalidOption(f"linux.namespaces[{index}].type", kind, "each type once")
        namespaces[kind] = path
        if path and mounted:
            _check_joined(f"linux.namespaces[{index}].path", path, kind)
    if namespaces.get("mount") != "":
        from ..shared_mounts import check_shared_mounts  # next to nobody does without a mount namespace

        check_shared_mounts(spec, linux)
    for name in ("hostname", "domainname"):
        if spec.get(name) and "uts" not in namespaces:
            raise InvalidOption(name, spec[name], "nothing, because linux.namespaces has no uts namespace")
    for name in ("uidMappings", "gidMappings"):
        # Where one is joined they mean nothing, and podman gives some.
        if linux.get(name) and "user" not in namespaces:
            raise InvalidOption(f"linux.{name}", linux[name], "nothing without a user namespace")
        if namespaces.get("user") == "" and not linux.get(name):
            raise InvalidOption(f"linux.{name}", linux.get(name), "a mapping for the new user namespace")
    if "user" in namespaces:
        from ..mappings import check_mappings  # what a container without a user namespace needs nothing of

        check_mappings(spec)
    return namespaces


def _check_joined(where: str, path: str, kind: str) -> None:
    """That ``path`` is a namespace of that type (config-linux.md, Namespaces)."""
    expected = f"a {kind} namespace that exists, such as /proc/1/ns/{NAMESPACES[kind][1]}"
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening anything else could do something
            raise InvalidOption(where, path, expected)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if fcntl.ioctl(fd, _NS_GET_NSTYPE) != NAMESPACES[kind][0]:
                raise InvalidOption(where, path, expected)
        finally:
            os.close(fd)
    except OSError as error:
        raise InvalidOption(where, path, f"{expected} ({error.strerror})") from error


def _check_linux(linux: Mapping[str, Any], namespaces: Mapping[str, str]) -> None:
    for name in linux.get("sysctl") or ():
        _check_sysctl(name, namespaces)
    for index, device in enumerate(linux.get("devices") or ()):
        if device["type"] != "p":
            _check_device(f"linux.devices[{index}]", device)
    if linux.get("resources"):
        _check_resources(linux["resources"])
    if any(linux.get(name) is not None for name in _RARE):
        _check_rare(linux, namespaces)
    seccomp = linux.get("seccomp") or {}
    if seccomp.get("listenerPath"):
        return
    if any(rule["action"] == "SCMP_ACT_NOTIFY" for rule in seccomp.get("syscalls") or ()):
        raise InvalidOption("linux.seccomp.listenerPath", None, "the socket of an agent, for SCMP_ACT_NOTIFY")
    if seccomp.get("listenerMetadata"):
        raise InvalidOption(
            "linux.seccomp.listenerMetadata", seccomp["listenerMetadata"], "nothing without listenerPath"
        )


def _check_rare(linux: Mapping[str, Any], namespaces: Mapping[str, str]) -> None:
    """Each with the modules that do it, which most containers need nothing of."""
    if linux.get("timeOffsets"):
        from ..steps.time_offsets import parse_time_offsets  # see above

        if namespaces.get("time") != "":
            raise InvalidOption("linux.timeOffsets", linux["timeOffsets"], "nothing without a new time namespace")
        parse_time_offsets(linux)
    if linux.get("memoryPolicy") or linux.get("personality"):
        from ..steps.scheduling import check_linux  # see above

        check_linux(linux)
    if linux.get("netDevices"):
        from ..steps.net_devices import check_net_devices  # see above

        check_net_devices(linux["netDevices"], namespaces)
    if linux.get("intelRdt") is not None:
        from ..intel_rdt import check_intel_rdt  # see above

        check_intel_rdt(linux["intelRdt"])


def _check_device(where: str, device: Mapping[str, Any]) -> None:
    """makedev(3): 12 bits for the kind of device and 20 for the one of it."""
    for name, greatest in (("major", 0xFFF), ("minor", 0xFFFFF)):
        number = device.get(name)
        if number is None or not 0 <= number <= greatest:
            raise InvalidOption(f"{where}.{name}", number, f"a number from 0 to {greatest}")


def _check_resources(resources: Mapping[str, Any]) -> None:
    """What belongs together (config-linux.md, Control groups)."""
    where = "linux.resources"
    cpu = resources.get("cpu") or {}
    if cpu.get("burst") and 0 < (cpu.get("quota") or 0) < cpu["burst"]:
        raise InvalidOption(f"{where}.cpu.burst", cpu["burst"], f"at most the quota, {cpu['quota']}")
    for index, device in enumerate((resources.get("blockIO") or {}).get("weightDevice") or ()):
        if device.get("weight") is None and device.get("leafWeight") is None:
            raise InvalidOption(f"{where}.blockIO.weightDevice[{index}]", device, "weight or leafWeight, or both")
    for name, limits in (resources.get("rdma") or {}).items():
        if limits.get("hcaHandles") is None and limits.get("hcaObjects") is None:
            raise InvalidOption(f"{where}.rdma.{name}", limits, "hcaHandles or hcaObjects, or both")


def _check_sysctl(name: str, namespaces: Mapping[str, str]) -> None:
    """A sysctl must belong to a namespace of the container: others are the host's (runtime-spec, Sysctl)."""
    kind = namespace_of_sysctl(name)
    if not kind:
        raise InvalidOption(f"linux.sysctl.{name}", name, "a setting that belongs to a namespace; this is the host's")
    path = namespaces.get(kind)
    if path is None or (path and os.path.samefile(path, f"/proc/self/ns/{NAMESPACES[kind][1]}")):
        expected = f"a {kind} namespace in linux.namespaces to go with it, not that of the runtime"
        raise InvalidOption(f"linux.sysctl.{name}", name, expected)
