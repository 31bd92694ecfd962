# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An overlay's upper directory as a layer: what a process changed in a container's root, in the spelling of image-spec
(layer.md): ``.wh.<name>`` for what was removed, ``.wh..wh..opq`` for a directory that hides the one below.

Promise: nothing that is the kernel's or this host's gets into the layer (no overlay attributes, no labels, no sockets),
and no time is later than the build's. What was only looked at is not in it: a directory that is as it was below, with
nothing changed in it, is left out.
"""

from __future__ import annotations

import os
import stat

from ...errors import KernelError, Unsupported
from ...model.image import ImageConfig
from ...model.reference import normalise
from ..layer.directories import install_layers
from ..layer.members import WHITEOUT
from ..layer.tar import DIRECTORY, FILE, HARD_LINK, KINDS, SYMLINK, Member
from ..layer.tree import OPAQUE_XATTR
from ..manifest import OCI_LAYER, override_config
from ..platform import host_architecture
from ..store import write_store
from .documents import Base, date_of, image_documents, put_image
from .members import kept_xattrs, write_tar
from .view import View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from typing import Any

    from ...paths import Paths
    from ..manifest import Descriptor
    from ..store import Store
    from .members import Members

    Layer = tuple[Descriptor, str]
    Owner = Callable[[int, int], tuple[int, int]]

_OPAQUE = WHITEOUT + WHITEOUT + b".opq"
# Of a renamed directory, and of a file whose content stays below (overlayfs.rst, redirect_dir and metacopy).
_ELSEWHERE = ("trusted.overlay.redirect", "trusted.overlay.metacopy")


def commit_layer(paths: Paths, store: Store, upper: str, below: Sequence[Layer], epoch: int) -> Layer | None:
    """Store what ``upper`` changes on top of the layers ``below`` as a layer, unpacked too; None where that is nothing.

    Nobody may be writing there. ``epoch`` is in seconds. Only inside write_store(). Raises KernelError.
    """
    try:
        members = upper_members(upper, View(paths.layer(diff_id) for _descriptor, diff_id in below), epoch)
    except OSError as error:
        raise KernelError("reading what a step has changed", error) from error
    return put_chunks(paths, store, write_tar(members)) if members else None


def commit_image(
    paths: Paths,
    upper: str,
    *,
    base: str,
    name: str,
    told: str,
    config: ImageConfig | None = None,
    epoch: int | None = None,
) -> str:
    """Let ``name`` mean the image ``base`` (empty: nothing) with what ``upper`` changes in it; its digest.

    ``told`` is what its history has of that, ``config`` what is other than in the base, ``epoch`` its date, in seconds.
    Raises NotFound where the base is not there, KernelError.
    """
    with write_store(paths) as store:
        below = Base(store, base)
        below.view(paths)  # it is whole
        layer = commit_layer(paths, store, upper, below.layers, epoch or 0)
        entry: dict[str, Any] = {"created_by": told} if layer else {"created_by": told, "empty_layer": True}
        document = {key: below.config[key] for key in ("architecture", "os", "variant") if below.config.get(key)}
        document = {"architecture": host_architecture(), "os": "linux", **document}
        document["config"] = override_config(below.config.get("config"), config or ImageConfig())
        if epoch is not None:
            document["created"] = entry["created"] = date_of(epoch)
        history = [*(below.config.get("history") or ()), entry]
        documents = image_documents(document, [*below.layers, *([layer] if layer else [])], history)
        return put_image(store, normalise("name", name), *documents).digest


def put_chunks(paths: Paths, store: Store, chunks: Iterable[bytes]) -> Layer:
    """Store an archive as a layer, and unpack it. Only inside write_store()."""
    descriptor = store.put_stream(OCI_LAYER, chunks)
    layer = (descriptor, descriptor.digest)
    install_layers(paths, store, [layer])
    return layer


def _same_owner(uid: int, gid: int) -> tuple[int, int]:
    return uid, gid


def upper_members(
    upper: str, view: View, epoch: int, *, owner: Owner = _same_owner, stubs: Collection[bytes] = ()
) -> Members:
    """The members of the layer that ``upper`` is on top of ``view``.

    ``owner`` turns a file's ids into the layer's. What is at one of ``stubs`` and empty is left out. Raises OSError,
    and Unsupported where not all of a file or directory that was changed is there.
    """
    return _Upper(view, epoch * 10**9, owner, frozenset(stubs)).read(os.fsencode(upper))


def stub_paths(view: View, targets: Iterable[str]) -> list[bytes]:
    """What a runtime makes in a root so that something can be mounted at ``targets``, the deepest first."""
    found: dict[bytes, None] = {}
    for target in targets:
        path = view.resolve(os.fsencode(target.strip("/")))
        parts = path.split(b"/")
        if parts[0] in (b"dev", b"proc", b"sys") and len(parts) > 1:
            continue
        for depth in range(1, len(parts) + 1):
            part = b"/".join(parts[:depth])
            if view.lookup(part) is None:
                found[part] = None
    return sorted(found, key=lambda path: -path.count(b"/"))


class _Upper:
    """Walks an upper directory."""

    def __init__(self, view: View, latest: int, owner: Owner, stubs: frozenset[bytes]) -> None:
        self._view = view
        self._latest = latest
        self._owner = owner
        self._stubs = stubs
        self._members: Members = {}
        self._inodes: dict[tuple[int, int], bytes] = {}

    def read(self, upper: bytes) -> Members:
        self._directory(upper, b"", hides=False)
        return self._members

    def _directory(self, where: bytes, path: bytes, *, hides: bool) -> bool:
        """Add what is in a directory, which is at ``path``; whether there was anything. ``hides``: itself or one that
        it is in hides what is below."""
        before = len(self._members)
        if path and not hides and _is_opaque(where):
            hides = True
            # Where there was nothing before, there is nothing to hide.
            if self._view.lookup(path) is not None:
                self._put(path + b"/" + _OPAQUE, Member(b"", FILE, mtime=self._latest), b"")
        for name in sorted(os.listdir(where)):
            inner = path + b"/" + name if path else name
            self._entry(where + b"/" + name, path, name, inner, hides=hides)
        return len(self._members) > before

    def _entry(self, where: bytes, directory: bytes, name: bytes, path: bytes, *, hides: bool) -> None:
        found = os.lstat(where)
        if stat.S_ISCHR(found.st_mode) and found.st_rdev == 0:
            if not hides and self._view.lookup(path) is not None:
                mark = directory + b"/" + WHITEOUT + name if directory else WHITEOUT + name
                self._put(mark, Member(b"", FILE, mtime=self._latest), b"")
            return
        kind = KINDS.get(stat.S_IFMT(found.st_mode))
        if kind is None or name.startswith(WHITEOUT):
            return
        if kind in (FILE, DIRECTORY):
            _refuse_partial(where)
        member = self._member(where, path, kind, found)
        is_stub = path in self._stubs
        if kind != DIRECTORY:
            if not is_stub or kind != FILE or member.size:
                self._put(path, member, os.fsdecode(where))
            return
        if self._directory(where, path, hides=hides) or not (
            is_stub or (not hides and self._is_as_before(where, path, member))
        ):
            self._put(path, member._replace(name=path + b"/"), b"")

    def _is_as_before(self, where: bytes, path: bytes, member: Member) -> bool:
        below = self._view.lookup(path)
        if below is None or below.kind != DIRECTORY or _is_opaque(where):
            return False
        found = self._view.find(path)
        same_xattrs = found is not None and kept_xattrs(found.path) == member.xattrs
        return same_xattrs and (below.mode, below.uid, below.gid) == (member.mode, member.uid, member.gid)

    def _member(self, where: bytes, path: bytes, kind: bytes, found: os.stat_result) -> Member:
        target = os.readlink(where) if kind == SYMLINK else b""
        if kind == FILE and found.st_nlink > 1:
            target = self._inodes.setdefault((found.st_dev, found.st_ino), path)
            kind, target = (HARD_LINK, target) if target != path else (FILE, b"")
        return Member(
            path,
            kind,
            stat.S_IMODE(found.st_mode),
            *self._owner(found.st_uid, found.st_gid),
            found.st_size if kind == FILE else 0,
            max(0, min(self._latest, found.st_mtime_ns)),
            target,
            (os.major(found.st_rdev), os.minor(found.st_rdev)),
            kept_xattrs(where) if kind in (FILE, DIRECTORY) else {},
        )

    def _put(self, path: bytes, member: Member, content: bytes | str) -> None:
        self._members[path] = (member if member.name.endswith(b"/") else member._replace(name=path), content)


def _refuse_partial(path: bytes) -> None:
    names = os.listxattr(path, follow_symlinks=False)
    partial = [name for name in _ELSEWHERE if name in names]
    if partial:
        raise Unsupported(
            f"{os.fsdecode(path)} is not whole ({partial[0]}): this host's overlayfs notes only what differs; "
            "turn that off (/sys/module/overlay/parameters/redirect_dir and metacopy: N) and make the container anew"
        )


def _is_opaque(path: bytes) -> bool:
    try:
        return os.getxattr(path, OPAQUE_XATTR) == b"y"
    except OSError:  # ENODATA: it is not
        return False
