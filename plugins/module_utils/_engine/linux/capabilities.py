# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Capabilities: their names and numbers, docker's default set, what options add and drop, and the system calls.

A set is a mask of bits, one for each number, as the kernel has it; names are CAP_* in the order of their numbers.

This host may lack capabilities (it is a container itself, or its kernel is older than a name). What cannot be granted
does not stop a container: runtime-spec (config.md, Process) has the runtime warn and go on. ``split_grantable`` says
what to grant and what to warn of. An option that names what no kernel knows is an error.

Source: capabilities(7), capset(2), prctl(2), linux/capability.h of Linux 6.18 (last: CAP_CHECKPOINT_RESTORE, 5.9).
"""

from __future__ import annotations

import ctypes
import struct

from ..errors import InvalidOption
from .files import read_whole
from .libc import check, libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

CAPABILITIES = (
    *("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID"),
    *("CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST"),
    *("CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO"),
    *("CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE"),
    *("CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE"),
    *("CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM"),
    *("CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE"),
)
NUMBERS = {name: number for number, name in enumerate(CAPABILITIES)}

# What docker leaves a container with (moby, daemon/pkg/oci/caps/defaults.go).
DEFAULT_CAPABILITIES = (
    *("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID"),
    *("CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SYS_CHROOT", "CAP_MKNOD", "CAP_AUDIT_WRITE"),
    "CAP_SETFCAP",
)

PR_SET_KEEPCAPS = 8
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
PR_CAP_AMBIENT_CLEAR_ALL = 4

_LINUX_CAPABILITY_VERSION_3 = 0x20080522
_LOW = 0xFFFFFFFF
_STATUS_FIELDS = {
    "CapInh": "inheritable",
    "CapPrm": "permitted",
    "CapEff": "effective",
    "CapBnd": "bounding",
    "CapAmb": "ambient",
}

_libc_prctl = libc()["prctl"]  # an object of its own, so these types hold for this module alone
_libc_prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)


def parse_capability(name: object, option: str) -> str:
    """``NET_ADMIN``, ``net_admin`` or ``CAP_NET_ADMIN`` as CAP_NET_ADMIN. Raises InvalidOption naming ``option``."""
    upper = name.upper() if isinstance(name, str) else ""
    upper = upper if upper.startswith("CAP_") else "CAP_" + upper
    if upper not in NUMBERS:
        raise InvalidOption(option, name, "ALL or a capability of capabilities(7), such as NET_ADMIN or CAP_NET_ADMIN")
    return upper


def plan_capabilities(
    cap_add: Iterable[str] = (),
    cap_drop: Iterable[str] = (),
    *,
    base: Collection[str] = DEFAULT_CAPABILITIES,
    every: Collection[str] = CAPABILITIES,
) -> tuple[str, ...]:
    """The set that docker makes of its default and the two options, in the kernel's order.

    What is added wins over what is dropped, and ``ALL`` added (``every``: what this host can grant) less what is
    dropped over ``ALL`` dropped. Raises InvalidOption.
    """
    added, all_added = _parse_names(cap_add, "cap_add")
    dropped, all_dropped = _parse_names(cap_drop, "cap_drop")
    if all_added:
        chosen = {*every} - dropped
    elif all_dropped:
        chosen = added
    else:
        chosen = {*base} - dropped | added
    return tuple(name for name in CAPABILITIES if name in chosen)


def split_grantable(names: Iterable[str], grantable: int) -> tuple[int, tuple[str, ...]]:
    """The mask of those ``names`` that ``grantable`` has, and the names that it or this kernel does not have."""
    wanted = {name: NUMBERS.get(name, -1) for name in names}
    refused = tuple(name for name, number in wanted.items() if number < 0 or not grantable >> number & 1)
    return sum(1 << number for name, number in wanted.items() if name not in refused), refused


def capability_mask(names: Iterable[str]) -> int:
    """The bits of ``names``, all of which are in CAPABILITIES."""
    return sum({1 << NUMBERS[name] for name in names})


def capability_names(mask: int) -> tuple[str, ...]:
    """The names of the bits in ``mask``; a bit newer than this list is CAP_<number>."""
    numbers = [number for number in range(mask.bit_length()) if mask >> number & 1]
    return tuple(CAPABILITIES[number] if number < len(CAPABILITIES) else f"CAP_{number}" for number in numbers)


def observe_last_capability() -> int:
    """The greatest number that this kernel knows. /proc must be mounted (else OSError)."""
    return int(read_whole("/proc/sys/kernel/cap_last_cap"))


def observe_capabilities(pid: int | str = "self") -> dict[str, int]:
    """The five sets of a process by OCI's names (bounding, effective, ...), as /proc/<pid>/status shows them."""
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
        fields = dict(line.split(":", 1) for line in file)
    return {name: int(fields[field], 16) for field, name in _STATUS_FIELDS.items()}


