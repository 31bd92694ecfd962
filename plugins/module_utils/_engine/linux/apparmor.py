# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""AppArmor: whether this kernel has it, and the profile of builds' steps and of containers that name none.

The profile has the effect of docker's default: all that capabilities and modes allow, but no mount(2), no write to what
of /proc and /sys is not the container's own, no signal to and no trace of what is not in the profile, no AF_ALG. The
kernel knows a profile until it is shut down; it is loaded once for each boot and each text.
Source: apparmor.d(5), apparmor_parser(8), the kernel's Documentation/admin-guide/LSM/apparmor.rst. Raises Unsupported.
"""

from __future__ import annotations

import os

from ..errors import ProgramFailed, Unsupported
from .files import read_whole, write_atomic
from .lean import suppress
from .process import find_program, run_program

DEFAULT_PROFILE = "stowage-default"

_ENABLED = "/sys/module/apparmor/parameters/enabled"
_POLICY = "/sys/kernel/security/apparmor"
# Not in the PATH of every login.
_PARSERS = ("apparmor_parser", "/usr/sbin/apparmor_parser", "/sbin/apparmor_parser")
_ABI = "abi/3.0"

# A path is the one that the kernel has: /proc/self is a number. What is denied cannot be allowed by another rule, so
# what is to stay is left out letter by letter: /proc/PID, /proc/sys/k*, of /proc/sys/kernel sem* and shm*, which are of
# the IPC namespace, and /sys/fs/cgroup.
_RULES = """
profile stowage-default flags=(attach_disconnected, mediate_deleted) {
  capability,
  file,
  network,
  umount,
  deny mount,
  deny network alg,

  # Who ends containers is not confined, but for runtimes on hosts where these have a profile.
  signal (receive) peer={unconfined,runc,crun},
  signal (send, receive) peer=stowage-default,
  ptrace (read, readby, trace, tracedby) peer=stowage-default,

  deny /proc/* w,
  deny /proc/[^1-9s/]*/** w,
  deny /proc/s[^y/]*/** w,
  deny /proc/sy[^s/]*/** w,
  deny /proc/sys[^/]*/** w,
  deny /proc/sys/[^k/]** w,
  deny /proc/sys/kernel/[^s/]** w,
  deny /proc/sys/kernel/s[^eh/]** w,
  deny /proc/sys/kernel/se[^m/]** w,
  deny /proc/sys/kernel/sh[^m/]** w,
  deny /proc/{kcore,sysrq-trigger} rwklx,

  deny /sys/[^f/]** wklx,
  deny /sys/f[^s/]** wklx,
  deny /sys/fs/[^c/]** wklx,
  deny /sys/fs/c[^g/]** wklx,
  deny /sys/fs/cg[^r/]** wklx,
  deny /sys/{devices/virtual/powercap,firmware,kernel/security}/{,**} rwklx,
}
"""


def has_apparmor() -> bool:
    """Whether this kernel runs with AppArmor."""
    with suppress(OSError):
        return read_whole(_ENABLED)[:1] == b"Y"
    return False


def find_default_profile() -> str:
    """The name of the profile for containers that name none; empty where there can be none: where AppArmor is off,
    nothing compiles profiles, or we are confined ourselves, as in a container, whose profiles are its host's."""
    if not has_apparmor() or not os.path.exists(f"{_POLICY}/.replace") or not _find_parser():
        return ""
    with suppress(OSError):
        return DEFAULT_PROFILE if read_whole("/proc/self/attr/current").strip(b"\0\n") == b"unconfined" else ""
    return ""


def default_profile(directory: str = "/etc/apparmor.d") -> str:
    """The profile's text. It is for what AppArmor 3.0 mediates, which most hosts have a list of: what a later one does
    besides, and rules say nothing of, such as a socket of AF_UNIX, would be denied."""
    return (f"abi <{_ABI}>,\n" if os.path.exists(f"{directory}/{_ABI}") else "") + _RULES


def load_default_profile(note: str, *, otherwise: str) -> None:
    """Have the kernel know the profile; ``note`` is a file, gone with the boot, that has the text which it knows.

    ``otherwise`` tells, where it cannot be loaded, what does without it.
    """
    text = default_profile().encode()
    with suppress(OSError):
        if read_whole(note) == text and _is_loaded():
            return
    try:
        # --skip-cache: the cache is the distribution's, and may be read-only.
        run_program([_find_parser(), "--replace", "--skip-cache"], stdin=text)
    except ProgramFailed as error:
        told = f"the AppArmor profile {DEFAULT_PROFILE} cannot be loaded ({error})"
        raise Unsupported(f"{told}; {otherwise} does without it") from error
    write_atomic(note, text, mode=0o644, durable=False)


def _find_parser() -> str:
    return next((program for program in _PARSERS if find_program(program)), "")


def _is_loaded() -> bool:
    lines = read_whole(f"{_POLICY}/profiles").decode(errors="replace").splitlines()
    return any(line.startswith(f"{DEFAULT_PROFILE} (") for line in lines)
