# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a step of a build has mounted beside a container's usual things: parts of other roots, caches, tmpfs, secrets.

All is made in the mount namespace of the step, on its private tmpfs; only caches are the host's.
"""

from __future__ import annotations

import hashlib
import os
import stat

from .errors import KernelError, RuntimeFailed
from .image.build.run_step import BindMount, CacheMount, FileMount, TmpfsMount
from .linux import mount as m
from .linux.mount import mount, mount_overlay
from .linux.openat2 import Root, fd_path
from .linux.process import run_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from .image.build.run_step import RunStep, StepMount
    from .paths import Paths

# What shim/spec.py mounts in every container; what is below these needs no place in the root.
_USUAL = ("/proc", "/dev", "/sys", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf")
_OPTIONS = ["rbind", "rprivate", "nodev"]


def mount_targets(step: RunStep) -> list[str]:
    """Where something is mounted while the step runs."""
    return [*_USUAL, *(one.target for one in step.mounts)]


def prepare_mounts(paths: Paths, step: RunStep, private: str) -> list[dict[str, Any]]:
    """Entries of config.json for the mounts of ``step``. Raises KernelError, RuntimeFailed."""
    mounts = []
    for number, one in enumerate(step.mounts):
        try:
            mounts.append(_prepare(paths, one, os.path.join(private, f"mount{number}")))
        except OSError as error:
            raise KernelError(f"--mount on {one.target}", error) from error
    return mounts


def _prepare(paths: Paths, one: StepMount, place: str) -> dict[str, Any]:
    if isinstance(one, TmpfsMount):
        size = [f"size={one.size}"] if one.size else []
        return {
            "destination": one.target,
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "nodev", "mode=1777", *size],
        }
    if isinstance(one, FileMount):
        with open(place, "xb") as file:
            os.fchown(file.fileno(), one.uid, one.gid)
            os.fchmod(file.fileno(), one.mode)
            file.write(one.content)
        return _bound(place, one.target, "ro")
    if isinstance(one, CacheMount):
        return _bound(_cache(paths, one, place), one.target, "rw" if one.writable else "ro")
    return _bound(_part_of_root(one, place), one.target, "rw" if one.writable else "ro")


def _bound(source: str, target: str, option: str) -> dict[str, Any]:
    return {"destination": target, "type": "bind", "source": source, "options": [*_OPTIONS, option]}


def _cache(paths: Paths, one: CacheMount, place: str) -> str:
    """The directory of a cache, made where it lacks."""
    directory = os.path.join(paths.build_cache, "mounts", hashlib.sha256(one.id.encode()).hexdigest()[:32])
    if os.path.isdir(directory):
        os.utime(directory)  # it is of use: see image/build/prune.py
        return directory
    fresh = directory + ".partial"
    run_program(["rm", "-rf", fresh])
    os.makedirs(fresh, mode=0o700)
    if one.seed:
        run_program(["cp", "-a", _part_of_root(one.seed, place) + "/.", fresh], timeout=3600.0)
    os.chown(fresh, one.uid, one.gid)
    os.chmod(fresh, one.mode)
    os.rename(fresh, directory)
    return directory


def _part_of_root(one: BindMount, place: str) -> str:
    """Mount the root that ``one`` is a part of; the path of that part, which no link leads out of."""
    os.makedirs(place)
    root = os.path.join(place, "root")
    for name in ("root", "upper", "work"):
        os.mkdir(os.path.join(place, name))
    lower = list(reversed(one.lower))
    hidden = set(_hidden(one))
    if not one.writable and not hidden and len(lower) == 1:
        mount(lower[0], root, flags=m.MS_BIND)
    elif not one.writable and not hidden:
        mount_overlay(root, lower=lower)
    else:
        upper = os.path.join(place, "upper")
        found = os.stat(lower[0])
        os.chown(upper, found.st_uid, found.st_gid)
        os.chmod(upper, stat.S_IMODE(found.st_mode))
        mount_overlay(root, lower=lower, upper=upper, work=os.path.join(place, "work"))
        for path in hidden:
            # Nobody else is in there yet; what is removed gets hidden by the overlay.
            run_program(["rm", "-rf", "--", os.path.join(root, path)], timeout=600.0)
    handle = Root(root)
    handle.attach()
    try:
        found_part = handle.find("/" + one.source)
        if found_part is None:
            raise RuntimeFailed(f"--mount on {one.target}: the source {one.source!r} is not there")
        with found_part as fd:
            return os.readlink(fd_path(fd))
    finally:
        handle.close()


def _hidden(one: BindMount) -> Iterator[str]:
    """The paths to hide, without those that could lead out."""
    return (path for path in one.hidden if ".." not in path.split("/"))
