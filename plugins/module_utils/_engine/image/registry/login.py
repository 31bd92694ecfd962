# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logging in at a registry: basic (RFC 7617), and bearer tokens (distribution's "Token Authentication Specification").

Nothing is sent before the registry has asked. A token is kept as long as it is good for, and a new one fetched when it
ends or is refused, so that a pull may last longer than its tokens. A scope is ``repository:<name>:<actions>``.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
import urllib.parse
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from .credentials import Credentials

    # Method, URL, authorization, and the fields of a form: what the place of the tokens answers, parsed.
    Fetch = Callable[[str, str, str, "dict[str, str] | None"], Any]

_CHALLENGE = re.compile(r'(\w+)\s+(?=[\w-]+\s*=)|([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))|(\w+)')
_LIFE = 60.0  # seconds that a token is good for when nothing is said; the specification's own default
_LONGEST = 1e9  # seconds: there are larger integers than floats
_MARGIN = 5.0  # seconds before its end at which a token is not used any more
_SOURCES = "neither the task nor a file of this host (auth.json, docker's config.json)"
# RFC 6749, section 2.2: who asks for a token.
_CLIENT = "stowage"


class LoginFault(Exception):
    """Why there is no logging in, in words that go on after the registry's name."""


class Challenge(NamedTuple):
    scheme: str
    fields: dict[str, str]


class _Token(NamedTuple):
    value: str
    ends: float  # of time.monotonic()


class Login:
    """What a registry wants to be told. ``find`` looks the credentials up, once; ``fetch`` asks for a token."""

    def __init__(self, find: Callable[[], Credentials | None], fetch: Fetch) -> None:
        self._find = find
        self._fetch = fetch
        self._found: tuple[Credentials | None] | None = None
        self._challenge: Challenge | None = None
        self._tokens: dict[frozenset[str], _Token] = {}
        self._lock = threading.RLock()

    def authorization(self, scopes: Iterable[str]) -> str:
        """The header's value for a request of that scope; empty as long as the registry has not asked for one."""
        with self._lock:
            if self._challenge is None:
                return ""
            if self._challenge.scheme == "basic":
                return basic(self._credentials())
            wanted = frozenset(scopes)
            token = self._tokens.get(wanted)
            if token is None or token.ends <= time.monotonic():
                token = self._tokens[wanted] = self._token(self._challenge, wanted)
            return f"Bearer {token.value}"

    def challenged(self, headers: Iterable[str], scopes: Iterable[str], sent: str) -> None:
        """Take in the WWW-Authenticate ``headers`` of an answer to a request that had ``sent`` in Authorization.

        Raises LoginFault where there is nothing more to say than what was sent.
        """
        challenges = [challenge for header in headers for challenge in parse_challenges(header)]
        known = [challenge for scheme in ("bearer", "basic") for challenge in challenges if challenge.scheme == scheme]
        if not known:
            kinds = ", ".join(challenge.scheme for challenge in challenges)[:40]
            raise LoginFault(f"it wants a login of an unknown kind, {kinds!r}")
        with self._lock:
            if known[0].scheme == "basic" and self._credentials() is None:
                raise LoginFault(f"it wants a login, and {_SOURCES} has none for it")
            self._challenge = known[0]
            wanted = frozenset(scopes)
            token = self._tokens.get(wanted)
            if token is not None and sent == f"Bearer {token.value}":  # not one that another thread has got meanwhile
                del self._tokens[wanted]

    def _credentials(self) -> Credentials | None:
        if self._found is None:
            self._found = (self._find(),)
        return self._found[0]

    def _token(self, challenge: Challenge, scopes: frozenset[str]) -> _Token:
        realm = challenge.fields.get("realm", "")
        asked = merge_scopes(scopes, challenge.fields.get("scope", "").split())
        service = {"service": challenge.fields["service"]} if "service" in challenge.fields else {}
        login, started = self._credentials(), time.monotonic()
        if login is not None and login.identity_token:
            form = {"grant_type": "refresh_token", "refresh_token": login.identity_token, "client_id": _CLIENT}
            answer = self._fetch("POST", realm, "", {**form, **service, "scope": " ".join(asked)})
        else:
            parts = urllib.parse.urlsplit(realm)
            query = [*urllib.parse.parse_qsl(parts.query), *service.items(), *(("scope", scope) for scope in asked)]
            url = urllib.parse.urlunsplit(parts._replace(query=urllib.parse.urlencode(query)))
            answer = self._fetch("GET", url, basic(login), None)
        token = (answer.get("token") or answer.get("access_token")) if isinstance(answer, dict) else None
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise LoginFault("its login gave no token")
        life = answer.get("expires_in")
        life = float(min(life, _LONGEST)) if isinstance(life, (int, float)) and life > 0 else _LIFE
        return _Token(token, started + max(life - _MARGIN, life / 2))


def basic(login: Credentials | None) -> str:
    """An Authorization header's value, empty for nobody."""
    if login is None:
        return ""
    return "Basic " + base64.b64encode(f"{login.username}:{login.password}".encode()).decode()


def parse_challenges(header: str) -> list[Challenge]:
    """The challenges of a WWW-Authenticate header (RFC 9110, section 11.6.1), their schemes in lower case."""
    found: list[Challenge] = []
    for match in _CHALLENGE.finditer(header):
        scheme, name, quoted, plain, alone = match.groups()
        if scheme or alone:
            found.append(Challenge((scheme or alone).lower(), {}))
        elif found:
            value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
            found[-1].fields.setdefault(name.lower(), value)
    return found


def merge_scopes(*lists: Iterable[str]) -> list[str]:
    """One scope a resource, with all of its actions."""
    actions: dict[str, list[str]] = {}
    for scope in sorted(scope for scopes in lists for scope in scopes):
        resource, colon, words = scope.rpartition(":")
        if not colon:  # not of this form, as public.ecr.aws has one
            resource, words = scope, ""
        known = actions.setdefault(resource, [])
        known += [word for word in words.split(",") if word and word not in known]
    return [f"{resource}:{','.join(words)}" if words else resource for resource, words in actions.items()]


def parse_answer(content: bytes) -> Any:
    """What a place of tokens answered; None where it is no JSON."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None
