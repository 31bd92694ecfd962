# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One repository at one host: requests that log in where they have to, and are patient where that helps.

What passes (429, 5xx, connections that break) is tried again after a while, or when the registry says (RFC 9110,
section 10.2.3, Retry-After). Every failure is a RegistryError that names the registry, the image and the status, never
a credential.
"""

from __future__ import annotations

import email.utils
import errno
import http.client
import json
import random
import socket
import ssl
import time
import urllib.parse

from ...errors import RegistryError, printable
from .certificates import Trust
from .connections import Body, Connections, Response, is_timeout, origin_of, resolve_location
from .credentials import Credentials, find_credentials
from .login import Login, LoginFault, parse_answer
from .pace import Stalled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from ...model.registry import Access

HOSTS = {"docker.io": "registry-1.docker.io"}
DELAYS = (0.25, 0.5, 1.0, 2.0, 4.0)  # seconds before each further attempt
_PASSING = (408, 429, 500, 502, 503, 504)
_LONGEST_WAIT = 60.0  # seconds: who is told to come back later than that fails instead
_PATIENCE = 180.0  # seconds after which nothing is tried again
_MAX_ANSWER = 1 << 20
_ADVICE = {
    401: "; log in, or check user and password of this registry",
    403: "; this login may not do that",
    404: "; check the name and the tag",
    405: "; this registry does not allow it",
    413: "; it takes no piece of that size: give a chunk_size",
    429: "; wait, or log in for a higher limit",
}


class Endpoint:
    """``repository`` at ``registry`` (``host[:port]``). ``image`` is the name that errors have."""

    def __init__(
        self, registry: str, repository: str, image: str, access: Access, delays: Sequence[float] = DELAYS
    ) -> None:
        self.registry = registry
        self.repository = repository
        self.delays = delays
        self._image = image
        self._access = access
        self._netloc = HOSTS.get(registry, registry)
        self._scheme = "" if access.insecure else "https"
        self._connections = Connections(Trust(self._netloc, access), proxy=access.proxy, timeout=access.timeout)
        self._login = Login(self._find_credentials, self._fetch_token)

    def scope(self, actions: str, repository: str = "") -> str:
        return f"repository:{repository or self.repository}:{actions}"

    def request(
        self,
        method: str,
        where: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        scopes: Sequence[str] = (),
        expect: Sequence[int] = (200,),
        again: bool = True,
    ) -> Response:
        """An open answer with a status of ``expect``. ``where`` is a path in the repository, or a URL.

        ``again`` is whether the request may be repeated after one that failed. Raises RegistryError.
        """
        scopes = scopes or (self.scope("pull"),)
        what = f"{method} {where if '://' not in where else self._path_of(where)}"
        return self._patiently(
            what,
            lambda: self._log_in_and_send(method, where, headers or {}, body, scopes),
            expect,
            self.delays if again else (),
        )

    def _patiently(
        self, what: str, send: Callable[[], Response], expect: Sequence[int], delays: Sequence[float]
    ) -> Response:
        """What ``send`` gets, once it has a status of ``expect``. Raises RegistryError."""
        started = time.monotonic()
        left = list(delays)
        while True:
            if time.monotonic() - started > _PATIENCE:
                left = []
            try:
                response = send()
            except LoginFault as fault:
                raise self.error(str(fault)) from fault.__cause__
            except (OSError, http.client.HTTPException, ValueError) as error:
                # A ValueError is of a URL that cannot be: a host without letters, an address with half its brackets.
                if not left or not passes(error):
                    raise self.error(f"{what} failed", error) from error
                wait = left.pop(0)
            else:
                if response.status in expect:
                    return response
                with response:
                    asked = retry_after(response.headers.get("Retry-After") or "")
                    if not left or response.status not in _PASSING or asked > _LONGEST_WAIT:
                        raise self._refused(what, response, asked)
                    wait = max(asked, left.pop(0))
            # Many hosts of a play meet the same limit at the same time: they are to come back at different ones.
            time.sleep(wait + random.uniform(0, wait / 4))

    def _path_of(self, url: str) -> str:
        try:
            return urllib.parse.urlsplit(url).path
        except ValueError as error:
            raise self.error("there is a place that cannot be", error) from error

    def resolve(self, response: Response, location: str) -> str:
        """Where a Location header of an answer leads. Raises RegistryError."""
        try:
            return resolve_location(response.url, location)
        except OSError as error:
            raise self.error("its answer has a bad location", error) from error

    def error(self, what: str, cause: Exception | None = None, status: int = 0) -> RegistryError:
        why = f": {why_of(cause, self._access)}" if cause is not None else ""
        return RegistryError(printable(f"registry {self.registry}: image {self._image}: {what}{why}"), status)

    def _log_in_and_send(
        self, method: str, where: str, headers: Mapping[str, str], body: Body | None, scopes: Sequence[str]
    ) -> Response:
        url = where if "://" in where else f"{self._base()}/v2/{self.repository}/{where}"
        if origin_of(url) != origin_of(self._base()):  # where an upload goes on: what it needs stands in its URL
            return self._connections.request(method, url, headers, body=body)
        for _challenge in range(2):  # one may be of a token that has just ended
            sent = self._login.authorization(scopes)
            response = self._connections.request(method, url, headers, authorization=sent, body=body)
            challenges = response.headers.get_all("WWW-Authenticate") or []
            # A user's password is not tried twice: registries lock users out. And it is the registry alone that says
            # where it is sent to, not a host that a redirect has led to.
            asks = response.status == 401 and challenges and origin_of(response.url) == origin_of(url)
            if not asks or sent.startswith("Basic "):
                return response
            with response:
                self._login.challenged(challenges, scopes, sent)
        sent = self._login.authorization(scopes)
        return self._connections.request(method, url, headers, authorization=sent, body=body)

    def _base(self) -> str:
        if not self._scheme:
            self._scheme = "https" if self._connections.speaks_tls(self._netloc) else "http"
        return f"{self._scheme}://{self._netloc}"

    def _refused(self, what: str, response: Response, asked: float) -> RegistryError:
        """The status, and the registry's own words where it has some (distribution-spec, "Error Codes")."""
        words = http.client.responses.get(response.status, "")
        try:
            first = json.loads(response.read(_MAX_ANSWER))["errors"][0]
            words = f"{first['code']}: {first['message']}"[:200]
        except (OSError, http.client.HTTPException, ValueError, KeyError, IndexError, TypeError, RecursionError):
            pass  # not all errors come from the registry itself
        later = f"; it asks to come back in {asked:.0f} s" if asked and response.status in _PASSING else ""
        advice = "" if later else _ADVICE.get(response.status, "")
        return self.error(f"{what} gave status {response.status} ({words}){later}{advice}", status=response.status)

    def _find_credentials(self) -> Credentials | None:
        access = self._access
        if access.username:
            return Credentials(access.username, access.password)
        return find_credentials(self.registry, self.repository, access.auth_file)

    def _fetch_token(self, method: str, url: str, authorization: str, form: dict[str, str] | None) -> Any:
        """What the place of the tokens answers."""
        parts = urllib.parse.urlsplit(url)
        place = parts.netloc.rpartition("@")[2]
        if parts.scheme not in ("https", "http") or (parts.scheme == "http" and self._scheme == "https"):
            raise LoginFault("it sends logins to a place that is not HTTPS")
        content = urllib.parse.urlencode(form).encode() if form else b""
        body = Body(len(content), lambda: iter((content,))) if form else None
        kind = {"Content-Type": "application/x-www-form-urlencoded"} if form else {}
        headers = {"Accept": "application/json", **kind}
        with self._patiently(
            f"logging in at {place}",
            lambda: self._connections.request(
                method, url, headers, authorization=authorization, body=body, secret=True
            ),
            (200,),
            self.delays,
        ) as response:
            return parse_answer(response.read(_MAX_ANSWER))


