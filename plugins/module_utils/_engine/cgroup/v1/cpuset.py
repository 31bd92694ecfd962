# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processors and memory nodes on v1 (cgroup-v1/cpusets.rst).

A new cpuset has neither, and no task may join it until it has both (ENOSPC), so ours take their parents' lists. A
list that was taken so follows when the parent's is changed; the kernel itself would refuse the change (EBUSY).
"""

from __future__ import annotations

import errno
import os

from ...linux.cgroupfs import read_value, walk_cgroups
from ...model.quantities import format_cpu_list, parse_cpu_list
from ..controller import Controller, write_limit, write_setting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ...model.cgroup import Limits

CPUS = "cpuset.cpus"
MEMS = "cpuset.mems"

_BECAUSE = {
    errno.EACCES: "the parent cgroup does not have all of them",
    errno.ERANGE: "this host does not have all of them",
    errno.EINVAL: "this host does not have all of them",
    errno.EBUSY: "a child cgroup uses more than these",
    errno.ENOSPC: "processes are in the cgroup, so it cannot be without any",
}


def observe_cpuset(directory: str) -> dict[str, int | str]:
    return {
        "cpuset_cpus": read_value(f"{directory}/{CPUS}") or "",
        "cpuset_mems": read_value(f"{directory}/{MEMS}") or "",
    }


def apply_cpuset(directory: str, limits: Limits) -> None:
    for file, value in ((CPUS, limits.cpuset_cpus), (MEMS, limits.cpuset_mems)):
        if value is not None:
            _apply_list(directory, file, value or _parent_value(directory, file))


def _apply_list(directory: str, file: str, value: str) -> None:
    old = read_value(f"{directory}/{file}") or ""
    below = [cgroup for cgroup in walk_cgroups(directory) if cgroup != directory]
    heirs = [cgroup for cgroup in below if read_value(f"{cgroup}/{file}") == old]
    if heirs:
        # At any instant a child has no more than its parent: first all get both lists, from the top, then the new one.
        both = format_cpu_list(parse_cpu_list(file, old) | parse_cpu_list(file, value))
        for cgroup in (directory, *reversed(heirs)):
            write_limit(f"{cgroup}/{file}", both, because=_BECAUSE)
    for cgroup in (*heirs, directory):
        write_limit(f"{cgroup}/{file}", value, because=_BECAUSE)


def write_cpuset(directory: str, cpu: Mapping[str, Any]) -> None:
    """``cpus`` and ``mems`` of ``linux.resources.cpu``."""
    for name, file in (("cpus", CPUS), ("mems", MEMS)):
        if name in cpu:
            write_setting(f"linux.resources.cpu.{name}", directory, file, cpu[name], because=_BECAUSE)


def inherit_cpuset(mount: str, relative: str) -> None:
    """Give a new cpuset its parent's processors and memory nodes. The parents too, also those that were there: whoever
    made them may have been killed just after."""
    for file in (CPUS, MEMS):
        directory, held = mount, ""
        for part in relative.split("/"):
            parent, directory = directory, f"{directory}/{part}"
            value = read_value(f"{directory}/{file}")
            if not value:
                value = held or read_value(f"{parent}/{file}") or ""
                write_limit(f"{directory}/{file}", value, because=_BECAUSE)
            held = value


def _parent_value(directory: str, file: str) -> str:
    return read_value(f"{os.path.dirname(directory)}/{file}") or ""


CPUSET = Controller("cpuset", ("cpuset_cpus", "cpuset_mems"), observe_cpuset, apply_cpuset)
