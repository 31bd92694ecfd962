# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Namespaces that are entered, or made, by a process of their own before the init is born (setns(2), unshare(2)).

Errors: OSError with the path.
"""

from __future__ import annotations

import os

from ..linux.inherited import set_dumpable
from ..linux.namespaces import CLONE_NEWUSER, setns, unshare


def own_user_namespace(flags: int) -> int:
    """Make the user namespace that is among ``flags`` before a namespace of time, which shall be its own; the flag."""
    if flags & CLONE_NEWUSER:
        unshare(CLONE_NEWUSER)
        if os.geteuid() != 0:
            # The new rights make /proc/self root's, where the offsets and the maps are to be written (proc(5)).
            set_dumpable(True)
    return flags & CLONE_NEWUSER


def join_namespaces(paths: list[tuple[int, str]]) -> None:
    """Enter the namespaces: first what we may as who we are, then the user namespace, then what takes its root."""
    opened = [(flag, path, os.open(path, os.O_RDONLY | os.O_CLOEXEC)) for flag, path in paths]
    user = [entry for entry in opened if entry[0] == CLONE_NEWUSER]
    left = []
    for flag, path, fd in opened:
        try:
            if flag != CLONE_NEWUSER:
                setns(fd, flag)
        except PermissionError:
            left.append((flag, path, fd))
    for flag, path, fd in [*user, *left]:
        # A process is not let into the user namespace that it is in (setns(2), EINVAL).
        if flag != CLONE_NEWUSER or os.fstat(fd).st_ino != os.stat("/proc/self/ns/user").st_ino:
            try:
                setns(fd, flag)
            except OSError as error:
                raise OSError(error.errno, error.strerror, path) from error
    for _flag, _path, fd in opened:
        os.close(fd)
