# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP as registries speak it (RFC 9112): connections that are used again, through proxies, along redirects.

Promises: credentials go to the origin (scheme, host and port) that they were given for, and no redirect carries them to
another; what began with HTTPS never goes on without. Several threads may ask at once; a forked child starts with
connections of its own. Raises OSError and http.client.HTTPException, which give no secret away.
"""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import time
import urllib.parse
from typing import NamedTuple

from .pace import Answer, Pace, answer_to, patient, send
from .proxies import Proxy, find_proxy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType
    from typing import Any

    from .certificates import Trust

PIECE = 1 << 18  # bytes: the most that is read or written at once
_FIRST = 1 << 16  # bytes; not less than a buffer of Python's (io.DEFAULT_BUFFER_SIZE)
_SOON = 0.1  # seconds after which what came so far is handed on
_MAX_REDIRECTS = 10
_URL = "!#$%&'()*+,/:;=?@[]~"  # what stands in URLs as it is, with letters and digits (RFC 3986)
_REDIRECTS = (301, 302, 303, 307, 308)
_DRAINED = 1 << 16  # bytes: what is left of an answer up to this is read, so that its connection can be used again


class Body(NamedTuple):
    """What is sent: ``size`` bytes, that ``read`` yields from the start each time that it is called."""

    size: int
    read: Callable[[], Iterator[bytes]]


class Response:
    """An answer whose body is still to be read; ``with`` closes it."""

    def __init__(self, url: str, response: Answer, done: Callable[[bool], None], timeout: float) -> None:
        self.url = url
        self.status = response.status
        self.headers = response.headers
        self.length = response.length
        """How many bytes of body are to come, where the answer says so."""
        self.has_end = response.length is not None or response.chunked
        """Whether an end of the body that comes too early can be told from its end."""
        self._response = response
        self._done: Callable[[bool], None] | None = done
        self._timeout = timeout
        self._buffer: memoryview | None = None

    def pieces(self) -> Iterator[bytes]:
        """The body, as it comes. Raises OSError, Stalled among them, and HTTPException where it breaks off."""
        pace = Pace(self._timeout, "came")
        while self.length != 0:
            started = time.monotonic()  # of the waiting alone: whoever takes the pieces may take long
            piece = self._next(started)
            waited = time.monotonic() - started
            if not piece:
                if self.length:  # a read says nothing of a connection that is closed too early
                    raise http.client.IncompleteRead(b"", self.length)
                return
            if self.length is not None:
                self.length -= len(piece)
            pace.add(waited, len(piece))
            yield piece

    def _next(self, started: float) -> bytes:
        """What comes next of the body, nothing at its end."""
        if self.length is None or self._buffer is None:
            # Python has read some of the body together with the headers. The next read is past its own reader.
            self._buffer = memoryview(bytearray(PIECE))
            if self.length is None:
                return self._response.read_some(_FIRST)
            return self._response.read1(min(_FIRST, self.length))
        # TLS gives 16 KiB at a time at most: read1() would make an object, of all that it may return, for each.
        view, filled = self._buffer[: min(PIECE, self.length)], 0
        while filled < len(view):
            try:
                count = self._response.raw.readinto(view[filled:])
            except OSError:
                if not filled:
                    raise
                break  # it will be raised again
            if not count:
                break
            filled += count
            if time.monotonic() - started > _SOON:
                break
        return bytes(view[:filled])

    def read(self, limit: int) -> bytes:
        """All of a body that has at most ``limit`` bytes, or its first ``limit`` and one."""
        found = bytearray()
        for piece in self.pieces():
            found += piece
            if len(found) > limit:
                break
        return bytes(found[: limit + 1])

    def close(self) -> None:
        if self._done is None:
            return
        done, self._done = self._done, None
        whole = False
        try:
            if self.length is not None and self.length <= _DRAINED:
                for _rest in self.pieces():
                    pass
            whole = (self.length == 0 or self._response.isclosed()) and not self._response.will_close
        except (OSError, http.client.HTTPException):
            pass  # the connection is not used again
        finally:
            self._response.close()
            done(whole)

    def __enter__(self) -> Response:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Connections:
    """The connections to a registry and to where it redirects. Making one connects to nothing."""

    def __init__(self, trust: Trust, *, proxy: str = "", timeout: float = 30.0) -> None:
        self._trust = trust
        self._proxy = proxy
        self._timeout = timeout
        self._idle: dict[tuple[int, str], list[http.client.HTTPConnection]] = {}

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        *,
        authorization: str = "",
        body: Body | None = None,
        secret: bool = False,
    ) -> Response:
        """The answer, whatever its status, at the end of its redirects; a ``secret`` body goes to one origin alone."""
        origin, current = origin_of(url), url
        for _redirect in range(_MAX_REDIRECTS + 1):
            own = {"Authorization": authorization} if authorization and origin_of(current) == origin else {}
            response = self._exchange(method, current, {**headers, **own}, body)
            location = response.headers.get("Location")
            # RFC 9110, section 15.4: others than 307 and 308 may turn what was not safe into a GET.
            follow = _REDIRECTS if method in ("GET", "HEAD") else (307, 308)
            if response.status not in follow or not location:
                return response
            response.close()
            current = resolve_location(current, location)
            if secret and origin_of(current) != origin:
                raise OSError("it leads on to another host, and the login is not sent there")
        raise OSError(f"it redirects more than {_MAX_REDIRECTS} times")

    def speaks_tls(self, netloc: str) -> bool:
        """Whether there is TLS at ``host[:port]``: how docker treats its insecure-registries."""
        url = f"https://{netloc}/"
        connection = self._connect(url)
        try:
            connection.connect()
        except ssl.SSLError as error:
            connection.close()
            # An alert is what a TLS server sends, one that wants a client certificate for instance.
            return "ALERT" in (error.reason or "")
        except OSError:
            connection.close()
            return False  # what keeps TLS away may keep HTTP away too; that will say so then
        self._give_back(url, connection)
        return True

    def _exchange(self, method: str, url: str, headers: Mapping[str, str], body: Body | None) -> Response:
        """One request and its answer. An idle connection may have been closed meanwhile: then a new one is made."""
        while True:
            used, again = self._take(url)
            try:
                response = self._send(used, method, url, headers, body)
            except BaseException as error:
                used.close()
                if again and isinstance(error, (OSError, http.client.BadStatusLine)) and not is_timeout(error):
                    continue
                raise

            def done(whole: bool, used: http.client.HTTPConnection = used) -> None:
                if whole:
                    self._give_back(url, used)
                else:
                    used.close()

            return Response(url, response, done, self._timeout)

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Body | None,
    ) -> Answer:
        parts = urllib.parse.urlsplit(url)
        proxy = self._find_proxy(url) if parts.scheme == "http" else None
        target = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
        connection.putrequest(method, url if proxy else target, skip_accept_encoding=True)
        sent = {"User-Agent": "stowage", **headers}
        if proxy and proxy.authorization:
            sent["Proxy-Authorization"] = proxy.authorization
        if body is not None or method in ("POST", "PUT", "PATCH"):
            sent["Content-Length"] = str(body.size if body else 0)
        for name, value in sent.items():
            connection.putheader(name, value)
        connection.endheaders()
        try:
            pace = Pace(self._timeout, "were taken")
            for piece in body.read() if body else ():
                send(connection, piece, pace)
        except (BrokenPipeError, ConnectionResetError):
            # A server that refuses a body answers and hangs up before it has read all of it: what it says counts.
            try:
                return answer_to(connection)
            except (OSError, http.client.HTTPException):
                pass
            raise
        return answer_to(connection)

    def _connect(self, url: str) -> http.client.HTTPConnection:
        """A connection that is yet to be made."""
        parts = urllib.parse.urlsplit(url)
        host, port, secure = parts.hostname or "", _port(parts), parts.scheme == "https"
        proxy = self._find_proxy(url)
        at = (proxy.host, proxy.port) if proxy else (host, port)
        if not secure:
            return patient(http.client.HTTPConnection(*at, timeout=self._timeout))
        context = self._trust.context(parts.netloc.rpartition("@")[2])
        connection = http.client.HTTPSConnection(*at, timeout=self._timeout, context=context)
        if proxy:
            login = {"Proxy-Authorization": proxy.authorization} if proxy.authorization else {}
            connection.set_tunnel(host, port, login)
        return patient(connection)

    def _take(self, url: str) -> tuple[http.client.HTTPConnection, bool]:
        """A connection, and whether it was used before."""
        try:
            return self._idle[os.getpid(), origin_of(url)].pop(), True
        except (KeyError, IndexError):
            return self._connect(url), False

    def _find_proxy(self, url: str) -> Proxy | None:
        parts = urllib.parse.urlsplit(url)
        return find_proxy(parts.scheme, parts.hostname or "", _port(parts), self._proxy)

    def _give_back(self, url: str, connection: http.client.HTTPConnection) -> None:
        self._idle.setdefault((os.getpid(), origin_of(url)), []).append(connection)


def is_timeout(error: BaseException) -> bool:
    return isinstance(error, (TimeoutError, socket.timeout))  # one and the same since Python 3.10


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL (RFC 6454)."""
    parts = urllib.parse.urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}:{_port(parts)}"


def resolve_location(base: str, location: str) -> str:
    """Where a Location header leads from ``base``. Raises OSError where it leaves HTTPS, or HTTP altogether."""
    try:
        # Headers are read as Latin-1: the bytes of what is not ASCII are those that came.
        found = urllib.parse.quote(
            urllib.parse.urljoin(base, location), safe=_URL, encoding="latin-1", errors="replace"
        )
        host = urllib.parse.urlsplit(found).hostname
    except ValueError as error:  # half an IPv6 address
        raise OSError(f"it leads on to a place that cannot be ({error})") from error
    if not found.startswith("https://" if base.startswith("https://") else ("https://", "http://")):
        raise OSError("it leads on to a place that is not HTTPS")
    if not host:
        raise OSError("it leads on to a place without a name")
    return found


def _port(parts: Any) -> int:
    try:
        return parts.port or {"https": 443, "http": 80}.get(parts.scheme, 0)
    except ValueError:
        raise OSError("it leads on to a port that cannot be") from None
