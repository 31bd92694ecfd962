# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The OCI configuration of a container of ours: docker's defaults, and what the model says on top. Pure.

``process.user`` is 0:0 here; who the model's ``user`` is can only be told inside the image, so the monitor fills it in
(users.py). Source: moby's oci/defaults.go, runtime-spec 1.3.
"""

from __future__ import annotations

import os

from ..cgroup.shares import shares_of_weight
from ..linux.capabilities import CAPABILITIES, plan_capabilities
from ..linux.seccomp_default import default_profile
from ..model.cgroup import CPU_PERIOD, UNLIMITED
from ..model.container import JOIN
from ..runtime.config.defaults import DEFAULT_PATH, MASKED_PATHS, READONLY_PATHS
from ..runtime.state import OCI_VERSION
from ..runtime.steps.devices import NEEDED_RULES
from .provisions import Provisions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..model.cgroup import Limits
    from ..model.container import Container, IdMap, Security, Ulimit, Volume

_TTY = 5  # the group of terminals, on every distribution

# Destination, type, source, options.
_MOUNTS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("/proc", "proc", "proc", ("nosuid", "noexec", "nodev")),
    ("/dev", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
    ("/dev/pts", "devpts", "devpts", ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", f"gid={_TTY}")),
    ("/sys", "sysfs", "sysfs", ("nosuid", "noexec", "nodev", "ro")),
    ("/sys/fs/cgroup", "cgroup", "cgroup", ("ro", "nosuid", "noexec", "nodev")),
    ("/dev/mqueue", "mqueue", "mqueue", ("nosuid", "noexec", "nodev")),
    ("/dev/shm", "tmpfs", "shm", ("nosuid", "noexec", "nodev", "mode=1777", "size=65536k")),
)

_NAMESPACES = ("mount", "pid", "uts", "ipc", "network", "cgroup")

# What proc_pid_ns(5) calls a namespace where it is not by its type.
_LINKS = {"network": "net"}

# Files of the container's run directory, and where they are bound.
ETC_FILES = ("hosts", "hostname", "resolv.conf")

_TMPFS_DEFAULTS = ["noexec", "nosuid", "nodev"]

INIT = "/sbin/docker-init"

_SELINUX_PARTS = ("user", "role", "type", "level")


def oci_spec(
    container: Container, *, rootfs: str, run_directory: str, cgroups_path: str, provisions: Provisions | None = None
) -> dict[str, Any]:
    """The config.json of ``container``; ``provisions`` are what it takes from this host (provisions.py)."""
    found = provisions or Provisions()
    security, namespaces = container.security, container.namespaces
    base = CAPABILITIES if security.privileged else plan_capabilities(security.cap_add, security.cap_drop)
    capabilities = list(base)
    spec: dict[str, Any] = {
        # crun before 1.9 takes no other than 1.0, and there is nothing newer in here.
        "ociVersion": "1.0.2" if container.runtime else OCI_VERSION,
        "root": {"path": rootfs, "readonly": security.read_only},
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": [*([INIT, "--"] if container.init else []), *container.args],
            "env": _environment(container),
            "cwd": container.working_dir or "/",
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), capabilities),
            "noNewPrivileges": security.no_new_privileges and not security.privileged,
            "oomScoreAdj": container.oom_score_adj,
        },
        "mounts": _mounts(container, rootfs, run_directory, found),
        "annotations": {"org.stowage.container": container.name, "org.stowage.image": container.image},
        "linux": {
            "cgroupsPath": cgroups_path,
            **_namespaces(container, run_directory),
            **_linux(container, capabilities, found),
        },
    }
    if namespaces.uts == "private":
        spec["hostname"] = container.hostname or container.name
    if container.ulimits:
        spec["process"]["rlimits"] = [_rlimit(ulimit) for ulimit in container.ulimits]
    profile = security.apparmor or found.apparmor
    if profile and profile != "unconfined":
        spec["process"]["apparmorProfile"] = profile
    if security.label and security.label != ("disable",):
        spec["process"]["selinuxLabel"], spec["linux"]["mountLabel"] = selinux_labels(security.label)
    return spec


def _namespaces(container: Container, run_directory: str) -> dict[str, Any]:
    """The namespaces that are its own or joined, and the ids of a user namespace."""
    wanted = container.namespaces
    shared = {"pid": wanted.pid_mode, "ipc": wanted.ipc_mode, "uts": wanted.uts, "network": wanted.network_mode}
    entries = [{"type": name} for name in _NAMESPACES if shared.get(name) != "host"]
    for entry in entries:
        if shared.get(entry["type"], "").startswith(JOIN):
            entry["path"] = joined_namespace(run_directory, _LINKS.get(entry["type"], entry["type"]))
    if not wanted.uid_map:
        return {"namespaces": entries}
    return {
        "namespaces": [*entries, {"type": "user"}],
        "uidMappings": _mappings(wanted.uid_map),
        "gidMappings": _mappings(wanted.gid_map),
    }


def _mappings(ids: IdMap) -> list[dict[str, int]]:
    return [{"containerID": inside, "hostID": outside, "size": size} for inside, outside, size in ids]


def _linux(container: Container, capabilities: Sequence[str], found: Provisions) -> dict[str, Any]:
    """What is limited, hidden and filtered."""
    security = container.security
    own_ids = bool(container.namespaces.uid_map)
    sysctls = {**found.sysctls, **dict(container.sysctls)}
    rules = [*_device_rules(security.privileged), *map(parse_device_rule, container.device_cgroup_rules)]
    if not security.privileged:
        rules += [
            {"allow": True, **{name: device[name] for name in ("type", "major", "minor", "access")}}
            for device in found.devices
        ]
    linux: dict[str, Any] = {
        "resources": {**oci_resources(container.limits), "devices": rules},
        "maskedPaths": [*_shown([*MASKED_PATHS, *found.masked], security), *security.mask],
        "readonlyPaths": _shown(READONLY_PATHS, security),
    }
    if sysctls:
        linux["sysctl"] = sysctls
    if found.devices and not own_ids:
        left_out = ("access", "source")
        linux["devices"] = [{k: v for k, v in device.items() if k not in left_out} for device in found.devices]
    profile = security.seccomp or ("unconfined" if security.privileged else "")
    if found.seccomp is not None:
        from .seccomp_file import fit_profile  # few have one of their own

        linux["seccomp"] = fit_profile(found.seccomp, capabilities)
    elif profile != "unconfined":
        linux["seccomp"] = default_profile(capabilities)
    return linux


def _shown(paths: Sequence[str], security: Security) -> list[str]:
    """Those of docker's paths that stay masked or read-only."""
    if security.privileged or "ALL" in security.unmask:
        return []
    return [path for path in paths if path not in security.unmask]


