# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mount options of runtime-spec 1.3 (config.md, Linux mount options) and of crun, in the kernel's flags."""

from __future__ import annotations

import errno

from ...linux import mount as m
from ...linux import mount_setattr as a

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

# Option to (flags to set, flags to clear).
FLAGS = {
    "defaults": (0, 0),
    "async": (0, m.MS_SYNCHRONOUS),
    "sync": (m.MS_SYNCHRONOUS, 0),
    "atime": (0, m.MS_NOATIME),
    "noatime": (m.MS_NOATIME, 0),
    "bind": (m.MS_BIND, 0),
    "rbind": (m.MS_BIND | m.MS_REC, 0),
    "dev": (0, m.MS_NODEV),
    "nodev": (m.MS_NODEV, 0),
    "diratime": (0, m.MS_NODIRATIME),
    "nodiratime": (m.MS_NODIRATIME, 0),
    "dirsync": (m.MS_DIRSYNC, 0),
    "exec": (0, m.MS_NOEXEC),
    "noexec": (m.MS_NOEXEC, 0),
    "iversion": (m.MS_I_VERSION, 0),
    "noiversion": (0, m.MS_I_VERSION),
    "lazytime": (m.MS_LAZYTIME, 0),
    "nolazytime": (0, m.MS_LAZYTIME),
    "loud": (0, m.MS_SILENT),
    "silent": (m.MS_SILENT, 0),
    "mand": (m.MS_MANDLOCK, 0),
    "nomand": (0, m.MS_MANDLOCK),
    "relatime": (m.MS_RELATIME, 0),
    "norelatime": (0, m.MS_RELATIME),
    "remount": (m.MS_REMOUNT, 0),
    "ro": (m.MS_RDONLY, 0),
    "rw": (0, m.MS_RDONLY),
    "strictatime": (m.MS_STRICTATIME, 0),
    "nostrictatime": (0, m.MS_STRICTATIME),
    "suid": (0, m.MS_NOSUID),
    "nosuid": (m.MS_NOSUID, 0),
    "symfollow": (0, m.MS_NOSYMFOLLOW),
    "nosymfollow": (m.MS_NOSYMFOLLOW, 0),
}

PROPAGATION = {
    "private": m.MS_PRIVATE,
    "shared": m.MS_SHARED,
    "slave": m.MS_SLAVE,
    "unbindable": m.MS_UNBINDABLE,
    "rprivate": m.MS_PRIVATE | m.MS_REC,
    "rshared": m.MS_SHARED | m.MS_REC,
    "rslave": m.MS_SLAVE | m.MS_REC,
    "runbindable": m.MS_UNBINDABLE | m.MS_REC,
}

# Option to (attributes to set, attributes to clear) of mount_setattr(2), for the mount and all below it.
_ATIME = a.MOUNT_ATTR__ATIME
RECURSIVE = {
    "rro": (a.MOUNT_ATTR_RDONLY, 0),
    "rrw": (0, a.MOUNT_ATTR_RDONLY),
    "rnosuid": (a.MOUNT_ATTR_NOSUID, 0),
    "rsuid": (0, a.MOUNT_ATTR_NOSUID),
    "rnodev": (a.MOUNT_ATTR_NODEV, 0),
    "rdev": (0, a.MOUNT_ATTR_NODEV),
    "rnoexec": (a.MOUNT_ATTR_NOEXEC, 0),
    "rexec": (0, a.MOUNT_ATTR_NOEXEC),
    "rnodiratime": (a.MOUNT_ATTR_NODIRATIME, 0),
    "rdiratime": (0, a.MOUNT_ATTR_NODIRATIME),
    "rrelatime": (a.MOUNT_ATTR_RELATIME, _ATIME),
    "rnorelatime": (a.MOUNT_ATTR_RELATIME, _ATIME),  # mount(8): the kernel's default, which is relatime
    "rnoatime": (a.MOUNT_ATTR_NOATIME, _ATIME),
    "ratime": (a.MOUNT_ATTR_RELATIME, _ATIME),
    "rstrictatime": (a.MOUNT_ATTR_STRICTATIME, _ATIME),
    "rnostrictatime": (a.MOUNT_ATTR_RELATIME, _ATIME),
    "rsymfollow": (0, a.MOUNT_ATTR_NOSYMFOLLOW),
    "rnosymfollow": (a.MOUNT_ATTR_NOSYMFOLLOW, 0),
}


