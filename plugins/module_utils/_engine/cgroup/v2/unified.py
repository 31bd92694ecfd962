# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of cgroup v2 by their own names (runtime-spec, config-linux.md, "Unified"), whether we know them or not."""

from __future__ import annotations

from ...linux.cgroupfs import read_value
from ..controller import write_setting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def write_unified(directory: str, unified: Mapping[str, str]) -> None:
    """``linux.resources.unified``. A file such as io.max takes one line at a time."""
    # The kernel takes no weight for what is idle (sched_group_set_shares() in kernel/sched/fair.c).
    idle = unified.get("cpu.idle", "0").strip() == "1"
    if "cpu.weight" in unified and read_value(f"{directory}/cpu.idle") == "1":
        write_setting("linux.resources.unified.cpu.weight", directory, "cpu.idle", "0")
    for name in sorted(unified, key=lambda name: name == "cpu.idle"):
        if name == "cpu.weight" and idle:
            continue
        for line in unified[name].splitlines() or [""]:
            write_setting(f"linux.resources.unified.{name}", directory, name, line or "\n")
