# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which settings of sysctl(8) belong to a namespace, and to which: all others are the whole host's.

Source: runtime-spec, config-linux.md, Sysctl; net_namespaces(7), ipc_namespaces(7), uts_namespaces(7).
"""

from __future__ import annotations

_IPC = (
    *("kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax"),
    *("kernel.shmmni", "kernel.shm_rmid_forced"),
)


def namespace_of_sysctl(name: str) -> str:
    """``network``, ``ipc`` or ``uts``; empty for what is the host's, or no name at all."""
    dotted = name.replace("/", ".")
    if not all(dotted.split(".")):
        return ""
    if dotted.startswith("net."):
        return "network"
    if dotted in _IPC or dotted.startswith("fs.mqueue."):
        return "ipc"
    return "uts" if dotted == "kernel.domainname" else ""