# Flags of mount(2) that are a mount's own; all others are its file system's, and a bind mount has no say in them.
_ATTRIBUTES = (
    (m.MS_RDONLY, a.MOUNT_ATTR_RDONLY),
    (m.MS_NOSUID, a.MOUNT_ATTR_NOSUID),
    (m.MS_NODEV, a.MOUNT_ATTR_NODEV),
    (m.MS_NOEXEC, a.MOUNT_ATTR_NOEXEC),
    (m.MS_NODIRATIME, a.MOUNT_ATTR_NODIRATIME),
    (m.MS_NOSYMFOLLOW, a.MOUNT_ATTR_NOSYMFOLLOW),
)
# Those that mount(2) leaves alone on a remount that names none of them (Linux 3.17), and what they are here.
_TIMES = m.MS_NOATIME | m.MS_NODIRATIME | m.MS_RELATIME | m.MS_STRICTATIME
_TIME_ATTRIBUTES = a.MOUNT_ATTR__ATIME | a.MOUNT_ATTR_NODIRATIME
_ST_RELATIME = 4096  # statvfs(3); of the others, the bits are those of mount(2)
# What a mount that came from a more powerful mount namespace cannot lose, beside its times (mount_namespaces(7)).
LOCKED = m.MS_RDONLY | m.MS_NOSUID | m.MS_NODEV | m.MS_NOEXEC
# What those who read the messages of runc look for.
_KNOWN_AS = """\
runc run failed: unable to start container process: error during container init: error mounting: operation not \
permitted"""
# Flags of mount(2) that fsconfig(2) has as parameters.
_PARAMETERS = (
    (m.MS_RDONLY, "ro"),
    (m.MS_SYNCHRONOUS, "sync"),
    (m.MS_DIRSYNC, "dirsync"),
    (m.MS_LAZYTIME, "lazytime"),
    (m.MS_MANDLOCK, "mand"),
)


# What the specification has that is not the kernel's.
OWN = ("tmpcopyup", "idmap", "ridmap")


