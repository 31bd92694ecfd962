# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A blob's content over one or more answers (distribution-spec, "Pulling blobs"): what breaks off goes on by Range.

Where a server takes no Range, what was there already is read again and dropped. Where one place fails, the next one
goes on at the same byte: content is named by its digest, and whoever reads it verifies that, and says so if it is not
right.
"""

from __future__ import annotations

import http.client
import re
import time

from ...errors import EngineError, RegistryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .connections import Response
    from .endpoint import Endpoint

# A body that breaks off again and again is given up, unless it got this much further (bytes).
_PROGRESS = 1 << 20
_MAX_URLS = 5  # a manifest has room for a hundred thousand, each of which may take its time
_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")


class Download:
    """A blob of ``size`` bytes at the places that may have it; ``urls`` are asked where no endpoint has it.

    Whoever has given what turned out wrong is not asked for it again.
    """

    def __init__(self, endpoints: Sequence[Endpoint], digest: str, size: int, urls: Sequence[str] = ()) -> None:
        self._digest = digest
        self._size = size
        self._places = [(endpoint, f"blobs/{digest}") for endpoint in endpoints]
        self._places += [(endpoints[-1], url) for url in urls[:_MAX_URLS] if url.startswith("https://")]
        self._gave: list[tuple[Endpoint, str]] = []
        self._wrong: list[EngineError] = []

    def read(self, offset: int = 0) -> Iterator[bytes]:
        """Its bytes from ``offset`` on, not verified; never more than there are to be. Raises RegistryError."""
        errors = [*self._wrong]
        if not offset:
            self._gave = []
        for place in self._places:
            try:
                for piece in _read(*place, self._digest, self._size, offset):
                    if self._gave[-1:] != [place]:
                        self._gave.append(place)
                    offset += len(piece)
                    yield piece
                return
            except RegistryError as error:
                errors.append(error)
        raise all_failed(errors)

    def has_others(self) -> bool:
        """Whether there is a place to ask beside those that gave what was read."""
        return any(place not in self._gave for place in self._places)

    def blame(self, why: EngineError) -> EngineError | None:
        """What was read is wrong. None where it is worth reading again, from the start; else the error to raise."""
        wrong = self._gave[:-1] or self._gave  # of several, the one that broke off is more likely to have lied
        told: list[EngineError] = [RegistryError(f"registry {endpoint.registry}: {why}") for endpoint, _where in wrong]
        self._places = [place for place in self._places if place not in wrong]
        if wrong and self._places:
            self._wrong += told
            return None
        return all_failed([*self._wrong, *told]) if self._wrong else why


def all_failed(errors: Sequence[EngineError]) -> EngineError:
    """One error out of those of several places: the last place is the one that the image's name leads to."""
    *others, last = errors
    told = "".join(f"; before that, {error}" for error in others)
    if not others:
        return last
    error = RegistryError(f"{last}{told}", getattr(last, "status", 0))
    error.contradicts = any(getattr(failed, "contradicts", True) for failed in errors)
    return error


def _read(endpoint: Endpoint, where: str, digest: str, size: int, offset: int) -> Iterator[bytes]:
    delays, began = list(endpoint.delays), offset
    while offset < size:
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={offset}-"} if offset else {})}
        with endpoint.request("GET", where, headers=headers, expect=(200, 206)) as response:
            try:
                for piece in _from(endpoint, response, digest, size, offset):
                    offset += len(piece)
                    yield piece
                return
            except (OSError, http.client.HTTPException) as error:
                if offset - began >= _PROGRESS:
                    delays, began = list(endpoint.delays), offset
                if not delays:
                    raise endpoint.error(f"the blob {digest} broke off at byte {offset} of {size}", error) from error
        time.sleep(delays.pop(0))


def _from(endpoint: Endpoint, response: Response, digest: str, size: int, offset: int) -> Iterator[bytes]:
    """What an answer gives of the blob from ``offset`` on."""
    start = _start(endpoint, response, digest, size, offset)
    if response.length is not None and start + response.length != size:
        raise _wrong_size(endpoint, digest, size, longer=start + response.length > size)
    skip, left = offset - start, size - offset
    for piece in response.pieces():
        if skip >= len(piece):
            skip -= len(piece)
            continue
        found = piece[skip:] if skip else piece
        skip = 0
        left -= len(found)
        if left < 0:
            raise _wrong_size(endpoint, digest, size, longer=True)
        yield found
    if left > 0 and not response.has_end:
        raise http.client.IncompleteRead(b"", left)
    if left > 0:
        raise _wrong_size(endpoint, digest, size, longer=False)


def _start(endpoint: Endpoint, response: Response, digest: str, size: int, offset: int) -> int:
    """At which byte of the blob an answer begins (RFC 9110, sections 14.4 and 15.3.7)."""
    if response.status == 200:
        return 0
    match = _RANGE.fullmatch(response.headers.get("Content-Range") or "")
    if not match or int(match.group(1)) > offset or match.group(3) not in ("*", str(size)):
        told = str(response.headers.get("Content-Range"))[:80]
        raise _contradiction(
            endpoint.error(f"asked for the blob {digest} from byte {offset} of {size}, it gave another part ({told!r})")
        )
    return int(match.group(1))


def _wrong_size(endpoint: Endpoint, digest: str, size: int, *, longer: bool) -> RegistryError:
    kind = "longer" if longer else "shorter"
    return _contradiction(endpoint.error(f"the blob {digest} is {kind} than the {size} bytes that its manifest says"))


def _contradiction(error: RegistryError) -> RegistryError:
    error.contradicts = True
    return error
