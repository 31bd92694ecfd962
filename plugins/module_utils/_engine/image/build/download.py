# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ADD gets from an address: kept under ``build-cache/downloads/``, named after its content.

A file that is there already is asked for by what its server said of it (RFC 9110, section 13: ETag, Last-Modified), and
not sent again if it is the same. Addresses may hold passwords: no file, name or error has one.
"""

from __future__ import annotations

import hashlib
import os
import re

from ...errors import DigestMismatch, StateCorrupt, Unsupported
from ...linux.files import read_json, remove_if_exists, write_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...paths import Paths

_CHUNK = 1 << 18
_TIMEOUT = 60
_CHECKSUM = re.compile(r"sha256:([0-9a-f]{64})")


class Downloads:
    """Files by their addresses. ``stores``: unless that is set, nothing is written, and what is new is not known."""

    def __init__(self, paths: Paths, *, stores: bool) -> None:
        self._directory = os.path.join(paths.build_cache, "downloads")
        self._stores = stores
        self._seen: dict[tuple[str, str], str | None] = {}

    def fetch(self, address: str, checksum: str = "") -> str | None:
        """The path of what is at ``address``; None where it has to be fetched first, and is not to be.

        Raises ValueError, DigestMismatch, Unsupported.
        """
        match = _CHECKSUM.fullmatch(checksum)
        if checksum and not match:
            raise ValueError(f"--checksum={checksum}: it is no sha256: with 64 hexadecimal digits behind it")
        wanted = match.group(1) if match else ""
        if wanted and os.path.exists(os.path.join(self._directory, wanted)):
            return os.path.join(self._directory, wanted)
        if (address, wanted) not in self._seen:
            self._seen[address, wanted] = self._fetch(address, wanted)
        return self._seen[address, wanted]

    def _fetch(self, address: str, wanted: str) -> str | None:
        import urllib.error  # 40 ms, for those who add from an address
        import urllib.request  # the same

        if not address.lower().startswith(("http://", "https://")):
            raise Unsupported(f"{_without_password(address)}: ADD gets files by http and https")
        record = os.path.join(self._directory, hashlib.sha256(address.encode()).hexdigest() + ".json")
        known = _known(record, self._directory)
        request = urllib.request.Request(address, headers={"User-Agent": "stowage", **_conditions(known)})
        try:
            with _opener().open(request, timeout=_TIMEOUT) as answer:
                if not self._stores:
                    return self._compare(answer)
                return self._store(answer, record, wanted, address)
        except urllib.error.HTTPError as error:
            if error.code == 304 and known:
                return os.path.join(self._directory, known["digest"])
            raise ValueError(f"{_without_password(address)}: the server says {error.code} {error.reason}") from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise ValueError(f"{_without_password(address)} cannot be had: {reason}") from error

    def _compare(self, answer: Any) -> str | None:
        state = hashlib.sha256()
        while chunk := answer.read(_CHUNK):
            state.update(chunk)
        path = os.path.join(self._directory, state.hexdigest())
        return path if os.path.exists(path) else None

    def _store(self, answer: Any, record: str, wanted: str, address: str) -> str:
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        temporary = os.path.join(self._directory, ".partial")
        state = hashlib.sha256()
        try:
            with open(temporary, "wb") as file:
                while chunk := answer.read(_CHUNK):
                    state.update(chunk)
                    file.write(chunk)
            digest = state.hexdigest()
            if wanted and digest != wanted:
                raise DigestMismatch(_without_password(address), f"sha256:{wanted}", f"sha256:{digest}")
            path = os.path.join(self._directory, digest)
            os.rename(temporary, path)
        except BaseException:
            remove_if_exists(temporary)
            raise
        validators = {name: answer.headers[name] for name in ("ETag", "Last-Modified") if answer.headers[name]}
        write_json(record, {"digest": digest, **validators}, durable=False)
        return path


def _opener() -> Any:
    """Follows redirects to http and https alone: urllib would go to ftp too."""
    import urllib.request  # builds without addresses do without: 40 ms

    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPRedirectHandler(),
    ):
        opener.add_handler(handler)
    return opener


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


def _without_password(address: str) -> str:
    return re.sub(r"//[^/@]*@", "//", address)