class MountOptions:
    """Options told apart: ``flags`` (and those ``cleared`` on purpose), ``propagation``, recursive ones, ``data``.

    ``id_map`` is "idmap", "ridmap" or nothing. ``copy_link``, ``source_link`` and ``target_link`` are crun's
    copy-symlink, src-nofollow and dest-nofollow (crun(1)).
    """

    def __init__(self) -> None:
        self.flags = 0
        self.cleared = 0
        self.propagation: list[int] = []
        self.recursive_set = 0
        self.recursive_clear = 0
        self.copy_up = False
        self.id_map = ""
        self.copy_link = False
        self.source_link = False
        self.target_link = False
        self.parameters: list[str] = []

    @property
    def bind(self) -> bool:
        return bool(self.flags & m.MS_BIND)

    @property
    def data(self) -> str:
        """The file system's own options, as mount(2) takes them."""
        return ",".join(self.quoted_parameters())

    def quoted_parameters(self) -> list[str]:
        """The same one by one. A SELinux context has commas, and mount(2) takes it in quotes, unlike fsconfig(2)."""
        quoted = []
        for parameter in self.parameters:
            name, _equals, value = parameter.partition("=")
            quoted.append(f'{name}="{value}"' if name.endswith("context") and value[:1] != '"' else parameter)
        return quoted

    def has_flags(self) -> bool:
        """Whether anything is said of the mount's own flags. A bind mount of which nothing is keeps its source's."""
        return bool(self.flags & ~(m.MS_BIND | m.MS_REC | m.MS_REMOUNT) or self.cleared)

    def attributes(self) -> tuple[int, int]:
        """What mount_setattr(2) is to set and to clear, for what a remount by mount(2) comes to: all that is not named
        goes, but the times of access, which stay where none of them is asked for. So runc has it."""
        wanted = sum(attribute for flag, attribute in _ATTRIBUTES if self.flags & flag)
        cleared = sum(attribute for flag, attribute in _ATTRIBUTES if not (self.flags | m.MS_NODIRATIME) & flag)
        if not self.flags & _TIMES:
            return wanted, cleared
        # There is always one of _ATIME (mount_setattr(2)): all are cleared to set another. 0 is relatime.
        cleared |= _ATIME | (a.MOUNT_ATTR_NODIRATIME & ~wanted)
        if self.flags & m.MS_STRICTATIME:
            return wanted | a.MOUNT_ATTR_STRICTATIME, cleared
        return wanted | (a.MOUNT_ATTR_NOATIME if self.flags & m.MS_NOATIME else 0), cleared

    def attributes_beside(self, found: int) -> tuple[int, int]:
        """The same where some may not be cleared (see check_locked), which are among ``found`` of statvfs(3)."""
        self.check_locked(found)
        kept = sum(attribute for flag, attribute in _ATTRIBUTES if found & LOCKED & flag)
        attr_set, attr_clr = self.attributes()
        return attr_set & ~_TIME_ATTRIBUTES, attr_clr & ~kept & ~_TIME_ATTRIBUTES

    def check_locked(self, found: int) -> None:
        """Refuse to clear, or to have other times of access than, what a mount has from a more powerful mount
        namespace (mount_namespaces(7)); ``found`` is statvfs(3)'s. Raises OSError."""
        names = [name for name, (flag, _unwanted) in FLAGS.items() if flag & found & self.cleared & LOCKED]
        times = self.flags & _TIMES
        if times:
            strict, no = times & m.MS_STRICTATIME, times & m.MS_NOATIME
            wanted = 0 if strict else m.MS_NOATIME if no else _ST_RELATIME
            if wanted | (times & m.MS_NODIRATIME) != found & (m.MS_NOATIME | m.MS_NODIRATIME | _ST_RELATIME):
                names.append("the times of access")
        if names:
            why = f"Operation not permitted: {' and '.join(names)} of its source cannot be changed in a user namespace"
            raise OSError(errno.EPERM, f"{why} ({_KNOWN_AS})")

    def has_recursive(self) -> bool:
        """Whether options count for the mounts below too."""
        return bool(self.recursive_set or self.recursive_clear)

    def file_system_parameters(self) -> list[str]:
        """The flags that are the file system's, and its own options, as fsconfig(2) takes them."""
        found = [name for flag, name in _PARAMETERS if self.flags & flag]
        for parameter in self.parameters:
            labels = parameter.partition("=")[0].endswith("context")  # SELinux's, with commas of their own
            found += [parameter] if labels else [part for part in parameter.split(",") if part]
        return found


def parse_mount_options(options: Sequence[str], fstype: str = "") -> MountOptions:
    """Tell ``options`` apart; what is not in the tables is the file system's own. The type ``bind`` is one too."""
    parsed = MountOptions()
    if fstype == "bind":
        parsed.flags = m.MS_BIND
    for option in options:
        if option in FLAGS:
            wanted, unwanted = FLAGS[option]
            parsed.flags = (parsed.flags | wanted) & ~unwanted
            parsed.cleared = (parsed.cleared | unwanted) & ~wanted
        elif option in PROPAGATION:
            parsed.propagation.append(PROPAGATION[option])
        elif option in RECURSIVE:
            wanted, unwanted = RECURSIVE[option]
            parsed.recursive_set = parsed.recursive_set & ~unwanted | wanted
            parsed.recursive_clear = parsed.recursive_clear & ~wanted | unwanted
        elif option == "tmpcopyup":
            parsed.copy_up = True
        elif option in ("idmap", "ridmap"):
            parsed.id_map = option
        elif option == "copy-symlink":
            parsed.copy_link = True
        elif option == "src-nofollow":
            parsed.source_link = True
        elif option == "dest-nofollow":
            parsed.target_link = True
        else:
            parsed.parameters.append(option)
    return parsed


def needs_sources(spec: Mapping[str, Any]) -> bool:
    """Whether sources of mounts are to be opened before the init is born (sources.py).

    They are where there is a new or another user namespace, or a mount with a mapping.
    """
    namespaces = (spec.get("linux") or {}).get("namespaces") or ()
    if any(namespace["type"] == "user" for namespace in namespaces):
        return True
    for entry in spec.get("mounts") or ():
        options = entry.get("options") or ()
        if entry.get("uidMappings") or "idmap" in options or "ridmap" in options:
            return True
    return False
