# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ADD gets from an address: kept under ``build-cache/downloads/``, named after its content.

A file that is there already is asked for by what its server said of it (RFC 9110, section 13: ETag, Last-Modified), and
not sent again if it is the same. What breaks off is fetched again, and is no file before all of it came.
"""

from __future__ import annotations

import hashlib
import os
import re
import time

from ...errors import DigestMismatch, RegistryError, StateCorrupt
from ...linux.files import read_json, remove_if_exists, write_json
from ...model.registry import Access
from ...progress import Line, Progress
from .addresses import check_address, parse_checksum, told

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ...paths import Paths
    from ..registry.connections import Response

_ADDRESS = "!#$%&'()*+,/:;=?@[]~"  # what stands in addresses as it is, with letters and digits (RFC 3986)
_DELAYS = (0.25, 0.5, 1.0, 2.0)  # seconds before each further attempt
_PASSING = (408, 429, 500, 502, 503, 504)


class Downloads:
    """Files by their addresses. ``stores``: unless that is set, nothing is written, and what is new is not known.

    Of ``access`` the authorities, the proxy and the time-out hold: no login or key is for a server that a file names,
    and what is ``insecure`` is a registry. ``tell`` gets a line now and then about how far a file is.
    """

    def __init__(
        self, paths: Paths, access: Access, *, stores: bool, tell: Callable[[str], None] = lambda _line: None
    ) -> None:
        self._directory = os.path.join(paths.build_cache, "downloads")
        self._access = Access(ca_cert=access.ca_cert, proxy=access.proxy, timeout=access.timeout)
        self._stores = stores
        self._tell = tell
        self._seen: dict[tuple[str, str], str | None] = {}

    def fetch(self, address: str, checksum: str = "") -> str | None:
        """The path of what is at ``address``; None where it has to be fetched first, and is not to be.

        Raises ValueError, DigestMismatch, OSError.
        """
        check_address(address)
        wanted = parse_checksum(checksum) if checksum else ""
        if wanted and os.path.exists(os.path.join(self._directory, wanted)):
            return self._used(wanted)
        if (address, wanted) not in self._seen:
            self._seen[address, wanted] = self._fetch(address, wanted)
        return self._seen[address, wanted]

    def _fetch(self, address: str, wanted: str) -> str | None:
        """Ask for it, some times where that may help."""
        import http.client  # 60 ms with ssl, for those who add from an address
        import urllib.parse  # the same

        from ..registry.certificates import Trust  # the same
        from ..registry.connections import Connections  # the same
        from ..registry.endpoint import passes, why_of  # the same

        record = os.path.join(self._directory, hashlib.sha256(address.encode()).hexdigest() + ".json")
        # What was there before does not have the checksum, or it would not be asked for.
        known = {} if wanted else _known(record, self._directory)
        place = urllib.parse.quote(address, safe=_ADDRESS, errors="surrogateescape")
        connections = Connections(Trust("", self._access), proxy=self._access.proxy, timeout=self._access.timeout)
        delays = list(_DELAYS)
        while True:
            try:
                headers = {"Accept-Encoding": "identity", **_conditions(known)}
                with connections.request("GET", place, headers) as response:
                    if response.status == 304 and known:
                        return self._used(known["digest"], record)
                    if response.status == 200:
                        return self._take(response, record, wanted, address)
                    if response.status not in _PASSING or not delays:
                        words = http.client.responses.get(response.status, "")
                        raise ValueError(f"{told(address)}: the server says {response.status} {words}".strip())
            except RegistryError as error:  # of a proxy, or of a file with certificates
                raise ValueError(f"{told(address)} cannot be had: {error}") from error
            except (OSError, http.client.HTTPException) as error:
                if not delays or not passes(error):
                    why = why_of(error, self._access, registry=False)
                    raise ValueError(f"{told(address)} cannot be had: {why}") from error
            time.sleep(delays.pop(0))

    def _take(self, response: Response, record: str, wanted: str, address: str) -> str | None:
        """The path of what a server answers. Without ``stores`` it is compared with what is there."""
        temporary = os.path.join(self._directory, ".partial")
        try:
            digest = self._read(response, address, temporary)
            if wanted and digest != wanted:
                raise DigestMismatch(told(address), f"sha256:{wanted}", f"sha256:{digest}")
            path = os.path.join(self._directory, digest)
            if not self._stores:
                return path if os.path.exists(path) else None
            os.rename(temporary, path)
        except BaseException:
            if self._stores:
                remove_if_exists(temporary)
            raise
        validators = {name: response.headers[name] for name in ("ETag", "Last-Modified") if response.headers[name]}
        write_json(record, {"digest": digest, **validators}, durable=False)
        return path

    def _used(self, digest: str, record: str = "") -> str:
        """The path of a file that is there already, and is of use: see prune.py."""
        path = os.path.join(self._directory, digest)
        for one in filter(None, (path, record)) if self._stores else ():
            os.utime(one)
        return path

    def _read(self, response: Response, address: str, path: str) -> str:
        """All of an answer, into ``path`` if this stores; its digest in hexadecimal.

        Raises OSError and HTTPException where it breaks off.
        """
        line = Line(lambda text: self._tell(text.rstrip("\n")), terminal=False)
        progress = Progress(f"fetching {told(address)}", response.length or 0, 1, line)
        count = progress.counter().add
        state = hashlib.sha256()
        if self._stores:
            os.makedirs(self._directory, mode=0o700, exist_ok=True)
        with open(path if self._stores else os.devnull, "wb") as file:
            for piece in response.pieces():
                state.update(piece)
                file.write(piece)
                count(len(piece))
                progress.tick()
        progress.end()
        return state.hexdigest()


def _known(record: str, directory: str) -> dict[str, str]:
    try:
        found = read_json(record)
    except StateCorrupt:
        return {}
    if not isinstance(found, dict) or not re.fullmatch(r"[0-9a-f]{64}", str(found.get("digest"))):
        return {}
    return found if os.path.exists(os.path.join(directory, found["digest"])) else {}


def _conditions(known: dict[str, str]) -> dict[str, str]:
    names = {"ETag": "If-None-Match", "Last-Modified": "If-Modified-Since"}
    return {header: known[name] for name, header in names.items() if name in known}
