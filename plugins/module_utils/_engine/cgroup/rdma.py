# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remote direct memory access (cgroup-v1/rdma.rst, cgroup-v2.rst "RDMA"): the same file on both versions."""

from __future__ import annotations

import errno

from .controller import write_setting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

MAX = "rdma.max"
_KEYS = {"hcaHandles": "hca_handle", "hcaObjects": "hca_object"}


def write_rdma(directory: str, rdma: Mapping[str, Mapping[str, Any]]) -> None:
    """``linux.resources.rdma``: by device."""
    because = {errno.ENODEV: "there is no RDMA device of that name", errno.EINVAL: "there is no such device or number"}
    for device, limits in rdma.items():
        words = [f"{key}={limits[name]}" for name, key in _KEYS.items() if limits.get(name) is not None]
        write_setting(f"linux.resources.rdma.{device}", directory, MAX, " ".join([device, *words]), because=because)
