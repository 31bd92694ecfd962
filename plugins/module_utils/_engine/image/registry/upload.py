# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sending blobs (distribution-spec, "Pushing blobs"): mounted from another repository, in one piece, or in chunks.

A chunk that fails goes on where the registry says that it is; a blob in one piece begins anew. The registry verifies
the digest, and a blob that is not whole there is not there.
"""

from __future__ import annotations

import contextlib
import re
import time
import urllib.parse
from typing import NamedTuple

from ...errors import RegistryError
from .connections import PIECE, Body

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from .connections import Response
    from .endpoint import Endpoint

_OCTETS = {"Content-Type": "application/octet-stream"}
_RANGE = re.compile(r"(?:bytes=)?0-(\d{1,19})")


class Blob(NamedTuple):
    """What is sent: ``open`` gives its content each time that it is called, ``sent`` is told how far it is."""

    digest: str
    size: int
    open: Callable[[], BinaryIO]
    sent: Callable[[int], None] | None = None


class Uploads:
    """Uploads to one repository. Sessions that the registry has opened and nobody has used are used next."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._open: list[tuple[str, int]] = []

    @property
    def scopes(self) -> tuple[str, ...]:
        return (self._endpoint.scope("pull,push"),)

    def mount(self, digest: str, repository: str) -> bool:
        """Whether the registry has taken the blob over from another of its repositories ("Mounting a blob ...")."""
        query = urllib.parse.urlencode({"mount": digest, "from": repository})
        scopes = (*self.scopes, self._endpoint.scope("pull", repository))
        try:
            with self._endpoint.request(
                "POST", f"blobs/uploads/?{query}", scopes=scopes, expect=(201, 202)
            ) as response:
                if response.status == 202:
                    self._open.append(self._session(response))
                return response.status == 201
        except RegistryError as error:
            if error.status in (400, 401, 403, 404, 405):  # not there, or not for this login: it is sent then
                return False
            raise

    def put(self, blob: Blob, chunk_size: int = 0) -> None:
        """Send a blob, in chunks of ``chunk_size`` bytes where that is given. Raises RegistryError."""
        location, least = self._open.pop() if self._open else self._start()
        if chunk_size and blob.size > chunk_size:
            self._put_chunks(location, blob, max(chunk_size, least))
        else:
            self._put_whole(location, blob)

    def _start(self) -> tuple[str, int]:
        with self._endpoint.request("POST", "blobs/uploads/", scopes=self.scopes, expect=(202,)) as response:
            return self._session(response)

    def _session(self, response: Response) -> tuple[str, int]:
        """Where an upload goes on, and how small its chunks may be."""
        least = response.headers.get("OCI-Chunk-Min-Length") or ""
        return self._location(response), int(least) if least.isdecimal() and len(least) < 12 else 0

    def _location(self, response: Response) -> str:
        location = response.headers.get("Location")
        if not location:
            raise self._endpoint.error("it does not say where the upload goes on (no Location)")
        return self._endpoint.resolve(response, location)

    def _put_whole(self, location: str, blob: Blob) -> None:
        for delay in (*self._endpoint.delays, None):
            try:
                body = Body(blob.size, lambda: _read(blob, 0, blob.size))
                with self._endpoint.request(
                    "PUT",
                    _with_digest(location, blob.digest),
                    headers=_OCTETS,
                    body=body,
                    scopes=self.scopes,
                    expect=(201,),
                    again=False,
                ):
                    return
            except RegistryError as error:
                if delay is None or not _is_passing(error):
                    raise
            time.sleep(delay)
            location, _least = self._start()

    def _put_chunks(self, location: str, blob: Blob, chunk_size: int) -> None:
        done, furthest, delays = 0, 0, list(self._endpoint.delays)
        while done < blob.size:
            end = min(done + chunk_size, blob.size)
            headers = {**_OCTETS, "Content-Range": f"{done}-{end - 1}"}
            body = Body(end - done, lambda start=done, stop=end: _read(blob, start, stop))  # type: ignore[misc]
            try:
                with self._endpoint.request(
                    "PATCH", location, headers=headers, body=body, scopes=self.scopes, expect=(202, 204), again=False
                ) as response:
                    location = self._location(response)
                    done = min(_end_of(response) or end, end)
                if done > furthest:
                    furthest, delays = done, list(self._endpoint.delays)
                elif delays:
                    del delays[0]
                else:
                    raise self._endpoint.error(f"the upload of {blob.digest} stays at {done} of {blob.size} bytes")
            except RegistryError as error:
                if not delays or not (_is_passing(error) or error.status == 416):
                    raise
                time.sleep(delays.pop(0))
                location, done = self._progress(location, done)
        with self._endpoint.request(
            "PUT", _with_digest(location, blob.digest), headers=_OCTETS, scopes=self.scopes, expect=(201,)
        ):
            pass

    def _progress(self, location: str, done: int) -> tuple[str, int]:
        """Where the upload goes on after a chunk that failed, and with which byte ("Pushing a blob in chunks")."""
        with self._endpoint.request("GET", location, scopes=self.scopes, expect=(204,)) as response:
            if response.headers.get("Location"):
                location = self._location(response)
            there = _end_of(response)
            # "0-0" is what registries say of one byte, and of nothing too.
            return location, done if there is None or (there == 0 and done <= 1) else there

    def cancel(self) -> None:
        """Give up the sessions that nobody has used."""
        while self._open:
            location, _least = self._open.pop()
            with contextlib.suppress(RegistryError):
                self._endpoint.request(
                    "DELETE", location, scopes=self.scopes, expect=(202, 204, 404), again=False
                ).close()


def _end_of(response: Response) -> int | None:
    """How many bytes the registry has of an upload, where it says so; 0 where it has one at most."""
    match = _RANGE.fullmatch(response.headers.get("Range") or "")
    if match is None:
        return None
    last = int(match.group(1))
    return last + 1 if last else 0


def _with_digest(location: str, digest: str) -> str:
    return f"{location}{'&' if urllib.parse.urlsplit(location).query else '?'}digest={urllib.parse.quote(digest)}"


def _is_passing(error: RegistryError) -> bool:
    return error.status in (0, 404, 408, 429, 500, 502, 503, 504) and not isinstance(
        error.__cause__, ConnectionRefusedError
    )


def _read(blob: Blob, start: int, stop: int) -> Iterator[bytes]:
    with blob.open() as file:
        file.seek(start)
        while start < stop:
            piece = file.read(min(PIECE, stop - start))
            if not piece:
                raise OSError(f"{blob.digest} is shorter on this host than its {blob.size} bytes")
            start += len(piece)
            if blob.sent is not None:
                blob.sent(start)
            yield piece
