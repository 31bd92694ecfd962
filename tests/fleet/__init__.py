# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Test hosts: real machines in small, reached over real SSH, made in about a second and gone without a trace.

    with fleet.up("demo", ["node-a", "node-b"]) as hosts:
        hosts.node("node-a").run(["uname", "-n"])

Two backends make the same thing, a `Fleet` with an Ansible inventory and an ssh config: `namespace` (kernel
namespaces on this machine's kernel) and `vm` (Debian 12 with systemd and cgroup v2 in emulated machines).
"""

from __future__ import annotations

from .errors import FleetError
from .fleet import Fleet, Node, down, leftovers_of, load, up
from .traces import Snapshot, leftovers, snapshot

__all__ = ["Fleet", "FleetError", "Node", "Snapshot", "down", "leftovers", "leftovers_of", "load", "snapshot", "up"]
