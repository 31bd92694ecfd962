# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which kind of cgroups this host has."""

from __future__ import annotations

import os

from ..errors import Unsupported
from ..linux.cgroupfs import Hierarchy, observe_hierarchies
from .interface import Cgroups
from .systemd import Systemd
from .units import Units
from .v1.manager import CONTROLLERS, V1
from .v2.manager import V2

__all__ = ["Cgroups", "open_cgroups"]


def open_cgroups(instance: str) -> Cgroups:
    """The cgroups of this host that belong to ``instance`` (paths.Paths.instance). It changes nothing.

    v1 where a controller of our limits is mounted as v1 (a hybrid host too), else v2, through systemd where that owns
    the tree. Raises Unsupported where no cgroup file system is mounted.
    """
    hierarchies = observe_hierarchies()
    unified = [hierarchy.mount for hierarchy in hierarchies if hierarchy.version == 2]
    if any(controller.name in hierarchy.controllers for hierarchy in hierarchies for controller in CONTROLLERS):
        trees = [hierarchy for hierarchy in hierarchies if hierarchy.version == 1]
        return V1(instance, trees, Units() if _systemd_owns(trees) else None)
    if not unified:
        raise Unsupported(
            "no cgroup hierarchy is mounted (looked in /proc/self/mountinfo); mount one: "
            "mount -t cgroup2 cgroup2 /sys/fs/cgroup"
        )
    mount = unified[-1]
    if _systemd_owns([Hierarchy(mount, 2)]):
        return Systemd(instance, mount, Units())
    return V2(instance, mount)


def _systemd_owns(hierarchies: list[Hierarchy]) -> bool:
    """Whether systemd runs (sd_booted(3)) and these hierarchies are its own, not those of a container on its host."""
    return os.path.isdir("/run/systemd/system") and any(
        os.path.isdir(f"{hierarchy.mount}/init.scope") for hierarchy in hierarchies
    )
