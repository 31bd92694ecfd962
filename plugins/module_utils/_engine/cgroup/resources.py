# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``linux.resources`` of a config.json (runtime-spec 1.3, config-linux.md, "Control groups"), without the devices.

The model's Limits are what playbooks manage; this is all that the specification has, as the OCI command line gets it.
Each controller is written by its own small file under v1/ or v2/, loaded only where config.json names it.
"""

from __future__ import annotations

from ..errors import InvalidOption, Unsupported
from ..model.quantities import UNLIMITED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

_OPTION = "linux.resources"
# 0 asks for nothing here, as in runc: go's zero values are written by many programs.
_ZERO_IS_NOTHING = {
    "memory": ("limit", "reservation", "swap"),
    "cpu": ("shares", "quota", "period", "realtimeRuntime", "realtimePeriod"),
    "blockIO": ("weight", "leafWeight"),
    "network": ("classID",),
}


class Resources:
    """What is asked of each controller, as config.json spells it; a section or a value that is not asked for is absent.

    ``unified`` is by file of cgroup v2.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.memory = _asked(values, "memory")
        self.cpu = _asked(values, "cpu")
        self.cpuset = {name: self.cpu.pop(name) for name in ("cpus", "mems") if name in self.cpu}
        self.pids = _asked(values, "pids")
        self.block_io = _asked(values, "blockIO")
        self.network = _asked(values, "network")
        self.hugepages: Sequence[Mapping[str, Any]] = values.get("hugepageLimits") or ()
        self.rdma: Mapping[str, Mapping[str, Any]] = values.get("rdma") or {}
        self.unified: Mapping[str, str] = values.get("unified") or {}
        # Said for the next change alone, this asks for nothing.
        if not self.memory.keys() - {"kernel", "checkBeforeUpdate"}:
            self.memory = {}
        if not self.memory.get("disableOOMKiller", True):
            del self.memory["disableOOMKiller"]

    def check(self) -> None:
        """Raise InvalidOption for what cannot be meant on any host, beside what the schema of config.json refuses."""
        limit, total = self.memory.get("limit", UNLIMITED), self.memory.get("swap", UNLIMITED)
        if total != UNLIMITED and total < limit:
            raise InvalidOption(
                f"{_OPTION}.memory.swap", total, f"at least memory.limit, {limit}: it counts memory plus swap"
            )
        for device in self.rdma:
            if not device or any(character.isspace() for character in device):
                raise InvalidOption(f"{_OPTION}.rdma", device, "the name of a device")
        for name in self.unified:
            controller, dot, parameter = name.partition(".")
            if not controller or not dot or not parameter or "/" in name or ".." in name:
                raise InvalidOption(f"{_OPTION}.unified", name, "the name of a file of cgroup v2, such as memory.high")

    def controllers(self) -> dict[str, str]:
        """The controllers that are needed, as both versions call them but for blkio, each with what asks for it."""
        sections = {
            "memory": ("memory", self.memory),
            "cpu": ("cpu", self.cpu),
            "cpuset": (next(iter(self.cpuset), ""), self.cpuset),
            "pids": ("pids.limit", self.pids),
            "io": ("blockIO", self.block_io),
            "hugetlb": ("hugepageLimits", self.hugepages),
            "rdma": ("rdma", self.rdma),
        }
        needed = {name: f"{_OPTION}.{option}" for name, (option, section) in sections.items() if section}
        if self.cpuset:
            needed["cpuset"] = f"{_OPTION}.cpu.{next(iter(self.cpuset))}"
        return needed

    def for_v2(self) -> None:
        """Raise Unsupported for what only v1 has, and where v2 has nothing like it."""
        gone = [
            ("memory.swappiness", "swappiness" in self.memory),
            ("memory.disableOOMKiller", self.memory.get("disableOOMKiller")),
            ("memory.useHierarchy", self.memory.get("useHierarchy") is False),
            ("cpu.realtimeRuntime", "realtimeRuntime" in self.cpu),
            ("cpu.realtimePeriod", "realtimePeriod" in self.cpu),
            ("blockIO.leafWeight", "leafWeight" in self.block_io),
            *(
                (f"blockIO.weightDevice[{index}].leafWeight", entry.get("leafWeight"))
                for index, entry in enumerate(self.block_io.get("weightDevice") or ())
            ),
            ("network.classID", "classID" in self.network),
            ("network.priorities", self.network.get("priorities")),
        ]
        for option, given in gone:
            if given:
                raise Unsupported(f"{_OPTION}.{option}: cgroup v2 has nothing like it, only v1 does; leave it out")


def _asked(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A section without what asks for nothing: null, an empty list or text, and a 0 that is no value."""
    zeros = _ZERO_IS_NOTHING.get(name, ())
    return {
        key: value
        for key, value in (values.get(name) or {}).items()
        if value is not None and value not in ("", []) and not (key in zeros and value == 0)
    }


def refuse_missing(option: str, controller: str, looked_in: str) -> None:
    """Raise Unsupported for a controller that this host does not have."""
    raise Unsupported(
        f"{option}: this host has no {controller!r} cgroup controller ({looked_in}); enable it (kernel configuration, "
        f"boot options cgroup_disable= and cgroup_no_v1=, mounts), or leave {option} out"
    )
