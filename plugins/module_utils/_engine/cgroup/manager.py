# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which kind of cgroups this host has."""

from __future__ import annotations

import os

from ..errors import Unsupported
from ..linux.cgroupfs import Hierarchy, observe_hierarchies
from ..linux.process import in_user_namespace
from .interface import Cgroups
from .place import is_scope

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .units import Units

__all__ = ["Cgroups", "open_cgroups"]

# A hierarchy of one of these makes a host one of v1.
_V1 = frozenset(("memory", "cpu", "cpuset", "pids"))


def open_cgroups(instance: str, cgroups_path: str = "") -> Cgroups:
    """The cgroups of this host that belong to ``instance`` (paths.Paths.instance). It changes nothing.

    v1 where a controller of our limits is mounted as v1 (a hybrid host too), else v2, through systemd where that owns
    the tree: for a scope ``cgroups_path`` of an ordinary user's, that is the user's own. Raises Unsupported where no
    cgroup file system is mounted.
    """
    hierarchies = observe_hierarchies()
    unified = [hierarchy.mount for hierarchy in hierarchies if hierarchy.version == 2]
    if any(not _V1.isdisjoint(hierarchy.controllers) for hierarchy in hierarchies):
        from .v1.manager import V1  # a host is of one kind, and each process of the runtime's loads but that

        trees = [hierarchy for hierarchy in hierarchies if hierarchy.version == 1]
        return V1(instance, trees, _open_units(trees), unified=unified[-1] if unified else "")
    if not unified:
        raise Unsupported(
            "no cgroup hierarchy is mounted (looked in /proc/self/mountinfo); mount one: "
            "mount -t cgroup2 cgroup2 /sys/fs/cgroup"
        )
    mount = unified[-1]
    if is_scope(cgroups_path) and _is_ordinary_user():
        from .user_scope import open_user_scopes  # ordinary users alone

        return open_user_scopes(instance, mount)
    units = _open_units([Hierarchy(mount, 2)])
    if units:
        from .systemd import Systemd  # a host is of one kind

        return Systemd(instance, mount, units)
    from .v2.manager import V2  # a host is of one kind

    return V2(instance, mount)


def _open_units(hierarchies: list[Hierarchy]) -> Units | None:
    """systemd, where it runs (sd_booted(3)) and these hierarchies are its own, not those of a container on its host."""
    if not os.path.isdir("/run/systemd/system") or _is_ordinary_user():
        return None
    if not any(os.path.isdir(f"{hierarchy.mount}/init.scope") for hierarchy in hierarchies):
        return None
    from .units import Units  # a host without systemd needs no D-Bus

    return Units()


def _is_ordinary_user() -> bool:
    """Whether systemd's process 1 is not ours to ask: root of a user namespace may have one of its own in there."""
    if os.geteuid() != 0:
        return True
    try:
        return in_user_namespace() and os.stat("/run/systemd/private").st_uid != 0
    except OSError:
        return True
