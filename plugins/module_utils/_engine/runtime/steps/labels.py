# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels of the Linux security modules: AppArmor's profile and SELinux's contexts (runtime-spec, config.md, Process).

A label is for the next program, and given last, by way of the kernel's own procfs (CVE-2019-16884, CVE-2025-52881:
a mount on /proc in an image must not swallow it). Where the module is not there, a label is refused before anything is
created. Source: the kernel's Documentation/admin-guide/LSM/apparmor.rst, SELinux's libselinux and man pages.
"""

from __future__ import annotations

import errno
import os

from ...errors import Unsupported
from ...linux.apparmor import has_apparmor
from ...linux.mount_setattr import has_mount_setattr
from ...linux.procfs import write_proc
from .operations import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

_SELINUX = "/sys/fs/selinux/enforce"

# File systems that take a context at mount(2); procfs, sysfs and the like have theirs from the policy.
_LABELLED = ("tmpfs", "ramfs", "devpts", "overlay", "ext4", "xfs")


def has_selinux() -> bool:
    """Whether this kernel runs with SELinux and has its file system where it belongs."""
    return os.path.exists(_SELINUX)


def check_labels(process: Mapping[str, Any]) -> None:
    """Raise Unsupported for a label that this host cannot give.

    Not for ``linux.mountLabel``: it is for SELinux's decisions alone, so that nothing is weaker without it (as with
    crun; the program linux_mount_label of runtime-tools counts on it).
    """
    profile = process.get("apparmorProfile")
    if profile and profile != "unconfined" and not has_apparmor():
        told = f"process.apparmorProfile: {profile!r} cannot be had, this host has no AppArmor"
        raise Unsupported(f"{told}; leave it out")
    label = process.get("selinuxLabel")
    if label and not has_selinux():
        raise Unsupported(f"process.selinuxLabel: {label!r} cannot be had: this host has no SELinux; leave it out")


def plan_labels(process: Mapping[str, Any]) -> Iterator[Operation]:
    """What the next program, and the keys of the session, are labelled with."""
    if not has_mount_setattr():
        from ...linux import resolve  # what kernels without openat2(2) need: later it could not be imported

        del resolve
    profile, label = process.get("apparmorProfile"), process.get("selinuxLabel")
    if profile and has_apparmor():
        yield SetAppArmorProfile(profile)
    if label:
        yield SetSelinuxLabel(label)


def label_parameters(fstype: str, parameters: Sequence[str], label: str) -> list[str]:
    """The parameters of a mount, with the context of ``linux.mountLabel`` where that file system takes one."""
    if not has_selinux() or fstype not in _LABELLED:
        return list(parameters)
    if any(parameter.partition("=")[0].endswith("context") for parameter in parameters):
        return list(parameters)
    return [*parameters, f"context={label}"]


class SetAppArmorProfile(Operation):
    """Change the profile at the next execve(2) (aa_change_onexec(2))."""

    def __init__(self, profile: str) -> None:
        self.profile = profile

    def __str__(self) -> str:
        return f"set the AppArmor profile {self.profile!r} (process.apparmorProfile)"

    def execute(self) -> None:
        content = f"exec {self.profile}"
        try:
            write_proc("self/attr/apparmor/exec", content)
        except FileNotFoundError:  # before Linux 5.8
            try:
                write_proc("self/attr/exec", content)
            except FileNotFoundError as error:
                raise _not_loaded(error, self.profile) from error
        except OSError as error:
            raise _not_loaded(error, self.profile) from error


def _not_loaded(error: OSError, profile: str) -> OSError:
    """ENOENT, of the write, is said of a profile that the kernel does not have."""
    why = f"no profile {profile!r} is loaded" if error.errno == errno.ENOENT else error.strerror
    return OSError(error.errno, why)


class SetSelinuxLabel(Operation):
    """The context of the next program (setexeccon(3)) and of keys that are made until then (setkeycreatecon(3))."""

    def __init__(self, label: str) -> None:
        self.label = label

    def __str__(self) -> str:
        return f"set the SELinux label {self.label!r} (process.selinuxLabel)"

    def execute(self) -> None:
        for attribute in ("exec", "keycreate"):
            write_proc(f"self/attr/{attribute}", self.label)
