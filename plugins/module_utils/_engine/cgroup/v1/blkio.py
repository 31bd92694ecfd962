# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Block devices on v1 (cgroup-v1/blkio-controller.rst): weights of the BFQ or the old CFQ scheduler; throttling."""

from __future__ import annotations

import errno
import os

from ..controller import write_setting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

# By the name in config.json; ``throttle`` counts bytes or operations a second, 0 for no limit.
THROTTLES = {
    "throttleReadBpsDevice": "blkio.throttle.read_bps_device",
    "throttleWriteBpsDevice": "blkio.throttle.write_bps_device",
    "throttleReadIOPSDevice": "blkio.throttle.read_iops_device",
    "throttleWriteIOPSDevice": "blkio.throttle.write_iops_device",
}
BECAUSE = {
    errno.ENODEV: "there is no such whole disk (a partition has no limits of its own)",
    errno.ENXIO: "there is no such disk",
    errno.EOPNOTSUPP: "the device's I/O scheduler has no weights; choose bfq (/sys/block/*/queue/scheduler)",
    errno.ERANGE: "the kernel takes no such weight",
    errno.EINVAL: "the kernel takes no such value",
}
_OPTION = "linux.resources.blockIO"


def write_blkio(directory: str, block_io: Mapping[str, Any]) -> None:
    """``linux.resources.blockIO``."""
    # CFQ went with Linux 5.0, and with it blkio.weight and blkio.leaf_weight; BFQ has files of its own.
    bfq = "bfq." if os.path.exists(f"{directory}/blkio.bfq.weight") else ""
    for name, file in (("weight", f"blkio.{bfq}weight"), ("leafWeight", "blkio.leaf_weight")):
        if name in block_io:
            write_setting(f"{_OPTION}.{name}", directory, file, block_io[name], because=BECAUSE)
        for index, entry in enumerate(block_io.get("weightDevice") or ()):
            _write_device(directory, index, entry, name, f"{file}_device")
    for name, file in THROTTLES.items():
        for index, entry in enumerate(block_io.get(name) or ()):
            value = f"{entry['major']}:{entry['minor']} {entry['rate']}"
            write_setting(f"{_OPTION}.{name}[{index}]", directory, file, value, because=BECAUSE)


def _write_device(directory: str, index: int, entry: Mapping[str, Any], name: str, file: str) -> None:
    if entry.get(name):
        value = f"{entry['major']}:{entry['minor']} {entry[name]}"
        write_setting(f"{_OPTION}.weightDevice[{index}].{name}", directory, file, value, because=BECAUSE)
