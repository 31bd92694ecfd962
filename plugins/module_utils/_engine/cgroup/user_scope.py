# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scopes of an ordinary user's own systemd (``systemd --user``), for --systemd-cgroup without root.

All of them are in the cgroup of user@<uid>.service, which is the user's (systemd's docs/CGROUP_DELEGATION.md). A
session's processes are outside of it, and no user may move a process in from there: cgroup-v2.rst, "Delegation
Containment". The user's systemd can have the machine's do it, and so it is asked for every process that joins.
"""

from __future__ import annotations

import os

from ..errors import Unsupported
from ..linux.idmap import find_outside, read_id_map
from .place import parse_scope
from .systemd import Systemd
from .units import Units
from .v2.tree import PAYLOAD


class UserScopes(Systemd):
    """The part of the v2 tree that a user's systemd has, at ``mount``."""

    attaches = True

    def attach(self, cgroups_path: str, pid: int) -> None:
        self._units.attach(parse_scope(cgroups_path)[1], f"/{PAYLOAD}", pid)


def open_user_scopes(instance: str, mount: str) -> UserScopes:
    """Those of this user; ``mount`` is where the v2 tree is mounted. Raises Unsupported where its systemd is not up."""
    # Root of a user namespace is somebody else to systemd.
    user = find_outside(read_id_map("/proc/self/uid_map"), os.geteuid())
    socket = os.path.join(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{user}", "systemd/private")
    if not os.path.exists(socket):
        raise Unsupported(
            f"--systemd-cgroup: no systemd of user {user} listens at {socket}; log in through PAM, or as root: "
            f"loginctl enable-linger {user}; or leave the option out"
        )
    units = Units(socket, user=user)
    return UserScopes(instance, mount + units.control_group(), units)
