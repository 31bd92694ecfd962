# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Huge pages (cgroup-v1/hugetlb.rst, cgroup-v2.rst "HugeTLB"): the same files on both versions, but for their end.

A limit holds for what is used and, from Linux 5.7, for what is reserved: then mmap(2) fails, and no SIGBUS
comes later.
"""

from __future__ import annotations

import os

from ..errors import InvalidOption
from .controller import write_setting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

V1, V2 = "limit_in_bytes", "max"


def write_hugetlb(directory: str, limits: Sequence[Mapping[str, Any]], *, suffix: str) -> None:
    """``linux.resources.hugepageLimits``. Raises InvalidOption for a size of page that this machine does not have."""
    for index, entry in enumerate(limits):
        option, prefix = f"linux.resources.hugepageLimits[{index}]", f"hugetlb.{entry['pageSize']}"
        if not os.path.exists(f"{directory}/{prefix}.{suffix}"):
            sizes = sorted({name.split(".")[1] for name in os.listdir(directory) if name.startswith("hugetlb.")})
            raise InvalidOption(
                f"{option}.pageSize", entry["pageSize"], f"a size of this machine's: {', '.join(sizes)}"
            )
        write_setting(f"{option}.limit", directory, f"{prefix}.{suffix}", entry["limit"])
        if os.path.exists(f"{directory}/{prefix}.rsvd.{suffix}"):
            write_setting(f"{option}.limit", directory, f"{prefix}.rsvd.{suffix}", entry["limit"])
