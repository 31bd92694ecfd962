# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may touch which content of the store, so that several runs pull at the same time.

Two things, both of which the kernel undoes when their holder ends. A content lock: whoever holds that of a digest alone
makes the blob or layer of that name. A pin: a file that lists what a running pull needs, which a sweep keeps. Nobody
waits for a content lock while holding one.
"""

from __future__ import annotations

import fcntl
import os

from ..linux.files import list_directory, remove_if_exists

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..paths import Paths


class ContentLock:
    """The lock of one digest; its file is there only while somebody has it or waits for it."""

    def __init__(self, paths: Paths, digest: str) -> None:
        self.path = os.path.join(paths.content_locks, digest.replace(":", "-"))
        self._fd = -1

    def acquire(self, *, wait: bool) -> bool:
        """Get it, at once or after its holder; False where it is not to be had and we do not ``wait``."""
        os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
        while True:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
                # Whoever had it before has removed the file: then this one's lock means nothing.
                if os.stat(self.path).st_ino == os.fstat(fd).st_ino:
                    self._fd, fd = fd, -1
                    return True
            except BlockingIOError:
                return False
            except FileNotFoundError:
                pass
            finally:
                if fd >= 0:
                    os.close(fd)

    def release(self) -> None:
        """Let go of it, where it is ours."""
        if self._fd >= 0:
            remove_if_exists(self.path)
            os.close(self._fd)
            self._fd = -1


def clear_content_locks(paths: Paths) -> None:
    """Remove the lock files of those who were killed. What somebody has stays."""
    for name in list_directory(paths.content_locks):
        lock = ContentLock(paths, name)
        if lock.acquire(wait=False):
            lock.release()


class Claims:
    """Content locks that are let go of together, at the end of ``with``."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._locks: list[ContentLock] = []

    def __enter__(self) -> Claims:
        return self

    def __exit__(self, *_error: object) -> None:
        for lock in self._locks:
            lock.release()

    def claim(self, *digests: str) -> bool:
        """Get the locks of all of ``digests``, or none: False where somebody has one of them."""
        got: list[ContentLock] = []
        for digest in dict.fromkeys(digests):
            lock = ContentLock(self._paths, digest)
            if not lock.acquire(wait=False):
                for other in got:
                    other.release()
                return False
            got.append(lock)
        self._locks += got
        return True


def wait_for(paths: Paths, digest: str) -> None:
    """Return once nobody has the lock of ``digest``. Only for who has none itself."""
    lock = ContentLock(paths, digest)
    lock.acquire(wait=True)
    lock.release()


class Pin:
    """What a running pull needs. add() only while the store's lock is held, be it shared: a sweep has it alone."""

    def __init__(self, paths: Paths) -> None:
        self._path = os.path.join(paths.pins, f"{os.getpid()}-{os.urandom(4).hex()}")
        self._fd = -1

    def __enter__(self) -> Pin:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._fd >= 0:
            remove_if_exists(self._path)
            os.close(self._fd)
            self._fd = -1

    def add(self, digests: Iterable[str]) -> None:
        """Keep the blobs and layers of these names until the end of ``with``, or ours."""
        if self._fd < 0:
            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            self._fd = os.open(self._path, flags, 0o600)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(self._fd, "".join(f"{digest}\n" for digest in digests).encode())


def pinned(paths: Paths) -> set[str]:
    """All digests that running pulls need; pins of ended ones go. Only while the store's lock is held alone."""
    found: set[str] = set()
    for name in list_directory(paths.pins):
        path = os.path.join(paths.pins, name)
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # that pull has just ended: it needs no lock of the store for that
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove_if_exists(path)
        except BlockingIOError:
            found.update(os.pread(fd, os.fstat(fd).st_size, 0).decode().split())
        finally:
            os.close(fd)
    return found
