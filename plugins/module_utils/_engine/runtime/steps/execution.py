# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last steps of a process of ours: it becomes its program by way of a trampoline (linux/trampoline.py), which is
made early, as neither limits nor a filter are to hinder that, and entered last. What can be decided before the process
is born is: the first use of memory costs a new one more than the work (0.3 ms of page faults for 0.03).

Without a trampoline (another architecture, a label of SELinux or AppArmor but for the engine's own profile, which would
apply to it in the program's stead, a filter that does not let it be entered) the program is executed from here, unless
a link of procfs is on the way to it.
"""

from __future__ import annotations

import os

from ...linux import inherited
from ...linux.capabilities import apply_sets, capget, split_grantable
from ...linux.seccomp_profile import SECCOMP_FILTER_FLAG_NEW_LISTENER as NEW_LISTENER
from ...linux.seccomp_profile import permits
from ...linux.trampoline import (
    Birth,
    Capabilities,
    add_filter,
    build_trampoline,
    observe_memfd_noexec,
    open_sealed,
    own_machine,
)
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

    from ...linux.trampoline_code import Machine
    from ..init import Init


class Environment:
    """``env`` of a process: the last of a name counts."""

    def __init__(self, items: Sequence[str]) -> None:
        self.variables = dict(item.partition("=")[::2] for item in items)


class Execution:
    """What the steps know, and what is decided of them while the process is not yet born."""

    def __init__(self, init: Init, birth: Birth | None) -> None:
        process = init.spec["process"]
        self._init = init
        self.process: Mapping[str, Any] = process
        self.args: Sequence[str] = process["args"]
        self.teller = init.channel.writer
        # What tells somebody by its end that the program runs.
        self.held = (init.fifo,) if init.fifo >= 0 else ()
        self.birth = birth
        # A filter that nothing but execve(2) shall come after. A listener is handed over by us, so before; and
        # startContainer hooks are held by it too, as with runc.
        profile = init.linux.get("seccomp")
        early = init.seccomp_flags & NEW_LISTENER or (
            not birth and (init.spec.get("hooks") or {}).get("startContainer")
        )
        self.filtered = bool(profile and process.get("noNewPrivileges") and not early)
        self.filtered_by = {} if self.filtered else profile or {}
        self.capabilities: Capabilities | None = None
        self.content = b""
        self.trampoline = -1

    def __str__(self) -> str:
        return f"exec {self.args[0] if self.args else 'nothing'}"

    def machine(self) -> Machine | None:
        """Whose trampoline is to be used; None where it cannot be."""
        return find_machine(self.process, self.filtered_by, born=self.birth is not None)

    def prepare(self) -> None:
        """Before the process is born: the trampoline's content. Or import what is used in its stead while that can be
        found: the container's root has nothing of it."""
        machine = self.machine()
        if machine is None or observe_memfd_noexec() == 2:
            from ...linux import magic_links, tmpfs_file  # most hosts do without

            del magic_links, tmpfs_file
        if machine and not self._loses_capabilities():
            self.content = self.build(machine)

    def build(self, machine: Machine) -> bytes:
        """The trampoline; in the process itself, with all its capabilities, where these matter."""
        if self._loses_capabilities():
            self.capabilities = _capabilities_to_keep(self.process.get("capabilities") or {})
        return build_trampoline(
            machine,
            self.teller,
            str(self),
            held=self.held,
            filtered=self.filtered,
            capabilities=self.capabilities,
            birth=self.birth,
        )

    def make(self) -> None:
        """Make the trampoline, where there is one."""
        machine = self.machine()
        if machine is None:
            return
        content = self.content or self.build(machine)
        if self.filtered:
            content = add_filter(machine, content, self._init.seccomp, self._init.seccomp_flags)
        self.trampoline = open_sealed(content)

    def _loses_capabilities(self) -> bool:
        """Whether execve(2) may matter to the sets: it leaves a user other than root what is ambient alone, and with
        no_new_privs a program's file capabilities grant what was permitted before alone."""
        user = (self.process.get("user") or {}).get("uid", 0)
        return user != 0 and bool(self.process.get("noNewPrivileges") and self.process.get("capabilities"))

    def variables(self) -> dict[str, str]:
        return Environment(self.process.get("env") or ()).variables

    def find(self) -> str:
        if not self.args:
            raise OSError(22, "its configuration has no process, so that it can be created but not started")
        if self.birth and self.trampoline >= 0 and self.args[0].startswith("/proc/"):
            return self.args[0]  # whose /proc/self is not there for us, outside of its pid namespace
        return find_program(self.args, self.variables())

    def plan(self) -> Iterator[Operation]:
        """The end of the list."""
        if self.trampoline < 0 and self.filtered:
            yield LoadFilter(self._init.seccomp, self._init.seccomp_flags, self._init.channel)
        yield Execute(self)


def find_machine(process: Mapping[str, Any], filtered_by: Mapping[str, Any], *, born: bool) -> Machine | None:
    """The machine for a trampoline that ``filtered_by``, a profile, lets be entered; None where there can be none."""
    if process.get("selinuxLabel"):
        return None
    if process.get("apparmorProfile"):
        from ...linux.apparmor import DEFAULT_PROFILE  # labels.py has imported it, which no other process needs

        if process["apparmorProfile"] != DEFAULT_PROFILE:
            return None
    if born and process.get("scheduler"):
        return None  # what is borne does not inherit a deadline, nor what is to be reset on fork
    calls = _CALLS + (_CALLS_OF_BIRTH if born else ())
    return own_machine() if permits(filtered_by, calls, partly=_PARTLY) else None


class MakeTrampoline(Operation):
    """Make the trampoline, where it can be used."""

    def __init__(self, execution: Execution) -> None:
        self.execution = execution

    def __str__(self) -> str:
        return "make the program that leads to the payload"

    def execute(self) -> None:
        self.execution.make()


def _capabilities_to_keep(names: Mapping[str, Sequence[str]]) -> Capabilities | None:
    grantable = capget()[1]
    kinds = ("effective", "permitted", "inheritable", "ambient")
    masks = [split_grantable(names.get(kind) or (), grantable)[0] for kind in kinds]
    masks[3] &= masks[1] & masks[2]
    sets = Capabilities(*masks)
    return sets if sets.permitted & ~sets.ambient else None


class FindProgram(Operation):
    """Look the program up now, so that a wrong name is an error of create."""

    def __init__(self, execution: Execution) -> None:
        self.execution = execution

    def __str__(self) -> str:
        return f"exec {''.join(self.execution.args[:1])!r}"

    def execute(self) -> None:
        if self.execution.args:
            self.execution.find()


class Execute(Operation):
    """Become the program."""

    def __init__(self, execution: Execution) -> None:
        self.execution = execution

    def __str__(self) -> str:
        return str(self.execution)

    def execute(self) -> None:
        execution = self.execution
        path, args, variables = execution.find(), list(execution.args), execution.variables()
        inherited.reset_signals()
        if execution.trampoline < 0:
            from ...linux.magic_links import refuse_magic_links  # rarely needed, and preloaded then

            refuse_magic_links(path)
            os.execve(path, args, variables)
        sets = execution.capabilities
        if sets:
            # What is ambient survives into the trampoline, which sets them as they shall be.
            apply_sets(sets.permitted, sets.permitted, sets.permitted | sets.inheritable, sets.permitted)
        births = (execution.birth.announce,) if execution.birth else ()
        for fd in (execution.teller, *execution.held, *births):
            os.set_inheritable(fd, True)
        # execveat(2) with AT_EMPTY_PATH, in glibc (2.27) and musl alike: /proc need not be there.
        os.execve(execution.trampoline, [path, *args], variables)