def capget(pid: int = 0) -> tuple[int, int, int]:
    """The effective, permitted and inheritable sets of a thread, this one if 0."""
    header = struct.pack("=Ii", _LINUX_CAPABILITY_VERSION_3, pid)
    data = ctypes.create_string_buffer(24)
    check(libc().capget(header, data))
    effective, permitted, inheritable, *high = struct.unpack("=6I", data.raw)
    return effective | high[0] << 32, permitted | high[1] << 32, inheritable | high[2] << 32


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """Set this thread's sets. EPERM where ``permitted`` has what was not permitted before."""
    sets = (effective, permitted, inheritable)
    header = struct.pack("=Ii", _LINUX_CAPABILITY_VERSION_3, 0)
    check(libc().capset(header, struct.pack("=6I", *(s & _LOW for s in sets), *(s >> 32 for s in sets))))


def prctl_capbset_read(capability: int) -> bool:
    """Whether this thread's bounding set has ``capability``. EINVAL where the kernel does not know it."""
    return bool(_prctl(PR_CAPBSET_READ, capability))


def prctl_capbset_drop(capability: int) -> None:
    """Take ``capability`` out of this thread's bounding set, for good. Needs CAP_SETPCAP (else EPERM)."""
    _prctl(PR_CAPBSET_DROP, capability)


def prctl_cap_ambient_raise(capability: int) -> None:
    """Add to the ambient set, which survives execve. EPERM unless ``capability`` is permitted and inheritable."""
    _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability)


def prctl_cap_ambient_clear_all() -> None:
    """Empty the ambient set."""
    _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)


def prctl_set_keepcaps(keep: bool) -> None:
    """Whether a change from user 0 to others leaves the permitted set (it empties the effective one all the same)."""
    _prctl(PR_SET_KEEPCAPS, int(keep))


def apply_bounding(mask: int, last: int) -> None:
    """Drop all but ``mask`` from the bounding set; ``last`` is ``observe_last_capability()``, read before /proc goes.

    To be called while CAP_SETPCAP is effective, so before the user changes. Raises OSError.
    """
    for number in range(last + 1):
        if not mask >> number & 1:
            prctl_capbset_drop(number)


def apply_sets(effective: int, permitted: int, inheritable: int, ambient: int) -> None:
    """The other four sets of this thread, with masks that are grantable. Raises OSError.

    After a change of user, with ``prctl_set_keepcaps`` before it. What is ambient must be permitted and inheritable.
    """
    capset(effective, permitted, inheritable)
    prctl_cap_ambient_clear_all()
    for number in range(ambient.bit_length()):
        if ambient >> number & 1:
            prctl_cap_ambient_raise(number)


def _parse_names(names: Iterable[str], option: str) -> tuple[set[str], bool]:
    """The named capabilities, and whether ALL is among the names."""
    listed = list(names)
    single = [name for name in listed if not isinstance(name, str) or name.upper() != "ALL"]
    return {parse_capability(name, option) for name in single}, len(single) < len(listed)


def _prctl(option: int, argument: int, argument_two: int = 0) -> int:
    return check(_libc_prctl(option, argument, argument_two, 0, 0))  # it refuses rubbish in arguments left unused
