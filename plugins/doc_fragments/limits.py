# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that limit what a cgroup or a container may use."""

from __future__ import annotations

import textwrap

OPTIONS = r"""
memory:
  description:
    - How much memory may be used, such as V(64M) or V(1.5G); V(unlimited) takes a limit away.
    - A limit that is not given is left as it is.
  type: str
memory_reservation:
  description:
    - Memory that is kept from being reclaimed while the host is short of it.
  type: str
memory_swap:
  description:
    - Memory and swap together, as Docker counts it. Needs C(memory).
  type: str
cpus:
  description:
    - How many CPUs' worth of time may be used, such as V(0.5); V(unlimited) takes the limit away.
  type: str
cpu_weight:
  description:
    - The share of CPU time when others want it too, from 1 to 10000; a cgroup has 100 by default.
  type: int
pids_limit:
  description:
    - How many processes and threads there may be; V(unlimited) takes the limit away.
  type: str
cpuset_cpus:
  description:
    - The CPUs that may be used, such as V(0-3,5).
  type: str
cpuset_mems:
  description:
    - The memory nodes that may be used, such as V(0).
  type: str
"""


class ModuleDocFragment:
    DOCUMENTATION: str = "options:\n" + textwrap.indent(OPTIONS, "  ")
