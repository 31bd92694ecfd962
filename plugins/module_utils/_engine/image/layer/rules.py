# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a layer may be forbidden to have: devices, and files that give whoever runs them rights.

It is refused as a whole, InvalidImage with the entry's name: layers are shared by all images and containers of a host,
so that none can be unpacked otherwise for one of them.
"""

from __future__ import annotations

import os
import stat

from ...errors import InvalidImage
from .tree import is_whiteout, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from .budget import Rules

CAPABILITY = b"security.capability"
SPECIAL = stat.S_ISUID | stat.S_ISGID


def refuse_device(name: bytes) -> NoReturn:
    raise InvalidImage(f"the layer has the device {show(name)}, and devices are not allowed")


def refuse_privileged(name: bytes, special: int) -> NoReturn:
    """``special`` are the bits that a file has; none where it is its capabilities."""
    what = "is set-user-ID" if special & stat.S_ISUID else "is set-group-ID" if special else "has capabilities"
    raise InvalidImage(f"the layer has the file {show(name)}, which {what}, and such files are not allowed")


def check_unpacked(directory: str, diff_id: str, rules: Rules) -> None:
    """Hold a layer that was unpacked before against ``rules``; it may not be there. Nothing is read where they forbid
    nothing."""
    if (rules.devices and rules.setuid) or not os.path.isdir(directory):
        return
    root = os.fsencode(directory)
    try:
        for path, _names, names, fd in os.fwalk(root):
            for name in names:
                _check(os.path.relpath(os.path.join(path, name), root), fd, name, rules)
    except InvalidImage as error:
        raise InvalidImage(f"layer {diff_id}: {error}") from error


def _check(path: bytes, directory: int, name: bytes, rules: Rules) -> None:
    found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    kind = stat.S_IFMT(found.st_mode)
    if not rules.devices and kind in (stat.S_IFCHR, stat.S_IFBLK) and not is_whiteout(found):
        refuse_device(path)
    if not rules.setuid and kind == stat.S_IFREG:
        special = found.st_mode & SPECIAL
        # listxattr(2) has no form with a descriptor and a name, and the path may be longer than a path can be.
        if special or os.fsdecode(CAPABILITY) in os.listxattr(b"/proc/self/fd/%d/%b" % (directory, name)):
            refuse_privileged(path, special)
