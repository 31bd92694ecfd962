# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``update``: other limits for a container that is there, live. What is not given stays as it is.

As runc's, it takes ``linux.resources`` of a config.json, of which the devices are left alone. What a limit needs to
know of the others (a quota its period, memory plus swap its memory) is asked of the kernel, not of config.json.
"""

from __future__ import annotations

import os

from ..cgroup.resources import Resources
from ..errors import Conflict, InvalidOption, Unsupported
from ..linux.cgroupfs import read_value
from .config.validate import validate_resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from .oci import Runtime

# As config.json has them; go, and so runc, takes any case.
_NAMES = (
    *("memory", "cpu", "pids", "blockIO", "hugepageLimits", "network", "rdma", "unified", "devices"),
    *("limit", "reservation", "swap", "kernel", "kernelTCP", "swappiness", "disableOOMKiller", "useHierarchy"),
    *("checkBeforeUpdate", "shares", "quota", "burst", "period", "realtimeRuntime", "realtimePeriod", "cpus", "mems"),
    *("idle", "weight", "leafWeight", "weightDevice", "throttleReadBpsDevice", "throttleWriteBpsDevice"),
    *("throttleReadIOPSDevice", "throttleWriteIOPSDevice", "major", "minor", "rate", "pageSize", "classID"),
    *("priorities", "name", "priority"),
)
_SPELLING = {name.lower(): name for name in _NAMES}
# What is in these is named by devices and files, not by the specification.
_OTHERS = ("rdma", "unified", "devices")

_RESCTRL = "/sys/fs/resctrl"


def update_container(runtime: Runtime, identity: str, values: Any) -> None:
    """Set what ``values``, a ``linux.resources``, ask for. Raises InvalidOption, Conflict, Unsupported, KernelError."""
    values = spell(values)
    validate_resources(values)
    state = runtime.state(identity)
    status = state.status()
    if status in ("stopped", "creating"):
        raise Conflict(f"cannot update container {identity!r}: it is {status}: container not running")
    if not state.cgroups_path:
        raise Conflict(f"cannot update container {identity!r}: it has no cgroup of its own")
    runtime.cgroups(state.cgroups_path).update_resources(state.cgroups_path, Resources(values))


def spell(value: Any) -> Any:
    """Names in any case as the specification has them."""
    if isinstance(value, list):
        return [spell(item) for item in value]
    if not isinstance(value, dict):
        return value
    spelled = {_SPELLING.get(name.lower(), name): item for name, item in value.items()}
    return {name: item if name in _OTHERS else spell(item) for name, item in spelled.items()}


def update_schemata(runtime: Runtime, identity: str, lines: Mapping[str, str]) -> None:
    """Set lines of a container's group in resctrl (Documentation/filesystems/resctrl.rst): by option, ``L3:0=f``."""
    features = {
        "l3-cache-schema": ("L3", "CAT: l3 cache schema"),
        "mem-bw-schema": ("MB", "MBA: memory bandwidth schema"),
    }
    state = runtime.state(identity)
    group = ((state.spec().get("linux") or {}).get("intelRdt") or {}).get("closID") or identity
    for option, line in lines.items():
        resource, what = features[option]
        if not os.path.isdir(f"{_RESCTRL}/info/{resource}"):
            raise Unsupported(f"update --{option}: Intel RDT/{what} is not enabled ({_RESCTRL}/info/{resource})")
        if not (state.spec().get("linux") or {}).get("intelRdt"):
            raise Conflict(f"update --{option}: container {identity!r} has no linux.intelRdt to be updated")
        try:
            fd = os.open(f"{_RESCTRL}/{group}/schemata", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, line.encode() + b"\n")
            finally:
                os.close(fd)
        except OSError as error:
            why = read_value(f"{_RESCTRL}/info/last_cmd_status") or error.strerror
            raise InvalidOption(f"update --{option}", line, f"what the kernel takes as schemata ({why})") from error
