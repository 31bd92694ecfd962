# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a container has of caches and memory bandwidth, and uses of them (bytes): ``intel_rdt`` of ``runc events``.

As in its types/events.go, what is zero or not there is left out; monitoring is by cache, in the order of their names.
Source: the kernel's Documentation/filesystems/resctrl.rst. OSError where the class has gone.
"""

from __future__ import annotations

import os

from ..linux.files import read_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

_BANDWIDTH = ("mbm_total_bytes", "mbm_local_bytes")
_OCCUPANCY = ("llc_occupancy",)


def observe_classes(record: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """``record`` is ClassOfService.record of the container's state. Nothing where resctrl is mounted no more."""
    path, group = record["groups"][0], record["groups"][-1]  # without monitoring of its own that is its class's
    root = path if os.path.isdir(f"{path}/info") else os.path.dirname(path)  # of all directories it alone has this
    if not os.path.isdir(f"{root}/info"):
        return {}
    schemata, of_root = _read(f"{path}/schemata").split("\n"), _read(f"{root}/schemata").split("\n")
    told: dict[str, Any] = {}
    if os.path.isdir(f"{root}/info/L3"):
        told["l3_cache_info"] = _observe_info(f"{root}/info/L3", "min_cbm_bits", "num_closids", mask="cbm_mask")
        told["l3_cache_schema_root"], told["l3_cache_schema"] = _find("L3", of_root), _find("L3", schemata)
    if os.path.isdir(f"{root}/info/MB"):
        told["mem_bw_info"] = _observe_info(
            f"{root}/info/MB", "bandwidth_gran", "delay_linear", "min_bandwidth", "num_closids"
        )
        told["mem_bw_schema_root"], told["mem_bw_schema"] = _find("MB", of_root), _find("MB", schemata)
    told["schemata"] = schemata
    return {**{name: value for name, value in told.items() if value != ""}, **_observe_monitoring(root, group)}


def _observe_info(directory: str, *numbers: str, mask: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {mask: _read(f"{directory}/{mask}")} if mask else {}
    found.update((name, _number(f"{directory}/{name}")) for name in numbers)
    return {name: value for name, value in found.items() if value}


def _find(resource: str, lines: Sequence[str]) -> str:
    """The line of a resource, such as ``L3:0=7ff;1=7ff``."""
    found = [line.strip() for line in lines if line.strip().partition(":")[0] == resource]
    return found[-1] if found else ""


def _observe_monitoring(root: str, group: str) -> dict[str, Any]:
    """For each kind that the hardware has. Null where it has, but no cache is told of."""
    if not os.path.isdir(f"{root}/info/L3_MON"):
        return {}
    features = _read(f"{root}/info/L3_MON/mon_features").split("\n")
    with os.scandir(f"{group}/mon_data") as entries:
        caches = sorted(entry.path for entry in entries if entry.is_dir())
    told = {}
    for kind, names in (("mbm_stats", _BANDWIDTH), ("cmt_stats", _OCCUPANCY)):
        if any(name in features for name in names):
            told[kind] = [
                {name: _number(f"{path}/{name}") if name in features else 0 for name in names} for path in caches
            ] or None
    return told


def _read(path: str) -> str:
    return read_whole(path).decode("ascii", "replace").strip()


def _number(path: str) -> int:
    """0 for a counter that has no value now: the kernel says ``Unavailable``, ``Unassigned`` or ``Error``."""
    text = _read(path)
    return int(text) if text.isdigit() else 0
