# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is at a path once layers lie over one another, as overlayfs would show it, with nothing mounted.

A new layer needs it: the directories on the way to its files keep the owner and mode that lower layers gave them, and
a path through a link of a lower layer (``/bin`` to ``usr/bin``) must not hide the link.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import NamedTuple

from ...errors import InvalidImage
from ..layer.tar import CHARACTER, DIRECTORY, FILE, KINDS, SYMLINK, Member

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Union

    # In memory: members by path, opaque directories as paths ending with a slash. On disk: an unpacked layer.
    Layer = Union[Mapping[bytes, Member], str]

_MAX_LINKS = 40
_OPAQUE_XATTR = "trusted.overlay.opaque"


class Found(NamedTuple):
    """What is on disk at ``path``, in the topmost layer that has it; a directory's content is in all of ``below``."""

    name: bytes
    path: bytes
    stat: os.stat_result
    below: tuple[bytes, ...] = ()

    @property
    def is_directory(self) -> bool:
        return bool(self.below)


class View:
    """Layers over one another, the lowest first; push() adds the topmost. An opaque root hides all below it."""

    def __init__(self, directories: Iterable[str] = ()) -> None:
        self._layers: list[Layer] = []
        self._resolved: dict[bytes, bytes] = {b"": b""}
        for directory in directories:
            self.push(directory)

    def push(self, layer: Layer) -> None:
        opaque = _is_opaque(os.fsencode(layer)) if isinstance(layer, str) else b"/" in layer
        if isinstance(layer, str) and layer in self._layers:  # it does all that it does below, and an overlay takes one
            self._layers.remove(layer)
        self._layers = [layer] if opaque else [*self._layers, layer]
        self._resolved = {b"": b""}

    def lookup(self, path: bytes) -> Member | None:
        """The member at ``path``, whose directory has been resolved; None where there is none or it is hidden."""
        found = self._locate(path)
        return None if found is None else found[1]

    def file(self, path: bytes) -> bytes | None:
        """Where on the host a file of a layer on disk is, links on its path followed inside the root; or None."""
        path = self.resolve(path)
        found = self._locate(path)
        if found is None or found[1].kind != FILE or not isinstance(found[0], str):
            return None
        return os.path.join(os.fsencode(found[0]), path)

    def names(self, path: bytes) -> list[bytes]:
        """What is in a directory, of all layers on disk together; nothing where there is no such directory."""
        path = self.resolve(path)
        found = set()
        for layer in self._layers:
            if isinstance(layer, str):
                with contextlib.suppress(OSError):
                    found.update(os.listdir(os.path.join(os.fsencode(layer), path)))
        return sorted(name for name in found if self.lookup(path + b"/" + name) is not None)

    def _locate(self, path: bytes) -> tuple[Layer, Member] | None:
        parts = path.split(b"/")
        for layer in reversed(self._layers):
            hides = False
            for depth in range(1, len(parts) + 1):
                member, opaque = _find(layer, b"/".join(parts[:depth]))
                if depth == len(parts):
                    if member is not None:
                        return None if _is_whiteout(member) else (layer, member)
                elif member is None:
                    if isinstance(layer, str):
                        break
                elif member.kind != DIRECTORY:
                    return None  # a link too, which links of the image were resolved without: it leads into the host
                hides = hides or opaque
            if hides:
                return None
        return None

    @property
    def is_on_disk(self) -> bool:
        """Whether all layers are unpacked, so that find() sees everything."""
        return all(isinstance(layer, str) for layer in self._layers)

    def find(self, path: bytes) -> Found | None:
        """What is on disk at ``path``, whose directory has been resolved; the root is the empty path."""
        below = tuple(os.fsencode(layer) for layer in reversed(self._layers) if isinstance(layer, str))
        if not below:
            return None
        found = Found(b"", below[0], os.lstat(below[0]), below)
        for name in path.split(b"/") if path else []:
            child = _child(found.below, name)
            if child is None:
                return None
            found = child
        return found

    def resolve(self, path: bytes) -> bytes:
        """``path`` with every link on it followed, inside the root; what does not exist is taken as it stands."""
        known = self._resolved.get(path)
        if known is not None:
            return known
        done: list[bytes] = []
        pending = path.split(b"/")[::-1]
        links = 0
        while pending:
            part = pending.pop()
            if part in (b"", b"."):
                continue
            if part == b"..":
                del done[-1:]
                continue
            done.append(part)
            member = self.lookup(b"/".join(done))
            if member is not None and member.kind == SYMLINK:
                links += 1
                if links > _MAX_LINKS:
                    raise InvalidImage(f"the lower layers have a loop of symbolic links at {path.decode()!r}")
                done = [] if member.target.startswith(b"/") else done[:-1]
                pending += member.target.split(b"/")[::-1]
        self._resolved[path] = resolved = b"/".join(done)
        return resolved


def entries(directory: Found) -> Iterator[Found]:
    """What is in a directory, sorted by name."""
    names = {name for below in directory.below for name in os.listdir(below)}
    for name in sorted(names):
        child = _child(directory.below, name)
        if child is not None:
            yield child


def _child(directories: Iterable[bytes], name: bytes) -> Found | None:
    """What the directories that lie over one another, the topmost first, have under ``name``."""
    top: Found | None = None
    below: list[bytes] = []
    for directory in directories:
        path = directory + b"/" + name
        try:
            found = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        if not stat.S_ISDIR(found.st_mode):
            whiteout = stat.S_ISCHR(found.st_mode) and found.st_rdev == 0
            return top._replace(below=tuple(below)) if top else None if whiteout else Found(name, path, found)
        top = top or Found(name, path, found)
        below.append(path)
        if _is_opaque(path):
            break
    return top and top._replace(below=tuple(below))


def _find(layer: Layer, path: bytes) -> tuple[Member | None, bool]:
    """A layer's own member at ``path``, and whether it is opaque."""
    if not isinstance(layer, str):
        return layer.get(path), path + b"/" in layer
    where = os.path.join(os.fsencode(layer), path)
    try:
        found = os.lstat(where)
    except (FileNotFoundError, NotADirectoryError):
        return None, False
    kind = KINDS.get(stat.S_IFMT(found.st_mode), CHARACTER)
    target = os.readlink(where) if kind == SYMLINK else b""
    device = (os.major(found.st_rdev), os.minor(found.st_rdev))
    member = Member(path, kind, stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid, target=target, device=device)
    return member, kind == DIRECTORY and _is_opaque(where)


def _is_whiteout(member: Member) -> bool:
    return member.kind == CHARACTER and member.device == (0, 0)


def _is_opaque(path: bytes) -> bool:
    try:
        return os.getxattr(path, _OPAQUE_XATTR) == b"y"
    except OSError:  # ENODATA: not set; EPERM: not root, who alone sees it
        return False
