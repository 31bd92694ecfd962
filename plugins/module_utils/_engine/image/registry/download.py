# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A blob's content over one or more answers (distribution-spec, "Pulling blobs"): what breaks off goes on by Range.

Where a server takes no Range, what was there already is read again and dropped. Where one place fails, the next one
goes on at the same byte: content is named by its digest, and whoever reads it verifies that.
"""

from __future__ import annotations

import http.client
import re
import time

from ...errors import RegistryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .connections import Response
    from .endpoint import Endpoint

# A body that breaks off again and again is given up, unless it got this much further (bytes).
_PROGRESS = 1 << 20
_MAX_URLS = 5  # a manifest has room for a hundred thousand, each of which may take its time
_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")


def read_blob(
    endpoints: Sequence[Endpoint], digest: str, size: int, offset: int = 0, urls: Sequence[str] = ()
) -> Iterator[bytes]:
    """The bytes of a blob of ``size`` bytes from ``offset`` on, not verified; never more than there are to be.

    ``urls`` are asked where no endpoint has it. Raises RegistryError.
    """
    errors: list[RegistryError] = []
    sources = [(endpoint, f"blobs/{digest}") for endpoint in endpoints]
    sources += [(endpoints[-1], url) for url in urls[:_MAX_URLS] if url.startswith("https://")]
    for endpoint, where in sources:
        try:
            for piece in _read(endpoint, where, digest, size, offset):
                offset += len(piece)
                yield piece
            return
        except RegistryError as error:
            errors.append(error)
    raise all_failed(errors)


def all_failed(errors: Sequence[RegistryError]) -> RegistryError:
    """One error out of those of several places: the last place is the one that the image's name leads to."""
    *others, last = errors
    told = "".join(f"; before that, {error}" for error in others)
    if not others:
        return last
    error = RegistryError(f"{last}{told}", last.status)
    error.contradicts = any(failed.contradicts for failed in errors)
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
