# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The OCI configuration of a container of ours: docker's defaults, and what the model says on top. Pure.

``process.user`` is 0:0 here; who the model's ``user`` is can only be told inside the image, so the monitor fills it in
(users.py). Source: moby's oci/defaults.go, runtime-spec 1.3.
"""

from __future__ import annotations

from ..linux.capabilities import CAPABILITIES, plan_capabilities
from ..linux.seccomp_default import default_profile
from ..model.cgroup import CPU_PERIOD, UNLIMITED
from .devices import NEEDED_RULES
from .state import OCI_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..model.cgroup import Limits
    from ..model.container import Container

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

MASKED_PATHS = (
    *("/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats"),
    *("/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats"),
    *("/sys/devices/virtual/powercap", "/sys/firmware"),
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

# Destination, type, source, options.
_MOUNTS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("/proc", "proc", "proc", ("nosuid", "noexec", "nodev")),
    ("/dev", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
    ("/dev/pts", "devpts", "devpts", ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")),
    ("/sys", "sysfs", "sysfs", ("nosuid", "noexec", "nodev", "ro")),
    ("/sys/fs/cgroup", "cgroup", "cgroup", ("ro", "nosuid", "noexec", "nodev")),
    ("/dev/mqueue", "mqueue", "mqueue", ("nosuid", "noexec", "nodev")),
    ("/dev/shm", "tmpfs", "shm", ("nosuid", "noexec", "nodev", "mode=1777", "size=65536k")),
)

_NAMESPACES = ("mount", "pid", "uts", "ipc", "network", "cgroup")

# Files of the container's run directory, and where they are bound.
ETC_FILES = ("hosts", "hostname", "resolv.conf")

_TMPFS_DEFAULTS = ["noexec", "nosuid", "nodev"]


def oci_spec(container: Container, *, rootfs: str, run_directory: str, cgroups_path: str) -> dict[str, Any]:
    """The config.json of ``container``."""
    security = container.security
    privileged = security.privileged
    base = CAPABILITIES if privileged else plan_capabilities(security.cap_add, security.cap_drop)
    capabilities = list(base)
    spec: dict[str, Any] = {
        "ociVersion": OCI_VERSION,
        "hostname": container.hostname or container.name,
        "root": {"path": rootfs, "readonly": security.read_only},
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": list(container.args),
            "env": _environment(container),
            "cwd": container.working_dir or "/",
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), capabilities),
            "noNewPrivileges": security.no_new_privileges and not privileged,
            "oomScoreAdj": 0,
        },
        "mounts": _mounts(container, run_directory),
        "annotations": {"org.stowage.container": container.name, "org.stowage.image": container.image},
        "linux": {
            "namespaces": [{"type": name} for name in _NAMESPACES],
            "cgroupsPath": cgroups_path,
            "resources": {**oci_resources(container.limits), "devices": _device_rules(privileged)},
            "maskedPaths": [] if privileged else list(MASKED_PATHS),
            "readonlyPaths": [] if privileged else list(READONLY_PATHS),
        },
    }
    if not privileged:
        spec["linux"]["seccomp"] = default_profile(capabilities)
    return spec


def _environment(container: Container) -> list[str]:
    given = dict(container.env)
    defaults = {"PATH": DEFAULT_PATH, "HOSTNAME": container.hostname or container.name}
    return [f"{name}={value}" for name, value in {**defaults, **given}.items()]


def _mounts(container: Container, run_directory: str) -> list[dict[str, Any]]:
    writable = container.security.privileged
    mounts = [
        {
            "destination": destination,
            "type": fstype,
            "source": source,
            "options": [o for o in options if not (writable and o == "ro")],
        }
        for destination, fstype, source, options in _MOUNTS
    ]
    mounts += [
        {
            "destination": f"/etc/{name}",
            "type": "bind",
            "source": f"{run_directory}/{name}",
            "options": ["rbind", "rprivate"],
        }
        for name in ETC_FILES
    ]
    mounts += [_tmpfs(text) for text in container.tmpfs]
    for volume in container.volumes:
        access = "ro" if volume.read_only else "rw"
        options = ["rbind", "rprivate", "nodev", access]
        mounts.append({"destination": volume.target, "type": "bind", "source": volume.source, "options": options})
    return mounts


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


def shares_of_weight(weight: int) -> int:
    """v2's weight (1 to 10000, 100) as v1's shares (2 to 262144), as runc maps them."""
    return 2 - (1 - weight) * 262142 // 9999  # rounded up, so that the way back, rounded down, leads to the same


def weight_of_shares(shares: int) -> int:
    """v1's shares as v2's weight."""
    return 1 + ((max(2, min(shares, 262144)) - 2) * 9999) // 262142
