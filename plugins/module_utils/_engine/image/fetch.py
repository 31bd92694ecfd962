# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Get a blob into the store: verified while it streams, read by an unpacker while it grows, continued after a break.

Promises: a blob has its name only once all of it is there and has that digest. What came before a broken connection or
a kill stays as the blob's partial file, and the next run goes on from its end; where it turns out wrong, it is dropped
and fetched once more from the start, and from another place than the one that gave it if there is one. Whoever calls
holds the blob's content lock.
"""

from __future__ import annotations

import hashlib
import os

from ..errors import DigestMismatch, InvalidImage, KernelError, RegistryError
from ..linux.files import remove_if_exists
from .layer.budget import DEFAULT_BUDGET, DEFAULT_RULES, Budget, Rules
from .layer.unpack import start_unpacking
from .store import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Protocol

    from ..errors import EngineError
    from .manifest import Descriptor
    from .store import Store

    class Source(Protocol):
        """Where a blob comes from: registry/download.py has it."""

        def read(self, offset: int = 0) -> Iterator[bytes]:
            """Its content from ``offset`` on, a piece at a time."""

        def has_others(self) -> bool:
            """Whether somebody else than who gave it can be asked."""

        def blame(self, why: EngineError) -> EngineError | None:
            """It was wrong: None where it is worth reading again, else the error to raise."""

    Count = Callable[[int], None]  # is told how many bytes came

_CHUNK = 1 << 18


class GrowingFile:
    """Read a file that another process still writes. ``more`` is a pipe: a byte for each piece, its end for the end."""

    def __init__(self, fd: int, more: int) -> None:
        self._fd = fd
        self._more = more
        self._offset = 0

    def read(self, size: int) -> bytes:
        """Some bytes, ``size`` at most; none at the end alone."""
        while True:
            content = os.pread(self._fd, size, self._offset)
            self._offset += len(content)
            if content or self._more < 0:
                return content
            if not os.read(self._more, 1 << 16):
                self._more = -1  # what was written since is still to be read


class Fetcher:
    """Gets the blob ``blob``, called ``what`` in errors; ``count`` is told of the bytes that came."""

    def __init__(self, store: Store, blob: Descriptor, source: Source, *, what: str, count: Count) -> None:
        self._store = store
        self._blob = blob
        self._source = source
        self._what = what
        self._count = count
        self._path = store.partial_path(blob.digest)
        self._counted = 0
        self._whole = False

    def fetch(self) -> None:
        """Only get it. Raises DigestMismatch, RegistryError, KernelError."""
        self._until_right(self._receive)

    def fetch_and_unpack(
        self, target: str, diff_id: str, budget: Budget = DEFAULT_BUDGET, rules: Rules = DEFAULT_RULES
    ) -> None:
        """Get it, and unpack it meanwhile into ``target``.partial. Raises InvalidImage and Unsupported too."""
        self._until_right(lambda: self._receive_and_unpack(target, diff_id, budget, rules))

    def _until_right(self, receive: Callable[[], None]) -> None:
        resumed = os.path.exists(self._path)
        while True:
            try:
                receive()
                return
            except (DigestMismatch, InvalidImage) as error:
                try:
                    # What an earlier run left may be what is wrong: that is nobody's fault.
                    told = None if resumed and not self._whole else self._judge(error)
                finally:
                    remove_if_exists(self._path)
                if told is error:
                    raise
                if told is not None:
                    raise told from error
                resumed = False
                self._came(-self._counted)
            except RegistryError as error:
                if error.contradicts or not os.path.getsize(self._path):
                    remove_if_exists(self._path)
                raise
            except BaseException:
                remove_if_exists(self._path)
                raise

    def _judge(self, error: DigestMismatch | InvalidImage) -> EngineError | None:
        """Whose fault it is that this cannot be used: the error to raise; None where another place is to be asked."""
        if self._whole:
            return error  # the blob is what its digest says: the image is wrong
        if isinstance(error, InvalidImage) and self._source.has_others():
            self._came(-self._counted)
            try:
                self._receive()
                return error
            except (DigestMismatch, RegistryError) as other:
                return self._source.blame(other)
        return self._source.blame(error)

    def _came(self, size: int) -> None:
        self._counted += size
        self._count(size)

    def _receive_and_unpack(self, target: str, diff_id: str, budget: Budget, rules: Rules) -> None:
        with open(self._path, "ab"):
            pass
        more, notify = os.pipe()
        with open(self._path, "rb", buffering=0) as file:
            # The worker has a copy of the pipe's writing end too, which it must not keep: it would wait for itself.
            unpacker = start_unpacking(
                GrowingFile(file.fileno(), more), target, diff_id, budget=budget, rules=rules, close=notify
            )
        os.close(more)
        try:
            try:
                self._receive(notify)
            finally:
                os.close(notify)
        except BrokenPipeError:
            unpacker.result()  # it has ended before the blob did: it says why
            raise
        except BaseException:
            unpacker.kill()
            raise
        unpacker.result()

    def _receive(self, notify: int = -1) -> None:
        """Stream it into its partial file, from where that ends, and give it its name."""
        blob = self._blob
        state = hashlib.new(blob.digest.partition(":")[0])
        try:
            with open(self._path, "a+b", buffering=0) as file:
                if os.fstat(file.fileno()).st_size > blob.size:
                    file.truncate(0)
                file.seek(0)
                while chunk := file.read(_CHUNK):
                    state.update(chunk)
                    self._came(len(chunk))
                offset = file.tell()
                for piece in self._source.read(offset) if offset < blob.size else ():
                    state.update(piece)
                    write_all(file.fileno(), piece)
                    offset += len(piece)
                    self._came(len(piece))
                    if notify >= 0:
                        os.write(notify, b".")
            digest = f"{state.name}:{state.hexdigest()}"
            if digest != blob.digest:
                raise DigestMismatch(self._what, blob.digest, digest)
            path = self._store.blob_path(blob.digest)
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            os.rename(self._path, path)
            self._whole = True
        except BrokenPipeError:
            raise
        except OSError as error:
            raise KernelError(f"storing {self._what}", error) from error
