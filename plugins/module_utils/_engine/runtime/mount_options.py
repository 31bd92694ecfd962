# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mount options of runtime-spec 1.3 (config.md, Linux mount options), in the kernel's flags."""

from __future__ import annotations

from ..errors import Unsupported
from ..linux import mount as m
from ..linux import mount_setattr as a

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

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
    "rnorelatime": (a.MOUNT_ATTR_STRICTATIME, _ATIME),
    "rnoatime": (a.MOUNT_ATTR_NOATIME, _ATIME),
    "ratime": (a.MOUNT_ATTR_RELATIME, _ATIME),
    "rstrictatime": (a.MOUNT_ATTR_STRICTATIME, _ATIME),
    "rnostrictatime": (a.MOUNT_ATTR_RELATIME, _ATIME),
    "rsymfollow": (0, a.MOUNT_ATTR_NOSYMFOLLOW),
    "rnosymfollow": (a.MOUNT_ATTR_NOSYMFOLLOW, 0),
}


class MountOptions:
    """Options told apart: ``flags`` (and those ``cleared`` on purpose), ``propagation``, recursive ones, ``data``."""

    def __init__(self) -> None:
        self.flags = 0
        self.cleared = 0
        self.propagation: list[int] = []
        self.recursive_set = 0
        self.recursive_clear = 0
        self.copy_up = False
        self.data = ""

    @property
    def bind(self) -> bool:
        return bool(self.flags & m.MS_BIND)


def parse_mount_options(where: str, options: Sequence[str]) -> MountOptions:
    """Tell ``options`` apart; what is not in the tables is the file system's own. Raises Unsupported with ``where``."""
    parsed = MountOptions()
    data = []
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
        elif option.partition("=")[0] in ("idmap", "ridmap"):
            raise Unsupported(f"{where}: {option!r} is not supported yet; leave it out")
        else:
            data.append(option)
    parsed.data = ",".join(data)
    return parsed
