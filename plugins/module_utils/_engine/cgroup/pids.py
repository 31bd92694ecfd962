# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The number of tasks (cgroup-v1/pids.rst, cgroup-v2.rst "PID"): the same file on both versions.

More than the limit may be in it already; it only lets no further task be made.
"""

from __future__ import annotations

import errno

from ..model.quantities import UNLIMITED
from .controller import Controller, read_number, write_limit, write_setting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ..model.cgroup import Limits

MAX = "pids.max"


def observe_pids(directory: str) -> dict[str, int | str]:
    value = read_number(f"{directory}/{MAX}")
    return {"pids": UNLIMITED if value is None else value}


def write_pids(directory: str, pids: Mapping[str, Any]) -> None:
    """``linux.resources.pids``: -1 is no limit.

    No task beside the init is what 0 means (runtime-spec 1.3), and what 1 means too. clone3(CLONE_INTO_CGROUP) could
    not put the init itself into a cgroup of 0, and systemd knows no TasksMax=0, so 1 is written, as by runc.
    """
    limit = pids["limit"]
    because = {errno.EINVAL: "it is more than a kernel can have (4194304)"}
    write_setting("linux.resources.pids.limit", directory, MAX, "max" if limit < 0 else max(limit, 1), because=because)


def apply_pids(directory: str, limits: Limits) -> None:
    if limits.pids is not None:
        because = {errno.EINVAL: "it is more than a kernel can have (4194304)"}
        write_limit(f"{directory}/{MAX}", "max" if limits.pids == UNLIMITED else str(limits.pids), because=because)


PIDS = Controller("pids", ("pids",), observe_pids, apply_pids)
