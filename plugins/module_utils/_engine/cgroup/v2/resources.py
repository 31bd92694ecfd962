# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``linux.resources`` on cgroup v2: each controller's section, in the one tree."""

from __future__ import annotations

from ..resources import refuse_missing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from ..resources import Resources


def required_controllers(resources: Resources) -> dict[str, str]:
    """The controllers that ``resources`` need, each with the JSON path that asks for it."""
    unified = {name.partition(".")[0]: f"linux.resources.unified.{name}" for name in resources.unified}
    unified.pop("cgroup", None)  # the core's own files are everywhere
    return {**unified, **resources.controllers()}


def check_resources(resources: Resources, available: Collection[str], mount: str) -> None:
    """Raise InvalidOption for what cannot be meant, Unsupported for what v2 or this host lacks."""
    resources.check()
    resources.for_v2()
    for controller, option in required_controllers(resources).items():
        if controller not in available:
            refuse_missing(option, controller, f"{mount}/cgroup.controllers has: {' '.join(available) or 'none'}")


def write_resources(directory: str, resources: Resources) -> None:
    """Write what is asked for to the files of a cgroup; ``unified`` last, so that it wins."""
    if resources.memory:
        from .memory import write_memory  # where config.json asks for it, as all of these

        write_memory(directory, resources.memory)
    if resources.cpu:
        from .cpu import write_cpu  # where config.json asks for it

        write_cpu(directory, resources.cpu)
    if resources.cpuset:
        from .cpuset import write_cpuset  # where config.json asks for it

        write_cpuset(directory, resources.cpuset)
    if resources.pids:
        from ..pids import write_pids  # where config.json asks for it

        write_pids(directory, resources.pids)
    if resources.block_io:
        from .io import write_io  # where config.json asks for it

        write_io(directory, resources.block_io)
    if resources.hugepages:
        from ..hugetlb import V2, write_hugetlb  # where config.json asks for it

        write_hugetlb(directory, resources.hugepages, suffix=V2)
    if resources.rdma:
        from ..rdma import write_rdma  # where config.json asks for it

        write_rdma(directory, resources.rdma)
    if resources.unified:
        from .unified import write_unified  # where config.json asks for it

        write_unified(directory, resources.unified)
