# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a process may do: capabilities, no_new_privs and the seccomp filter, as operations in the order that the kernel
wants: the bounding set before the user changes, the other sets after it, the filter when little is left to be done."""

from __future__ import annotations

import os

from ...linux.capabilities import (
    apply_bounding,
    apply_sets,
    capget,
    prctl_set_keepcaps,
    split_grantable,
)
from ...linux.seccomp import load_filter, prctl_set_no_new_privs
from .operations import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from ..channel import Channel
    from ..init import Init


class Privileges:
    """The operations of a process, by when they are due."""

    def __init__(
        self, process: Mapping[str, Any], channel: Channel, *, seccomp: bytes, seccomp_flags: int, last_capability: int
    ) -> None:
        sets = process.get("capabilities") or {}
        self.before_user: Sequence[Operation] = [DropBounding(sets, last_capability)]
        self.after_user: list[Operation] = [SetCapabilities(sets)]
        if process.get("noNewPrivileges"):
            self.after_user.append(SetNoNewPrivileges())
        self.filter: Sequence[Operation] = [LoadFilter(seccomp, seccomp_flags, channel)] if seccomp else []


def find_ungrantable(process: Mapping[str, Any], *, user_namespace: bool = False) -> Iterator[str]:
    """What a process asks for and cannot have: told, but no reason to fail (runtime-spec, config.md, Process).

    In another ``user_namespace`` it has all, whatever we have (user_namespaces(7), Capabilities).
    """
    sets = process.get("capabilities") or {}
    grantable = -1 if user_namespace else capget()[1]
    refused: dict[str, None] = {}
    for names in sets.values():
        refused.update(dict.fromkeys(split_grantable(names or (), grantable)[1]))
    if refused:
        told = ", ".join(name if name.isidentifier() else repr(name) for name in refused)
        yield f"capabilities that this host does not know or that we do not have are left out: {told}"
    needed = set(sets.get("inheritable") or ()) & set(sets.get("permitted") or ())
    for name in sets.get("ambient") or ():
        if name not in refused and name not in needed:
            yield f"can't raise ambient capability {name}: it is not both permitted and inheritable"


class DropBounding(Operation):
    """Take from the bounding set what the container shall never get, and keep the rest over the change of user."""

    def __init__(self, sets: Mapping[str, Sequence[str]], last: int) -> None:
        self.names = sets.get("bounding") or ()
        self.last = last

    def __str__(self) -> str:
        return "drop capabilities from the bounding set"

    def execute(self) -> None:
        # What this host cannot grant is left out (runtime-spec, config.md, Process: warn and go on).
        mask, _refused = split_grantable(self.names, capget()[1])
        apply_bounding(mask, self.last)
        prctl_set_keepcaps(True)


class SetCapabilities(Operation):
    """The effective, permitted, inheritable and ambient sets."""

    def __init__(self, sets: Mapping[str, Sequence[str]]) -> None:
        self.sets = sets

    def __str__(self) -> str:
        return "set the capabilities"

    def execute(self) -> None:
        grantable = capget()[1]
        names = ("effective", "permitted", "inheritable", "ambient")
        masks = [split_grantable(self.sets.get(name) or (), grantable)[0] for name in names]
        masks[3] &= masks[1] & masks[2]  # what is not both cannot be ambient (capabilities(7)); find_ungrantable tells
        prctl_set_keepcaps(False)
        apply_sets(*masks)


class SetNoNewPrivileges(Operation):
    """No program gives more privileges from now on, set-user-ID or not."""

    def __str__(self) -> str:
        return "set no_new_privs"

    def execute(self) -> None:
        prctl_set_no_new_privs()


class ReceiveFilter(Operation):
    """Take the seccomp filter, which its creator compiles meanwhile, as the ``seccomp`` of ``holder``."""

    def __init__(self, channel: Channel, holder: Init) -> None:
        self.channel = channel
        self.holder = holder

    def __str__(self) -> str:
        return "get the seccomp filter"

    def execute(self) -> None:
        self.channel.tell({"stage": "filter"})
        self.holder.seccomp = self.channel.receive()


class LoadFilter(Operation):
    """Install the seccomp filter. Its listener, where it has one, goes to the creator (listener.py)."""

    def __init__(self, program: bytes, flags: int, channel: Channel) -> None:
        self.program = program
        self.flags = flags
        self.channel = channel

    def __str__(self) -> str:
        return f"load the seccomp filter ({len(self.program) // 8} instructions)"

    def execute(self) -> None:
        listener = load_filter(self.program, self.flags)
        if listener is not None:
            self.channel.tell({"stage": "listener", "fd": listener})
            self.channel.wait()
            os.close(listener)
