# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``linux.resources`` on v1 and hybrid hosts: each controller's section, in its own hierarchy."""

from __future__ import annotations

from ...errors import Unsupported
from ..resources import refuse_missing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from ..resources import Resources

_LOOKED_IN = "looked for v1 mounts in /proc/self/mountinfo"


def check_resources(resources: Resources, mounted: Collection[str], unified: Collection[str]) -> None:
    """Raise Unsupported for what needs a controller that is neither ``mounted`` nor in a hybrid's ``unified`` tree.

    Raises InvalidOption for what cannot be meant.
    """
    resources.check()
    needed = resources.controllers()
    if resources.network.get("classID"):
        needed["net_cls"] = "linux.resources.network.classID"
    if resources.network.get("priorities"):
        needed["net_prio"] = "linux.resources.network.priorities"
    for controller, option in needed.items():
        name = "blkio" if controller == "io" else controller
        if name not in mounted and not (controller == "hugetlb" and controller in unified):
            refuse_missing(option, name, _LOOKED_IN)
    for name in resources.unified:
        if name.partition(".")[0] not in unified:
            raise Unsupported(
                f"linux.resources.unified: invalid configuration: {name} is a file of cgroup v2, and this host has "
                "that controller not there (v1 or hybrid); use the section of its controller instead"
            )


def write_resources(directories: Mapping[str, str], unified: str, resources: Resources) -> None:
    """Write what is asked for. ``directories`` are by controller, ``unified`` is that of a hybrid host, or empty."""
    if resources.memory:
        from .memory import write_memory  # where config.json asks for it, as all of these

        write_memory(directories["memory"], resources.memory)
    if resources.cpu:
        from .cpu import write_cpu  # where config.json asks for it

        write_cpu(directories["cpu"], resources.cpu)
    if resources.cpuset:
        from .cpuset import write_cpuset  # where config.json asks for it

        write_cpuset(directories["cpuset"], resources.cpuset)
    if resources.pids:
        from ..pids import write_pids  # where config.json asks for it

        write_pids(directories["pids"], resources.pids)
    if resources.block_io:
        from .blkio import write_blkio  # where config.json asks for it

        write_blkio(directories["blkio"], resources.block_io)
    if resources.hugepages:
        from ..hugetlb import V1, V2, write_hugetlb  # where config.json asks for it

        old = directories.get("hugetlb", "")
        write_hugetlb(old or unified, resources.hugepages, suffix=V1 if old else V2)
    if resources.network:
        from .network import write_class, write_priorities  # where config.json asks for it

        if resources.network.get("classID"):
            write_class(directories["net_cls"], resources.network)
        if resources.network.get("priorities"):
            write_priorities(directories["net_prio"], resources.network)
    if resources.rdma:
        from ..rdma import write_rdma  # where config.json asks for it

        write_rdma(directories["rdma"], resources.rdma)
    if resources.unified:
        from ..v2.unified import write_unified  # where config.json asks for it

        write_unified(unified, resources.unified)
