# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processors and memory nodes on v2 (cgroup-v2.rst, "Cpuset Interface Files"). An empty list means the parent's."""

from __future__ import annotations

import errno

from ...linux.cgroupfs import read_value
from ..controller import Controller, write_limit, write_setting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ...model.cgroup import Limits

CPUS = "cpuset.cpus"
MEMS = "cpuset.mems"

_BECAUSE = {
    errno.EINVAL: "not a list that this kernel takes",
    errno.ERANGE: "this host does not have all of them",
    errno.ENOSPC: "processes are in the cgroup, so its list cannot be emptied; name all that the host has",
}


def observe_cpuset(directory: str) -> dict[str, int | str]:
    return {
        "cpuset_cpus": read_value(f"{directory}/{CPUS}") or "",
        "cpuset_mems": read_value(f"{directory}/{MEMS}") or "",
    }


def apply_cpuset(directory: str, limits: Limits) -> None:
    for file, value in ((CPUS, limits.cpuset_cpus), (MEMS, limits.cpuset_mems)):
        if value is not None:
            # An empty write(2) never reaches the kernel's handler; a newline does.
            write_limit(f"{directory}/{file}", value or "\n", because=_BECAUSE)


def write_cpuset(directory: str, cpu: Mapping[str, Any]) -> None:
    """``cpus`` and ``mems`` of ``linux.resources.cpu``."""
    for name, file in (("cpus", CPUS), ("mems", MEMS)):
        if name in cpu:
            write_setting(f"linux.resources.cpu.{name}", directory, file, cpu[name], because=_BECAUSE)


CPUSET = Controller("cpuset", ("cpuset_cpus", "cpuset_mems"), observe_cpuset, apply_cpuset)
