# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A registry, over HTTP (OCI distribution-spec 1.1), on Python's standard library.

Imported only where an image is pulled: http.client and ssl cost 50 ms. Every failure is a RegistryError that names the
registry, the image and the status, never a credential; credentials never follow a redirect to another host, and a
redirect never leaves HTTPS for HTTP.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import socket
import ssl
import urllib.error
import urllib.parse
import urllib.request
from typing import NamedTuple

from ...errors import RegistryError
from ...model.registry import Access
from ..manifest import INDEXES, MANIFESTS, MAX_DOCUMENT
from .credentials import find_credentials

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO, Any

    from ...model.reference import Reference

NO_ACCESS = Access()
_TIMEOUT = 30.0  # seconds without a byte
_CHUNK = 1 << 18
_HOSTS = {"docker.io": "registry-1.docker.io"}
_CHALLENGE = re.compile(r'([a-zA-Z_]+)="([^"]*)"')


class Document(NamedTuple):
    """A manifest or index as the registry gave it; ``content`` is empty after a HEAD request."""

    media_type: str
    digest: str
    content: bytes


class Registry:
    """One repository of one registry."""

    def __init__(self, reference: Reference, *, access: Access = NO_ACCESS) -> None:
        insecure = access.insecure
        self._reference = reference
        self._host = _HOSTS.get(reference.registry, reference.registry)
        self._insecure = insecure
        self._authorization = ""
        self._scheme = ""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if insecure else ssl.create_default_context()
        if insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        # Not build_opener(): that would follow a redirect to ftp: too.
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(),
            urllib.request.HTTPHandler(),
            urllib.request.HTTPSHandler(context=context),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
            _Redirect(),
        ):
            self._opener.add_handler(handler)

    def head_manifest(self, version: str) -> Document:
        """What kind of manifest a tag or digest has, and its digest; one request without a body."""
        with self._request("HEAD", f"manifests/{version}", accept=(*MANIFESTS, *INDEXES)) as response:
            return Document(_media_type(response), response.headers.get("Docker-Content-Digest") or "", b"")

    def get_manifest(self, version: str) -> Document:
        """A manifest or index, not yet verified."""
        with self._request("GET", f"manifests/{version}", accept=(*MANIFESTS, *INDEXES)) as response:
            content = self._read(response, MAX_DOCUMENT)
            return Document(_media_type(response), response.headers.get("Docker-Content-Digest") or "", content)

    def get_blob(self, digest: str, size: int, offset: int = 0, urls: tuple[str, ...] = ()) -> Iterator[bytes]:
        """A blob's content from ``offset`` on, a piece at a time, not yet verified; never more than ``size`` bytes.

        ``urls`` are other places that have it (image-spec, descriptor.md), for when the registry has not.
        """
        pieces = self._get_blob(digest, size)
        for piece in pieces:
            if offset < len(piece):
                yield piece[offset:]
            offset = max(0, offset - len(piece))

    def _get_blob(self, digest: str, size: int) -> Iterator[bytes]:
        with self._request("GET", f"blobs/{digest}") as response:
            left = size
            while True:
                try:
                    chunk = response.read(min(_CHUNK, left + 1))
                except (OSError, http.client.HTTPException) as error:
                    raise self._error(f"the blob {digest} broke off", error) from error
                left -= len(chunk)
                if left < 0 or (left > 0 and not chunk):
                    kind = "longer" if left < 0 else "shorter"
                    raise self._error(f"the blob {digest} is {kind} than the {size} bytes that its manifest says")
                if not chunk:
                    return
                yield chunk

    def _read(self, response: IO[bytes], limit: int) -> bytes:
        try:
            content = response.read(limit + 1)
        except (OSError, http.client.HTTPException) as error:
            raise self._error("the answer broke off", error) from error
        if len(content) > limit:
            raise self._error(f"the manifest has more than {limit} bytes")
        return content

    def _request(self, method: str, path: str, *, accept: tuple[str, ...] = ()) -> Any:
        """An open response of status 200, after logging in where the registry asks for it."""
        url = f"{self._base()}/v2/{self._reference.repository}/{path}"
        for attempt in (1, 2):
            request = urllib.request.Request(url, method=method)
            if accept:
                request.add_header("Accept", ", ".join(accept))
            if self._authorization:
                # Unredirected: urllib would otherwise carry it to wherever a redirect leads.
                request.add_unredirected_header("Authorization", self._authorization)
            try:
                return self._opener.open(request, timeout=_TIMEOUT)
            except urllib.error.HTTPError as error:
                with error:
                    challenge = error.headers.get("WWW-Authenticate") or ""
                    if error.code == 401 and attempt == 1 and challenge:
                        self._log_in(challenge)
                        continue
                    raise self._refused(f"{method} {path}", error) from None
            except (OSError, http.client.HTTPException) as error:
                raise self._error(f"{method} {path} failed", error) from error
        raise self._error(f"{method} {path} was refused after a login")

    def _base(self) -> str:
        if not self._scheme:
            self._scheme = self._probe() if self._insecure else "https"
        return f"{self._scheme}://{self._host}"

    def _probe(self) -> str:
        """Whether an insecure registry speaks TLS: what docker does for its insecure-registries."""
        try:
            with self._opener.open(f"https://{self._host}/v2/", timeout=_TIMEOUT):
                return "https"
        except urllib.error.HTTPError as error:
            error.close()
            return "https"
        except (OSError, http.client.HTTPException):
            return "http"

    def _log_in(self, challenge: str) -> None:
        """Answer a WWW-Authenticate challenge (RFC 7235; distribution's "Token Authentication Specification")."""
        scheme, _space, rest = challenge.partition(" ")
        login = find_credentials(self._reference.registry, self._reference.repository)
        if scheme.lower() == "basic":
            if login is None:
                raise self._error(
                    "it wants a login, and this host's auth.json and docker's config.json have none for it"
                )
            self._authorization = _basic(login)
        elif scheme.lower() == "bearer":
            self._authorization = "Bearer " + self._token(dict(_CHALLENGE.findall(rest)), login)
        else:
            raise self._error(f"it wants a login of an unknown kind, {scheme[:40]!r}")

    def _token(self, challenge: dict[str, str], login: tuple[str, str] | None) -> str:
        realm = urllib.parse.urlsplit(challenge.get("realm", ""))
        if realm.scheme not in ("https", "http") or (realm.scheme == "http" and self._scheme == "https"):
            raise self._error("it sends logins to a place that is not HTTPS")
        scope = challenge.get("scope") or f"repository:{self._reference.repository}:pull"
        query = {"scope": scope, **({"service": challenge["service"]} if "service" in challenge else {})}
        query = {**dict(urllib.parse.parse_qsl(realm.query)), **query}
        url = urllib.parse.urlunsplit(realm._replace(query=urllib.parse.urlencode(query)))
        request = urllib.request.Request(url)
        if login is not None:
            request.add_unredirected_header("Authorization", _basic(login))
        try:
            with self._opener.open(request, timeout=_TIMEOUT) as response:
                answer = json.loads(self._read(response, MAX_DOCUMENT))
        except urllib.error.HTTPError as error:
            with error:
                raise self._refused(f"logging in at {realm.netloc.rpartition('@')[2]}", error) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._error(f"logging in at {realm.netloc.rpartition('@')[2]} failed", error) from error
        token = (answer.get("token") or answer.get("access_token")) if isinstance(answer, dict) else None
        if not isinstance(token, str) or not token.isprintable():
            raise self._error("the login gave no token")
        return token

    def _refused(self, what: str, error: urllib.error.HTTPError) -> RegistryError:
        """The status, and the registry's own words where it has some (distribution-spec, "Error Codes")."""
        words = http.client.responses.get(error.code, "")
        try:
            first = json.loads(error.read(1 << 16))["errors"][0]
            words = f"{first['code']}: {first['message']}"[:200]
        except (OSError, http.client.HTTPException, ValueError, KeyError, IndexError, TypeError):
            pass  # not all errors come from the registry itself
        advice = {
            401: "; log in, or check user and password of this registry",
            403: "; this login may not read it",
            404: "; check the name and the tag",
            429: "; wait, or log in for a higher limit",
        }.get(error.code, "")
        return self._error(f"{what} gave status {error.code} ({words}){advice}", status=error.code)

    def _error(self, what: str, cause: Exception | None = None, *, status: int = 0) -> RegistryError:
        why = f": {_why(cause)}" if cause is not None else ""
        return RegistryError(f"registry {self._reference.registry}: image {self._reference.name}: {what}{why}", status)


