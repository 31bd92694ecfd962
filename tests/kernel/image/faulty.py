# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small registry of the tests' own: it can do all of distribution-spec 1.1, and do wrong as it is told.

``faults`` are (method, a part of the path, how often, what to do); ``asked`` is what it was asked, in order.
"""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import re
import secrets
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from .hostile import digest_of

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


class Asked(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    peer: tuple[str, int]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    @property
    def own(self) -> FaultyRegistry:
        return self.server.own  # type: ignore[no-any-return]

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError, ssl.SSLError):
            self.close_connection = True

    def answer(self) -> None:
        self.own.asked.append(Asked(self.command, self.path, dict(self.headers), self.client_address))
        for fault in list(self.own.faults):
            method, part, _times, act = fault
            if method == self.command and part in self.path and act is not None:
                fault[2] -= 1
                if fault[2] <= 0:
                    self.own.faults.remove(fault)
                act(self)
                return
        self.serve()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def serve(self) -> None:
        """What a good registry does."""
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if parts.path == "/token":
            self.own.token(self, parse_qs(parts.query), body)
            return
        if self.own.refuses(self, query):
            return
        match = re.fullmatch(r"/v2/(.+)/(manifests|blobs|tags|referrers)/(.*)", parts.path)
        if not match:
            self.send(404 if parts.path != "/v2/" else 200)
            return
        repository, kind, what = match.groups()
        if what.startswith("uploads/"):
            self.own.upload(self, repository.removesuffix("/blobs"), what[8:], query, body)
        elif self.command == "PUT":
            self.own.put_manifest(self, repository, what, body)
        elif self.command == "DELETE":
            gone = self.own.content.pop((repository, kind, what), None)
            self.send(202 if gone else 404)
        else:
            self.own.get(self, repository, kind, what, query)

    def send(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        pass


class FaultyRegistry:
    """``username`` wants a basic login, ``token_life`` one by tokens that are good for so many seconds."""

    def __init__(self, *, context: ssl.SSLContext | None = None, username: str = "", token_life: float = 0) -> None:
        self.content: dict[tuple[str, str, str], tuple[str, bytes]] = {}
        self.uploads: dict[str, bytes] = {}
        self.faults: list[list[Any]] = []
        self.asked: list[Asked] = []
        self.tokens: dict[str, tuple[float, list[str]]] = {}
        self.login = base64.b64encode(f"{username}:pass-word".encode()).decode() if username else ""
        self.identity_token = "refresh-me"
        self.token_life = token_life
        self.has_referrers = self.takes_ranges = True
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.own = self  # type: ignore[attr-defined]
        if context is not None:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.scheme = "https" if context else "http"
        self.host = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def __enter__(self) -> FaultyRegistry:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def fault(self, method: str, part: str, act: Callable[[Handler], None], times: int = 1) -> None:
        self.faults.append([method, part, times, act])

    def put(self, repository: str, kind: str, content: bytes, version: str = "", media_type: str = "") -> str:
        """Have content, under its digest and ``version``."""
        digest = digest_of(content)
        for name in sorted({digest, version or digest}):
            self.content[repository, kind, name] = (media_type, content)
        return digest

    def put_image(
        self, name: str, *layers: bytes, repository: str = "app", config: dict[str, Any] | None = None
    ) -> str:
        """An image of one manifest; returns its digest."""
        document = {"rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]}, **(config or {})}
        blobs = [json.dumps(document).encode(), *layers]
        kinds = [CONFIG, *[LAYER] * len(layers)]
        found = [
            {"mediaType": kind, "digest": self.put(repository, "blobs", blob), "size": len(blob)}
            for kind, blob in zip(kinds, blobs)
        ]
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": found[0], "layers": found[1:]}
        return self.put(repository, "manifests", json.dumps(manifest).encode(), name, MANIFEST)

    # Answers ------------------------------------------------------------------------------------------

    def get(self, handler: Handler, repository: str, kind: str, what: str, query: dict[str, str]) -> None:
        if kind == "tags":
            self.list_tags(handler, repository, query)
            return
        if kind == "referrers":
            self.list_referrers(handler, repository, what, query)
            return
        if (repository, kind, what) not in self.content:
            error = {"errors": [{"code": f"{kind[:-1].upper()}_UNKNOWN", "message": f"no such {kind[:-1]}"}]}
            handler.send(404, {}, json.dumps(error).encode())
            return
        media_type, content = self.content[repository, kind, what]
        headers = {
            "Content-Type": media_type or "application/octet-stream",
            "Docker-Content-Digest": digest_of(content),
        }
        match = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range") or "")
        if match and self.takes_ranges:
            start = int(match.group(1))
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            handler.send(206, headers, content[start:])
        elif handler.command == "HEAD":
            handler.send(200, {**headers, "Content-Length": str(len(content))})
        else:
            handler.send(200, headers, content)

    def list_tags(self, handler: Handler, repository: str, query: dict[str, str]) -> None:
        """Two tags a page."""
        tags = sorted(w for r, k, w in self.content if (r, k) == (repository, "manifests") and ":" not in w)
        if not tags:
            handler.send(404)
            return
        left = [tag for tag in tags if tag > query.get("last", "")]
        link = {"Link": f'</v2/{repository}/tags/list?n=2&last={left[1]}>; rel="next"'} if len(left) > 2 else {}
        handler.send(200, link, json.dumps({"name": repository, "tags": left[:2]}).encode())

    def list_referrers(self, handler: Handler, repository: str, digest: str, query: dict[str, str]) -> None:
        if not self.has_referrers:
            handler.send(404)
            return
        found = []
        for (where, kind, version), (media_type, content) in self.content.items():
            if (where, kind) != (repository, "manifests") or version != digest_of(content):
                continue
            document = json.loads(content)
            if (document.get("subject") or {}).get("digest") == digest:
                entry = {"mediaType": media_type, "digest": version, "size": len(content)}
                found.append({**entry, "artifactType": document.get("artifactType")})
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": found}
        handler.send(200, {"Content-Type": INDEX}, json.dumps(index).encode())

    def put_manifest(self, handler: Handler, repository: str, version: str, body: bytes) -> None:
        document = json.loads(body)
        wanted = [*document.get("layers", ()), *([document["config"]] if "config" in document else [])]
        kinds = [("blobs", wanted), ("manifests", document.get("manifests", ()))]
        for kind, descriptors in kinds:
            if any((repository, kind, descriptor["digest"]) not in self.content for descriptor in descriptors):
                error = {"errors": [{"code": "MANIFEST_BLOB_UNKNOWN", "message": "blob unknown to registry"}]}
                handler.send(400, {}, json.dumps(error).encode())
                return
        digest = self.put(repository, "manifests", body, version, handler.headers["Content-Type"])
        subject = (document.get("subject") or {}).get("digest")
        told = {"OCI-Subject": subject} if subject and self.has_referrers else {}
        handler.send(201, {"Location": f"/v2/{repository}/manifests/{digest}", "Docker-Content-Digest": digest, **told})

    def upload(self, handler: Handler, repository: str, session: str, query: dict[str, str], body: bytes) -> None:
        place = f"/v2/{repository}/blobs/uploads/"
        if handler.command == "POST":
            known = self.content.get((query.get("from", ""), "blobs", query.get("mount", "")))
            if known:
                self.content[repository, "blobs", query["mount"]] = known
                handler.send(201, {"Location": f"/v2/{repository}/blobs/{query['mount']}"})
                return
            session = secrets.token_hex(4)
            self.uploads[session] = b""
            handler.send(202, {"Location": place + session, "Range": "0-0"})
            return
        if session not in self.uploads:
            handler.send(404)
            return
        have = self.uploads[session]
        if handler.command == "PATCH":
            if int((handler.headers.get("Content-Range") or "0-").partition("-")[0]) != len(have):
                handler.send(416, {"Location": place + session, "Range": f"0-{max(0, len(have) - 1)}"})
                return
            self.uploads[session] = have = have + body
        if handler.command == "PUT":
            have += body
            if digest_of(have) != query["digest"]:
                handler.send(400, {}, b'{"errors":[{"code":"DIGEST_INVALID","message":"not its digest"}]}')
                return
            self.put(repository, "blobs", have)
            del self.uploads[session]
            handler.send(201, {"Location": f"/v2/{repository}/blobs/{query['digest']}"})
            return
        if handler.command == "DELETE":
            del self.uploads[session]
        status = {"PATCH": 202, "GET": 204, "DELETE": 204}[handler.command]
        handler.send(status, {"Location": place + session, "Range": f"0-{max(0, len(have) - 1)}"})

    # Logins ----------------------------------------------------------------------------------------------

    def refuses(self, handler: Handler, query: dict[str, str]) -> bool:
        """Whether the request lacks its login; it has been answered then."""
        sent = handler.headers.get("Authorization") or ""
        if not self.login or (not self.token_life and sent == f"Basic {self.login}"):
            return False
        if not self.token_life:
            handler.send(401, {"WWW-Authenticate": 'Basic realm="tests"'})
            return True
        wanted = self.scopes(handler, query)
        ends, granted = self.tokens.get(sent.removeprefix("Bearer "), (0.0, []))
        if ends > time.monotonic() and set(wanted) <= set(granted):
            return False
        realm = f'realm="{self.scheme}://{self.host}/token",service="tests",scope="{" ".join(wanted)}"'
        handler.send(401, {"WWW-Authenticate": f"Bearer {realm}"})
        return True

    def scopes(self, handler: Handler, query: dict[str, str]) -> list[str]:
        """What a request needs, an action each."""
        match = re.match(r"/v2/(.+)/(?:manifests|blobs|tags|referrers)/", urlsplit(handler.path).path)
        repository = match.group(1).removesuffix("/blobs") if match else ""
        actions = {"GET": ["pull"], "HEAD": ["pull"], "DELETE": ["delete"]}.get(handler.command, ["pull", "push"])
        if "uploads/" in handler.path:
            actions = ["pull", "push"]
        found = [f"repository:{repository}:{action}" for action in actions]
        return [*found, f"repository:{query['from']}:pull"] if "from" in query else found

    def token(self, handler: Handler, query: dict[str, list[str]], body: bytes) -> None:
        form = parse_qs(body.decode())
        known = handler.headers.get("Authorization") == f"Basic {self.login}"
        if not known and form.get("refresh_token") != [self.identity_token]:
            handler.send(401, {}, b'{"errors":[{"code":"UNAUTHORIZED","message":"incorrect username or password"}]}')
            return
        scopes = [*query.get("scope", ()), *" ".join(form.get("scope", ())).split()]
        granted = []
        for scope in scopes:
            resource, _colon, actions = scope.rpartition(":")
            granted += [f"{resource}:{action}" for action in actions.split(",")]
        token = secrets.token_hex(8)
        self.tokens[token] = (time.monotonic() + self.token_life, granted)
        handler.send(200, {}, json.dumps({"token": token, "expires_in": self.token_life}).encode())


# What to do wrong ------------------------------------------------------------------------------------------


def status(code: int, **headers: str) -> Callable[[Handler], None]:
    """An answer of that status; ``Retry_After`` is a header's name."""

    def act(handler: Handler) -> None:
        handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        handler.send(code, {name.replace("_", "-"): value for name, value in headers.items()})

    return act