def parse_device_rule(text: str) -> dict[str, Any]:
    """docker's ``--device-cgroup-rule``, ``c 42:* rwm``, which the model holds only where it is one."""
    kind, numbers, access = text.split()
    rule: dict[str, Any] = {"allow": True, "type": kind, "access": access}
    for name, number in zip(("major", "minor"), numbers.split(":")):
        if number != "*":
            rule[name] = int(number)
    return rule


def _rlimit(ulimit: Ulimit) -> dict[str, Any]:
    soft, hard = (value if value != UNLIMITED else (1 << 64) - 1 for value in (ulimit.soft, ulimit.hard))
    return {"type": f"RLIMIT_{ulimit.name.upper()}", "soft": soft, "hard": hard}


def selinux_labels(options: Sequence[str]) -> tuple[str, str]:
    """The labels of the process and of the files, docker's but for the parts that ``options`` name."""
    process = {"user": "system_u", "role": "system_r", "type": "container_t", "level": "s0"}
    given = dict(option.partition(":")[::2] for option in options)
    process.update({name: given[name] for name in _SELINUX_PARTS if name in given})
    file_type = given.get("filetype", "container_file_t")
    return ":".join(process.values()), f"{process['user']}:object_r:{file_type}:{process['level']}"


def _environment(container: Container) -> list[str]:
    given = dict(container.env)
    defaults = {"PATH": DEFAULT_PATH, "HOSTNAME": container.hostname or container.name}
    return [f"{name}={value}" for name, value in {**defaults, **given}.items()]


def _mounts(container: Container, rootfs: str, run_directory: str, found: Provisions) -> list[dict[str, Any]]:
    mounts = [_mount(container, run_directory, *entry) for entry in _MOUNTS]
    mounts += [_bind(f"{_etc_directory(container, run_directory, name)}/{name}", f"/etc/{name}") for name in ETC_FILES]
    mounts += [_tmpfs(text) for text in container.tmpfs]
    for index, volume in enumerate(container.volumes):
        source = volume.source
        if volume.idmap and container.namespaces.uid_map:
            source = idmapped_volume(run_directory, index)
        mounts.append(_bind(source, volume.target, *_volume_options(volume, found.flags.get(volume.source, ()))))
    if container.init:
        mounts.append(_bind(os.path.join(os.path.dirname(rootfs), "init"), INIT, "ro"))
    if container.namespaces.uid_map:
        # Nodes cannot be made in a user namespace (mknod(2), EPERM): the host's own are bound.
        mounts += [_bind(device["source"], device["path"]) for device in found.devices]
    return mounts