class _Redirect(urllib.request.HTTPRedirectHandler):
    """Redirects keep the method (urllib turns HEAD into GET), and stay with HTTPS."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if not newurl.startswith("https://" if req.type == "https" else ("https://", "http://")):
            raise OSError("it redirects to a place that is not HTTPS")
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None:
            request.method = req.get_method()
            old, new = urllib.parse.urlsplit(req.full_url), urllib.parse.urlsplit(newurl)
            authorization = req.unredirected_hdrs.get("Authorization")
            if authorization and (old.scheme, old.netloc) == (new.scheme, new.netloc):
                request.add_unredirected_header("Authorization", authorization)
        return request

    http_error_308 = urllib.request.HTTPRedirectHandler.http_error_302  # Python 3.11 has it, 3.9 not


def _basic(login: tuple[str, str]) -> str:
    return "Basic " + base64.b64encode(":".join(login).encode()).decode()


def _media_type(response: Any) -> str:
    return str(response.headers.get("Content-Type") or "").partition(";")[0].strip()


def _why(error: Exception) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({reason.verify_message}); add its CA to this host, or say insecure"
    if isinstance(reason, ssl.SSLError):
        return f"it does not speak TLS ({reason.reason}); where it is to be plain HTTP, say insecure"
    if isinstance(reason, (TimeoutError, socket.timeout)):
        return f"no answer in {_TIMEOUT:g} s"
    return str(getattr(reason, "strerror", None) or reason or type(reason).__name__)
