# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What containers ask of the host's kernel and files beside images, networks and cgroups: looked up, or refused.

What another kernel would have is refused at once, in check mode too. What an earlier task may have made (a file, a
device, a program) is looked for before anything is changed, where a container is to be started; check mode takes it for
granted, with a warning.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace

from .errors import NotFound, Unsupported
from .linux.process import find_program
from .shim.provisions import observe_provisions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .model.container import Container, Security

    Absent = Callable[[NotFound], None]

# Overlayfs on idmapped layers (Documentation/filesystems/overlayfs.rst).
IDMAPPED_OVERLAY = (5, 19)


def complete_container(container: Container, current: Container | None, absent: Absent) -> Container:
    """``container`` with the digest of its seccomp profile. Raises InvalidOption, Unsupported."""
    check_kernel(container, os.uname().release)
    path = container.security.seccomp
    if not path.startswith("/"):
        return container
    if os.path.exists(path):
        from .shim.seccomp_file import read_profile  # few have one of their own

        digest = read_profile(path)[1]
    else:
        absent(NotFound("seccomp profile", path, f"container {container.name} asks for it in security_opts"))
        digest = current.security.seccomp_digest if current else ""
    return replace(container, security=replace(container.security, seccomp_digest=digest))


def check_provisions(container: Container, absent: Absent) -> None:
    """Tell ``absent`` of what the container takes from this host and does not find; InvalidOption where it is there,
    but no device."""
    where = f"container {container.name} asks for it in"
    for volume in container.volumes:
        if not os.path.exists(volume.source):
            absent(NotFound("file or directory", volume.source, f"{where} volumes; make it first"))
    there = []
    for device in container.devices:
        if os.path.exists(device.source):
            there.append(device)
        else:
            absent(NotFound("device", device.source, f"{where} devices; make it first, or load its driver"))
    if container.runtime and find_program(container.runtime) is None:
        absent(NotFound("runtime", container.runtime, f"{where} runtime; install it, or leave runtime out"))
    try:
        observe_provisions(replace(container, devices=tuple(there), security=_without_missing_profile(container)))
    except NotFound as error:
        absent(error)


def _without_missing_profile(container: Container) -> Security:
    """Whoever completed the container has told of it (complete_container())."""
    missing = container.security.seccomp.startswith("/") and not os.path.exists(container.security.seccomp)
    return replace(container.security, seccomp="") if missing else container.security


def check_kernel(container: Container, release: str, root: str = "/") -> None:
    """Raise Unsupported for what the kernel ``release`` lacks; ``root`` has its /proc and /sys."""
    where = f"container {container.name}"
    if container.namespaces.userns != "keep":
        numbers = re.match(r"(\d+)\.(\d+)", release)
        oldest = ".".join(map(str, IDMAPPED_OVERLAY))
        if not numbers or (int(numbers[1]), int(numbers[2])) < IDMAPPED_OVERLAY:
            raise Unsupported(
                f"{where}: userns: {container.namespaces.userns} needs Linux {oldest} or newer, for layers with other "
                f"ids; this host has {release}; leave userns out"
            )
        if not os.path.exists(os.path.join(root, "proc/self/ns/user")):
            raise Unsupported(f"{where}: userns: this kernel has no user namespaces (CONFIG_USER_NS); leave userns out")
    security = container.security
    if security.apparmor not in ("", "unconfined") and not _is_on(root, "sys/module/apparmor/parameters/enabled"):
        raise Unsupported(f"{where}: security_opts: apparmor: AppArmor is not on on this host; leave it out")
    if security.label not in ((), ("disable",)) and not os.path.exists(os.path.join(root, "sys/fs/selinux/enforce")):
        raise Unsupported(f"{where}: security_opts: label: SELinux is not on on this host; leave it out")


def _is_on(root: str, path: str) -> bool:
    try:
        with open(os.path.join(root, path), encoding="ascii") as file:
            return file.read().strip() == "Y"
    except OSError:
        return False
