# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host has and lacks for Stowage, as findings that say what to do. Reads only; loads no kernel module."""

from __future__ import annotations

import gzip
import importlib.util
import os
import platform
import re
import shutil
import sys
from dataclasses import dataclass

from .cgroup.manager import open_cgroups
from .demands import IDMAPPED_OVERLAY
from .errors import EngineError

OK = "ok"
WARNING = "warning"
FAILED = "failed"

# Names of loadable modules, and of the options that build them in (Kconfig).
_FEATURES = {
    "overlay": ("CONFIG_OVERLAY_FS", FAILED, "image layers are mounted with overlayfs; use a kernel that has it"),
    "bridge": ("CONFIG_BRIDGE", WARNING, "needed for networks; install the kernel's extra modules"),
    "veth": ("CONFIG_VETH", WARNING, "needed for networks; install the kernel's extra modules"),
    "vxlan": ("CONFIG_VXLAN", WARNING, "needed for overlay networks; install the kernel's extra modules"),
    "nf_tables": ("CONFIG_NF_TABLES", WARNING, "needed for published ports; install the kernel's extra modules"),
}
_NAMESPACES = ("mnt", "pid", "uts", "ipc", "net", "cgroup", "user")
_OLDEST_KERNEL = (5, 3)  # pidfd_open(2)


@dataclass(frozen=True)
class Finding:
    """One look at the host: what was looked at, how it stands (ok, warning, failed), what was found, what to do."""

    check: str
    status: str
    found: str
    advice: str = ""


def observe_findings(instance: str, root: str = "/") -> list[Finding]:
    """All findings, in an order that a reader would ask for them. ``root`` has the host's /proc, /sys and /boot."""
    release = os.uname().release
    return [
        _privilege(os.geteuid()),
        _kernel(release),
        _python(),
        _namespaces(root),
        _seccomp(root),
        _own_ids(release),
        *_features(root, release),
        _cgroups(instance),
        _pyroute2(),
        _nft(),
    ]


def _privilege(uid: int) -> Finding:
    if uid == 0:
        return Finding("privilege", OK, "root")
    return Finding("privilege", FAILED, f"user id {uid}", "run with become: true")


def _kernel(release: str) -> Finding:
    numbers = re.match(r"(\d+)\.(\d+)", release)
    if numbers and (int(numbers[1]), int(numbers[2])) >= _OLDEST_KERNEL:
        return Finding("kernel", OK, f"Linux {release} {platform.machine()}")
    oldest = ".".join(str(number) for number in _OLDEST_KERNEL)
    return Finding("kernel", FAILED, f"Linux {release}", f"Linux {oldest} or newer is needed")


def _python() -> Finding:
    """An older one than 3.9 does not come this far: it cannot import the engine."""
    return Finding("python", OK, f"Python {platform.python_version()} ({sys.executable})")


def _namespaces(root: str) -> Finding:
    missing = [name for name in _NAMESPACES if not os.path.exists(os.path.join(root, "proc/self/ns", name))]
    if not missing:
        return Finding("namespaces", OK, ", ".join(_NAMESPACES))
    status = WARNING if missing == ["user"] else FAILED
    return Finding("namespaces", status, "missing: " + ", ".join(missing), "use a kernel that has them")


def _seccomp(root: str) -> Finding:
    if os.path.exists(os.path.join(root, "proc/sys/kernel/seccomp/actions_avail")):
        return Finding("seccomp", OK, "filter mode")
    return Finding("seccomp", FAILED, "no filter mode", "use a kernel with CONFIG_SECCOMP_FILTER")


def _own_ids(release: str) -> Finding:
    numbers = re.match(r"(\d+)\.(\d+)", release)
    oldest = ".".join(map(str, IDMAPPED_OVERLAY))
    if numbers and (int(numbers[1]), int(numbers[2])) >= IDMAPPED_OVERLAY:
        return Finding("ids of a container's own", OK, "layers can be mounted with other ids")
    return Finding(
        "ids of a container's own", WARNING, f"Linux {release}", f"needed for userns: Linux {oldest} or newer"
    )


def _features(root: str, release: str) -> list[Finding]:
    known = _known_features(root, release)
    present = {line.split()[-1] for line in _lines(os.path.join(root, "proc/filesystems"))}
    findings = []
    for module, (option, severity, advice) in _FEATURES.items():
        check = f"kernel feature {module}"
        loaded = module in present or os.path.exists(os.path.join(root, "sys/module", module))
        if loaded or not known.isdisjoint((module, option)):
            findings.append(Finding(check, OK, "available"))
        elif known:
            findings.append(Finding(check, severity, "missing", advice))
        else:
            findings.append(Finding(check, WARNING, "unknown: no kernel configuration to read", advice))
    return findings


def _known_features(root: str, release: str) -> set[str]:
    """Modules that can be loaded or are built in, and options that are set, from whatever this host keeps."""
    known = set()
    for name in ("modules.dep", "modules.builtin"):
        for line in _lines(os.path.join(root, "lib/modules", release, name)):
            known.add(os.path.basename(line.split(":")[0].strip()).split(".ko")[0].replace("-", "_"))
    for name in ("proc/config.gz", f"boot/config-{release}"):
        for line in _lines(os.path.join(root, name)):
            option, _eq, value = line.strip().partition("=")
            if value in ("y", "m"):
                known.add(option)
    return known


def _lines(path: str) -> list[str]:
    opener = gzip.open if path.endswith(".gz") else open
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            return list(file)
    except OSError:
        return []


def _cgroups(instance: str) -> Finding:
    try:
        kind = open_cgroups(instance).kind
    except EngineError as error:
        return Finding("cgroups", FAILED, str(error), "mount the cgroup hierarchies (cgroups(7))")
    told = {"v1": "version 1 (or hybrid)", "v2": "version 2", "systemd": "version 2, managed by systemd"}
    return Finding("cgroups", OK, told.get(kind, kind))


def _pyroute2() -> Finding:
    if importlib.util.find_spec("pyroute2"):
        return Finding("pyroute2", OK, "importable")
    return Finding("pyroute2", WARNING, "missing", "needed for networks: install python3-pyroute2")


def _nft() -> Finding:
    if importlib.util.find_spec("nftables") or shutil.which("nft"):
        return Finding("nftables", OK, "nft or its Python binding")
    return Finding("nftables", WARNING, "missing", "needed for published ports: install nftables")