def mount_targets(container: Container) -> list[str]:
    """Where something is mounted in its root, absolute."""
    targets = [destination for destination, *_rest in _MOUNTS] + [f"/etc/{name}" for name in ETC_FILES]
    targets += [text.partition(":")[0] for text in container.tmpfs] + [volume.target for volume in container.volumes]
    targets += [device.target for device in container.devices]
    return [*targets, INIT] if container.init else targets


def _etc_directory(container: Container, run_directory: str, name: str) -> str:
    """Names, and who tells of them, are of a network: with another container's come its files."""
    other = container.namespaces.joined.get("network_mode")
    return run_directory if name == "hostname" or not other else f"{os.path.dirname(run_directory)}/{other}"


def _mount(
    container: Container, run_directory: str, destination: str, fstype: str, source: str, options: Sequence[str]
) -> dict[str, Any]:
    namespaces = container.namespaces
    if destination == "/dev/shm" and namespaces.ipc_mode != "private":
        if namespaces.ipc_mode == "host":
            return _bind(destination, destination)
        return _bind(joined_namespace(run_directory, "shm"), destination, *options[:3])
    dropped = {"ro"} if container.security.privileged else set()
    if namespaces.gid_map and not any(first <= _TTY < first + size for first, _host, size in namespaces.gid_map):
        dropped.add(f"gid={_TTY}")
    kept = [option for option in options if option not in dropped]
    if destination == "/dev/shm":
        kept = [*kept[:-1], f"size={container.shm_size}"]
    return {"destination": destination, "type": fstype, "source": source, "options": kept}


def _volume_options(volume: Volume, flags: Sequence[str]) -> list[str]:
    """A bind loses what its source's mount forbids as soon as one flag is named, with every runtime: so name them."""
    kept = [flag for flag in flags if flag not in ("nodev", "ro")]
    return ["nodev", "ro" if volume.read_only or "ro" in flags else "rw", *kept]


def _bind(source: str, destination: str, *options: str) -> dict[str, Any]:
    return {"destination": destination, "type": "bind", "source": source, "options": ["rbind", "rprivate", *options]}


def idmapped_stage(run_directory: str) -> str:
    """Where the creator mounts root and volumes with the container's ids, out of the host's sight (idmapped.py)."""
    return f"{run_directory}/idmapped"


def idmapped_volume(run_directory: str, index: int) -> str:
    """A volume there, from where the container binds it."""
    return f"{idmapped_stage(run_directory)}/volume{index}"


def joined_namespace(run_directory: str, name: str) -> str:
    """Where the creator mounts a namespace that the container joins, or its shared memory, as above (joined.py)."""
    return f"{run_directory}/joined/{name}"


def _tmpfs(text: str) -> dict[str, Any]:
    """docker's ``--tmpfs``: a path, or ``path:option,option``."""
    path, _colon, options = text.partition(":")
    given = options.split(",") if options else []
    return {"destination": path, "type": "tmpfs", "source": "tmpfs", "options": _TMPFS_DEFAULTS + given}


def _device_rules(privileged: bool) -> list[dict[str, Any]]:
    """docker's: nothing, but making nodes of any kind, and the default devices and terminals."""
    if privileged:
        return [{"allow": True, "access": "rwm"}]
    return [{"allow": False, "access": "rwm"}, *NEEDED_RULES]


def oci_resources(limits: Limits) -> dict[str, Any]:
    """``linux.resources`` for those limits that are managed."""
    memory = {"limit": limits.memory, "reservation": limits.memory_reservation, "swap": limits.memory_swap}
    cpu: dict[str, Any] = {"cpus": limits.cpuset_cpus, "mems": limits.cpuset_mems}
    if limits.cpu_quota is not None:
        cpu.update(quota=limits.cpu_quota, period=CPU_PERIOD)
    if limits.cpu_weight is not None and limits.cpu_weight != UNLIMITED:
        cpu["shares"] = shares_of_weight(limits.cpu_weight)
    resources = {"memory": memory, "cpu": cpu, "pids": {"limit": limits.pids}}
    return {
        kind: {name: value for name, value in values.items() if value is not None}
        for kind, values in resources.items()
        if any(value is not None for value in values.values())
    }