def passes(error: Exception) -> bool:
    """Whether a failure may be gone at the next attempt."""
    if isinstance(error, ssl.SSLError):
        return isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)) or is_timeout(error)
    if isinstance(error, socket.gaierror):
        return error.errno == socket.EAI_AGAIN
    if isinstance(error, ConnectionRefusedError):
        return False  # nobody is there
    if isinstance(error, ConnectionError) or is_timeout(error):
        return True
    if isinstance(error, OSError):
        # What is raised here with words alone (a redirect to nowhere) stays as it is.
        return isinstance(error, Stalled) or error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN)
    return isinstance(error, (http.client.IncompleteRead, http.client.BadStatusLine))


def retry_after(value: str) -> float:
    """Seconds out of a Retry-After header, a number or a date; 0 where it says nothing."""
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError, IndexError):
        return 0.0


def why_of(error: Exception, access: Access, *, registry: bool = True) -> str:
    """A failure in words that a user can act on. ``registry``: whether it is of one, which ``insecure`` is for."""
    if isinstance(error, ssl.SSLCertVerificationError):
        # X509_V_ERR_...: an authority that is not known, or that is the certificate itself; others have another cure.
        unknown = error.verify_code in (2, 18, 19, 20, 21)
        if access.insecure:
            advice = ": give its authority as ca_cert" if unknown else ""
            whose = "it leads on to another host, which insecure does not hold for"
            return f"a certificate is not trusted ({error.verify_message}); {whose}{advice}"
        advice = f"; give its authority as ca_cert{', or say insecure' if registry else ''}" if unknown else ""
        return f"its certificate is not trusted ({error.verify_message}){advice}"
    if isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or ""):
        words = str(error.reason).replace("_", " ").lower()
        return f"it broke off TLS ({words}); it may want a client_cert and client_key that it knows"
    if isinstance(error, ssl.SSLError) and not is_timeout(error):
        plain = "insecure" if registry else "http"
        return f"it does not speak TLS ({error.reason}); where it is to be plain HTTP, say {plain}"
    if is_timeout(error):
        return f"no answer in {access.timeout:g} s"
    return str(getattr(error, "strerror", None) or error or type(error).__name__)
