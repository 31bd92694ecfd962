# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Walk inside a directory as if it were the root of everything: no path, link or ``..`` leads out of it.

Each component is opened relative to the one before, never following a symbolic link; links are read and walked by us,
absolute ones from the root (what openat2(2) calls RESOLVE_IN_ROOT, on kernels before 5.6 too).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from ...errors import InvalidImage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_LINKS = 40  # path_resolution(7)
_MAX_DEPTH = 256  # a descriptor each, of the 1,024 that a process has; and rmtree, which recurses, must still get by


class Tree:
    """Directories under ``path``, by file descriptor. Nobody else may be writing there."""

    def __init__(self, path: str) -> None:
        self.root = os.open(path, _OPEN)
        self._path = b""
        self._fd = self.root

    def __enter__(self) -> Tree:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.forget()
        os.close(self.root)

    def directory(self, path: bytes, *, create: bool = True) -> int:
        """A descriptor of the directory ``path``, valid until the next call; made (0755, root's) where it lacks.

        Raises InvalidImage where a file stands in the way, FileNotFoundError unless ``create``.
        """
        if path != self._path:
            fd = self._walk(path, create)
            self.forget()
            self._path, self._fd = path, fd
        return self._fd

    def forget(self) -> None:
        """Let go of the directory that was walked to last."""
        if self._fd != self.root:
            os.close(self._fd)
        self._path, self._fd = b"", self.root

    @contextlib.contextmanager
    def opened(self, parent: int, base: bytes) -> Iterator[int]:
        """The very directory ``base`` in ``parent``."""
        fd = os.open(base, _OPEN, dir_fd=parent)
        try:
            yield fd
        finally:
            os.close(fd)

    def _walk(self, path: bytes, create: bool) -> int:
        stack = [os.dup(self.root)]
        pending = path.split(b"/")[::-1]
        links = 0
        try:
            while pending:
                part = pending.pop()
                if part in (b"", b"."):
                    continue
                if part == b"..":
                    if len(stack) > 1:
                        os.close(stack.pop())
                    continue
                target = self._step(stack, part, create)
                if target is None:
                    continue
                links += 1
                if links > _MAX_LINKS:
                    raise InvalidImage(f"the layer has too many symbolic links in {_show(path)}")
                if target.startswith(b"/"):
                    while len(stack) > 1:
                        os.close(stack.pop())
                pending += target.split(b"/")[::-1]
            return stack.pop()
        finally:
            for fd in stack:
                os.close(fd)

    def _step(self, stack: list[int], part: bytes, create: bool) -> bytes | None:
        """Go one directory down; or return the target of the link that is there instead."""
        if len(stack) > _MAX_DEPTH:
            raise InvalidImage(f"the layer has directories nested more than {_MAX_DEPTH} deep")
        try:
            stack.append(os.open(part, _OPEN, dir_fd=stack[-1]))
            return None
        except FileNotFoundError:
            if not create:
                raise
            os.mkdir(part, 0o755, dir_fd=stack[-1])
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            found = os.stat(part, dir_fd=stack[-1], follow_symlinks=False)
            if stat.S_ISLNK(found.st_mode):
                return os.readlink(part, dir_fd=stack[-1])
            if not create or not (stat.S_ISCHR(found.st_mode) and found.st_rdev == 0):
                raise InvalidImage(f"the layer has a file where it needs the directory {_show(part)}") from error
            # A whiteout of this very layer: the new directory is not merged with the lower layers' one.
            os.unlink(part, dir_fd=stack[-1])
            os.mkdir(part, 0o755, dir_fd=stack[-1])
            os.setxattr(b"/proc/self/fd/%d/%b" % (stack[-1], part), "trusted.overlay.opaque", b"y")
        stack.append(os.open(part, _OPEN, dir_fd=stack[-1]))
        os.fchmod(stack[-1], 0o755)
        return None


def _show(path: bytes) -> str:
    return repr(path.decode(errors="backslashreplace"))
