# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last steps of a process of ours: it becomes its program by way of a trampoline (linux/trampoline.py), which is
made early, as neither limits nor a filter are to hinder that, and entered last.

Without a trampoline (another architecture, a SELinux label, which would apply to it in the program's stead, a filter
that does not let it be entered) the program is executed from here, unless a link of procfs is on the way to it.
"""

from __future__ import annotations

import os

from ..linux import inherited
from ..linux.capabilities import apply_sets, capget, split_grantable
from ..linux.seccomp_profile import permits
from ..linux.trampoline import Birth, Capabilities, build_trampoline, observe_memfd_noexec, open_sealed, own_machine
from .operations import Operation
from .privileges import LoadFilter
from .process import find_program

# What a filter that is there before the trampoline must let through.
_CALLS = ("execveat", "fcntl", "exit_group")
_CALLS_OF_BIRTH = ("clone", "setsid", "write", "close", "prctl", "ioctl", "prlimit64")
_PARTLY = ("clone", "prctl", "ioctl")  # profiles let them through with some arguments, ours among them

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from ..linux.trampoline_code import Machine
    from .channel import Channel


class Environment:
    """``env`` of a process: the last of a name counts."""

    def __init__(self, items: Sequence[str]) -> None:
        self.variables = dict(item.partition("=")[::2] for item in items)


class Execution:
    """What the steps know. ``late_filter``: one that nothing but execve(2) shall come after."""

    def __init__(
        self,
        process: Mapping[str, Any],
        channel: Channel,
        *,
        fifo: int,
        birth: Birth | None,
        profile: Mapping[str, Any],
        late_filter: tuple[bytes, int],
    ) -> None:
        self.process = process
        self.args: Sequence[str] = process["args"]
        self.environment = Environment(process.get("env") or ())
        self.channel = channel
        # What tells somebody by its end that the program runs.
        self.held = (fifo,) if fifo >= 0 else ()
        self.late_filter = late_filter
        self.profile = profile
        self.birth = birth
        self.capabilities: Capabilities | None = None
        self.trampoline = -1

    def __str__(self) -> str:
        return f"exec {self.args[0]}"

    def machine(self) -> Machine | None:
        """Whose trampoline is to be used; None where it cannot be."""
        if self.process.get("selinuxLabel"):
            return None
        # Without no_new_privs, or with a listener, the filter is there before the trampoline is entered.
        calls = _CALLS + (_CALLS_OF_BIRTH if self.birth else ())
        if not self.late_filter[0] and not permits(self.profile, calls, partly=_PARTLY):
            return None
        return own_machine()

    def preload(self) -> None:
        """Import what is used instead of a trampoline while it can be found: the container's root has nothing of it."""
        if self.machine() is None or observe_memfd_noexec() == 2:
            from ..linux import magic_links, tmpfs_file  # most hosts do without

            del magic_links, tmpfs_file

    def find(self) -> str:
        if self.birth and self.trampoline >= 0 and self.args[0].startswith("/proc/"):
            return self.args[0]  # whose /proc/self is not there for us, outside of its pid namespace
        return find_program(self.args, self.environment.variables)

    def plan(self) -> Iterator[Operation]:
        """The end of the list."""
        if self.trampoline < 0 and self.late_filter[0]:
            yield LoadFilter(*self.late_filter)
        yield Execute(self)


class MakeTrampoline(Operation):
    """Make the trampoline, where it can be used."""

    def __init__(self, execution: Execution) -> None:
        self.execution = execution

    def __str__(self) -> str:
        return "make the program that leads to the payload"

    def execute(self) -> None:
        execution = self.execution
        process, machine = execution.process, execution.machine()
        if machine is None:
            return
        if process.get("noNewPrivileges") and (process.get("user") or {}).get("uid", 0) != 0:
            execution.capabilities = _capabilities_to_keep(process.get("capabilities") or {})
        content = build_trampoline(
            machine,
            execution.channel.writer,
            str(execution),
            held=execution.held,
            seccomp=execution.late_filter,
            capabilities=execution.capabilities,
            birth=execution.birth,
        )
        execution.trampoline = open_sealed(content)


def _capabilities_to_keep(names: Mapping[str, Sequence[str]]) -> Capabilities | None:
    """The sets, where execve(2) matters to them: it leaves a user other than root what is ambient alone, and with
    no_new_privs a program's file capabilities grant what was permitted before alone."""
    grantable = capget()[1]
    masks = [
        split_grantable(names.get(kind) or (), grantable)[0]
        for kind in ("effective", "permitted", "inheritable", "ambient")
    ]
    sets = Capabilities(*masks)
    return sets if sets.permitted & ~sets.ambient else None


class FindProgram(Operation):
    """Look the program up now, so that a wrong name is an error of create."""

    def __init__(self, execution: Execution) -> None:
        self.execution = execution

    def __str__(self) -> str:
        return f"exec {self.execution.args[0]!r}"

    def execute(self) -> None:
        self.execution.find()


class Execute(Operation):
    """Become the program."""

    def __init__(self, execution: Execution) -> None:
        self.execution = execution

    def __str__(self) -> str:
        return str(self.execution)

    def execute(self) -> None:
        execution = self.execution
        path, args, variables = execution.find(), list(execution.args), execution.environment.variables
        inherited.reset_signals()
        if execution.trampoline < 0:
            from ..linux.magic_links import refuse_magic_links  # rarely needed, and preloaded then

            refuse_magic_links(path)
            os.execve(path, args, variables)
        sets = execution.capabilities
        if sets:
            # What is ambient survives into the trampoline, which sets them as they shall be.
            apply_sets(sets.permitted, sets.permitted, sets.permitted | sets.inheritable, sets.permitted)
        births = (execution.birth.announce,) if execution.birth else ()
        for fd in (execution.channel.writer, *execution.held, *births):
            os.set_inheritable(fd, True)
        # execveat(2) with AT_EMPTY_PATH, in glibc (2.27) and musl alike: /proc need not be there.
        os.execve(execution.trampoline, [path, *args], variables)
