# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The devices of a network, made through pyroute2: its bridge, and an overlay's VXLAN device.

pyroute2 takes 80 to 110 ms to import and is needed only here, so it is imported only when a device must be made. The
API is what 0.7 (Debian 12) and 0.9 share.
"""

from __future__ import annotations

import errno
import os
import sys

from ..errors import Conflict, KernelError, Unsupported
from ..model.network import VXLAN_OVERHEAD, vtep_address, vtep_mac

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..model.network import Network, Vxlan


def make_bridge(network: Network) -> None:
    """Make the bridge, down. Its MAC is fixed, or it would change with the first container that joins.

    The MTU is set afterwards: only then does the kernel take it as meant, and leave it when the last port goes
    (br_mtu_auto_adjust() in br_if.c).
    """
    _add_link(network.bridge, kind="bridge", address=vtep_mac(network.gateway))


def make_vxlan(network: Network, vxlan: Vxlan, lower: int) -> None:
    """Make the VXLAN device, down, over the link of index ``lower`` (0: the route decides)."""
    options: dict[str, Any] = {"vxlan_link": lower} if lower else {}
    try:
        _add_link(
            network.vxlan_link,
            kind="vxlan",
            address=vtep_mac(vtep_address(network.subnet)),
            mtu=network.mtu,
            vxlan_id=vxlan.vni,
            vxlan_local=vxlan.address,
            # pyroute2 and the kernel default to port 8472 and to learning.
            vxlan_port=vxlan.port,
            vxlan_learning=0,
            **options,
        )
    except KernelError as error:
        if error.errno == errno.EEXIST:
            raise Conflict(
                f"network {network.name!r}: another VXLAN device of this host has VNI {vxlan.vni} on port "
                f"{vxlan.port}; give the network another vni, or remove that device"
            ) from error
        if error.errno == errno.EINVAL:
            raise Unsupported(
                f"network {network.name!r}: the kernel refuses a VXLAN device with MTU {network.mtu} over "
                f"{vxlan.device or vxlan.address}; it must be {VXLAN_OVERHEAD} less than the underlay's, or smaller"
            ) from error
        if error.errno == errno.EOPNOTSUPP:
            raise Unsupported("this kernel has no VXLAN; load the module vxlan, or use a kernel that has it") from error
        raise


def _add_link(name: str, **options: Any) -> None:
    try:
        from pyroute2 import IPRoute  # see the module's docstring
        from pyroute2.netlink.exceptions import NetlinkError
    except ImportError as error:
        raise Unsupported(
            f"networks need the Python library pyroute2, which {sys.executable} does not have; install the package "
            "python3-pyroute2 (apt, dnf), py3-pyroute2 (apk) or pyroute2 (pip)"
        ) from error
    try:
        with IPRoute() as iproute:
            iproute.link("add", ifname=name, **options)
    except NetlinkError as error:
        raise KernelError(f"making the link {name}", OSError(error.code, os.strerror(error.code))) from error
