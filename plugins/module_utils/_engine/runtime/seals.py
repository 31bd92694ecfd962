# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a process of ours is seen from inside a container while it is Python, and so has to run from what cannot be
written to (linux/sealed.py, CVE-2019-5736). In a user namespace there is no need: its root owns no file of the host.

Not to be dumpable keeps out all but those with CAP_SYS_PTRACE (ptrace(2), access mode checking).
"""

from __future__ import annotations

from ..errors import Conflict
from ..linux.seccomp_profile import SECCOMP_FILTER_FLAG_NEW_LISTENER, parse_flags
from .steps.execution import find_machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_TRACES = "CAP_SYS_PTRACE"


def may_trace(process: Mapping[str, Any]) -> bool:
    """Whether a process is given the right to look into all others."""
    return any(_TRACES in (names or ()) for names in (process.get("capabilities") or {}).values())


def has_own_users(spec: Mapping[str, Any]) -> bool:
    """Whether there is a user namespace."""
    return any(entry["type"] == "user" for entry in (spec.get("linux") or {}).get("namespaces") or ())


def is_entered_by_us(spec: Mapping[str, Any], process: Mapping[str, Any]) -> bool:
    """Whether it is Python that enters the pid namespace of a container, in the place of a trampoline (exec.py)."""
    profile = (spec.get("linux") or {}).get("seccomp") or {}
    if has_own_users(spec):
        return False
    if profile and parse_flags(profile) & SECCOMP_FILTER_FLAG_NEW_LISTENER:
        return True
    return find_machine(process, {} if process.get("noNewPrivileges") else profile, born=True) is None


def refuse_tracer(identity: str, pid: int, spec: Mapping[str, Any], process: Mapping[str, Any]) -> None:
    """Raise Conflict where a process would be able to open what the init of a created container is run from."""
    if not may_trace(process) or has_own_users(spec):
        return
    from ..linux.sealed import is_unwritable  # hardly any process may trace others

    if not is_unwritable(f"/proc/{pid}/exe"):
        told = f"a process with {_TRACES} could reach this host's Python by its init"
        raise Conflict(f"container {identity!r} is created: {told}; start it first")