def hang_up(handler: Handler) -> None:
    """No answer at all."""
    handler.close_connection = True


class Broken:
    """Stands between a good answer and the connection: what it lets through, and how."""

    def __init__(self, out: Any, *, most: int, pace: float = 0, flip: bool = False) -> None:
        self.out, self.left, self.pace, self.flip, self.body = out, most, pace, flip, False

    def write(self, content: bytes) -> int:
        if not self.body:
            self.out.write(content)
            self.body = content.endswith(b"\r\n\r\n")
            return len(content)
        if self.flip:
            content = bytes([content[0] ^ 1]) + content[1:]
        for at in range(0, min(len(content), self.left), 1 if self.pace else len(content)):
            self.out.write(content[at : min(self.left, at + (1 if self.pace else len(content)))])
            self.out.flush()
            time.sleep(self.pace)
        self.left = max(0, self.left - len(content))
        return len(content)

    def flush(self) -> None:
        self.out.flush()


def broken(*, most: int = 1 << 40, pace: float = 0, flip: bool = False) -> Callable[[Handler], None]:
    """A good answer of which only ``most`` bytes of body come, one in ``pace`` seconds, or with a bit flipped."""

    def act(handler: Handler) -> None:
        whole, handler.wfile = handler.wfile, Broken(handler.wfile, most=most, pace=pace, flip=flip)  # type: ignore[assignment]
        try:
            handler.serve()
            handler.close_connection = most < 1 << 40
        finally:
            handler.wfile = whole

    return act


def chunked(pieces: list[bytes], *, end: bytes = b"0\r\n\r\n") -> Callable[[Handler], None]:
    """A body in chunks, with an end that may be bad."""

    def act(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for piece in pieces:
            handler.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        handler.wfile.write(end)
        handler.close_connection = True

    return act


def redirect(where: Callable[[str], str] | str, code: int = 307) -> Callable[[Handler], None]:
    def act(handler: Handler) -> None:
        handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        location = where if isinstance(where, str) else where(handler.path)
        handler.send(code, {"Location": location})

    return act


def sha512_of(content: bytes) -> str:
    return "sha512:" + hashlib.sha512(content).hexdigest()
