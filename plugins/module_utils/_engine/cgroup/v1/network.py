# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Marks on a cgroup's packets, on v1 alone (cgroup-v1/net_cls.rst and net_prio.rst)."""

from __future__ import annotations

import errno

from ..controller import write_setting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_OPTION = "linux.resources.network"


def write_class(directory: str, network: Mapping[str, Any]) -> None:
    """``linux.resources.network.classID``: the handle of a traffic class, 0xAAAABBBB for AAAA:BBBB."""
    write_setting(f"{_OPTION}.classID", directory, "net_cls.classid", network["classID"])


def write_priorities(directory: str, network: Mapping[str, Any]) -> None:
    """``linux.resources.network.priorities``: by interface of the network namespace that this is called in."""
    because = {errno.ENODEV: "there is no interface of that name here", errno.EINVAL: "not a name of an interface"}
    for index, entry in enumerate(network["priorities"]):
        value = f"{entry['name']} {entry['priority']}"
        write_setting(f"{_OPTION}.priorities[{index}]", directory, "net_prio.ifpriomap", value, because=because)
