# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mounts with mount(2) alone, for kernels that lack mount_setattr(2) (before 5.12), and the option ``remount``.

Attributes take a second step here (mount(2), NOTES), for which the destination is opened again, inside the root too.
Errors: OSError; Unsupported for what takes a newer kernel.
"""

from __future__ import annotations

import os
import stat

from ...errors import Unsupported
from ...linux import mount as m
from ...linux.mount import mount
from ...linux.openat2 import fd_path
from .mount_options import LOCKED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...linux.lean import Descriptor
    from ...linux.openat2 import Root
    from .mount_options import MountOptions
    from .mounts import MountFilesystem

# Flags that a remount of a bind mount gives up unless it names them; statvfs(3) tells the same bits.
_KEPT = m.MS_RDONLY | m.MS_NOSUID | m.MS_NODEV | m.MS_NOEXEC | m.MS_NOATIME | m.MS_NODIRATIME
# ST_RELATIME is another bit than MS_RELATIME.
_ST_RELATIME = 4096


def mount_classic(entry: MountFilesystem) -> None:
    """Do what ``entry`` says."""
    options = entry.options
    if options.has_recursive():
        raise Unsupported(f"{entry}: recursive options take a kernel of 5.12 or later")
    if options.flags & m.MS_REMOUNT:
        _remount(entry)
    elif options.bind:
        _bind(entry)
    else:
        _mount(entry)
    for propagation in options.propagation:
        with _opened(entry) as target:
            mount("none", fd_path(target), flags=propagation)


def remount_read_only(root: Root, path: str) -> None:
    """Take away the right to write to the mount at ``path``."""
    with root.opened(path) as target:
        _remount_bind(target, m.MS_RDONLY, 0)


def _opened(entry: MountFilesystem) -> Descriptor:
    return entry.find_target() or entry.make_target()


def _bind(entry: MountFilesystem) -> None:
    options = entry.options
    if options.source_link or options.target_link or options.copy_link:
        raise Unsupported(f"{entry}: copy-symlink, src-nofollow and dest-nofollow take a kernel of 5.12 or later")
    directory = stat.S_ISDIR(os.stat(entry.source).st_mode)
    with entry.find_target() or entry.make_target(directory=directory) as target:
        mount(entry.source, fd_path(target), flags=options.flags & (m.MS_BIND | m.MS_REC))
    if options.has_flags():
        with _opened(entry) as target:
            _set_flags(target, options)


def _mount(entry: MountFilesystem) -> None:
    options = entry.options
    if options.copy_up:
        raise Unsupported(f"{entry}: tmpcopyup takes a kernel of 5.12 or later")
    found = entry.find_target()
    data = ",".join([*entry.inherited_mode(found), *options.parameters])
    flags = options.flags & ~(m.MS_RDONLY if entry.read_only_later else 0)
    with found or entry.make_target() as target:
        mount(entry.source or entry.fstype, fd_path(target), entry.fstype, flags, data)


def _remount(entry: MountFilesystem) -> None:
    """Other flags for what is mounted there already."""
    options: MountOptions = entry.options
    with _opened(entry) as target:
        if options.bind:
            _remount_bind(target, options.flags & ~(m.MS_BIND | m.MS_REC | m.MS_REMOUNT), options.cleared)
        else:
            mount(entry.source or "none", fd_path(target), entry.fstype, options.flags, options.data)


def _set_flags(target: int, options: MountOptions) -> None:
    """The flags of a bind mount: those that are named, and those that are locked (mount_namespaces(7))."""
    flags = m.MS_REMOUNT | m.MS_BIND | options.flags & ~m.MS_REC
    try:
        mount("none", fd_path(target), flags=flags)
    except PermissionError:
        found = os.fstatvfs(target).f_flag
        options.check_locked(found)
        mount("none", fd_path(target), flags=flags | found & LOCKED)


def _remount_bind(target: int, wanted: int, cleared: int) -> None:
    """Set and clear flags, and keep those that were not spoken of: some may be locked (mount_namespaces(7))."""
    found = os.fstatvfs(target).f_flag
    kept = found & _KEPT & ~cleared | (m.MS_RELATIME if found & _ST_RELATIME else 0)
    if wanted | kept != kept or found & _KEPT & cleared:
        mount("none", fd_path(target), flags=m.MS_REMOUNT | m.MS_BIND | kept | wanted)
