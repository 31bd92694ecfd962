# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Registries behind a proxy: with and without TLS, by an option and by the environment."""

from __future__ import annotations

import http.server
import select
import socket
import threading

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import RegistryError
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.registry import Access

from .authority import Authority
from .conftest import Registry
from .test_registry_tls import find

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("home")]


class Proxy:
    """A proxy that wants ``authorization`` where that is given, and notes what it was asked for."""

    def __init__(self, authorization: str = "") -> None:
        self.asked: list[str] = []
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def allowed(self) -> bool:
                proxy.asked.append(f"{self.command} {self.path}")
                if self.headers.get("Proxy-Authorization", "") == authorization:
                    return True
                self.send_error(407)
                return False

            def do_CONNECT(self) -> None:
                if not self.allowed():
                    return
                _host, _colon, port = self.path.rpartition(":")
                with socket.create_connection(("127.0.0.1", int(port))) as there:
                    self.send_response(200)
                    self.end_headers()
                    pair = {self.connection: there, there: self.connection}
                    while True:
                        for source in select.select(list(pair), [], [])[0]:
                            content = source.recv(1 << 16)
                            if not content:
                                return
                            pair[source].sendall(content)

            def do_GET(self) -> None:
                if not self.allowed():
                    return
                rest = self.path.partition("://")[2]
                _host, _colon, port = rest.partition("/")[0].rpartition(":")
                with socket.create_connection(("127.0.0.1", int(port))) as there:
                    path = "/" + rest.partition("/")[2]
                    there.sendall(f"{self.command} {path} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
                    while content := there.recv(1 << 16):
                        self.connection.sendall(content)

            do_HEAD = do_GET

            def log_message(self, *_arguments: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.host = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_error: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def test_a_proxy_is_gone_through_for_both_schemes(secure: Registry, registry: Registry, authority: Authority) -> None:
    login = "Basic dXNlcjpwcm94eS13b3Jk"
    with Proxy(login) as proxy:
        own = f"http://user:proxy-word@{proxy.host}"
        port, plain = secure.host.partition(":")[2], registry.host.partition(":")[2]
        assert find(f"localhost:{port}", Access(ca_cert=str(authority.file), proxy=own)) is None
        assert proxy.asked == [f"CONNECT localhost:{port}"]
        assert find(f"localhost:{plain}", Access(insecure=True, proxy=own)) is None
        assert f"HEAD http://localhost:{plain}/v2/app/manifests/1" in proxy.asked
        with pytest.raises(RegistryError, match="407") as error:
            find(f"localhost:{port}", Access(ca_cert=str(authority.file), proxy=f"http://user:wr0ng@{proxy.host}"))
        assert "wr0ng" not in str(error.value)


def test_the_environments_proxy_is_used_for_names_that_only_it_knows(
    secure: Registry, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = secure.host.partition(":")[2]
    with Proxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.host}")
        with pytest.raises(RegistryError, match="certificate is not trusted"):  # for it has another name
            find(f"registry.invalid:{port}", Access(ca_cert=str(authority.file)))
        assert proxy.asked == [f"CONNECT registry.invalid:{port}"]
        assert find(secure.host, Access(ca_cert=str(authority.file))) is None
        monkeypatch.setenv("NO_PROXY", ".invalid")
        with pytest.raises(RegistryError, match=r"(?i)name or service not known|name resolution|no address"):
            find(f"registry.invalid:{port}", Access(ca_cert=str(authority.file)))
        assert len(proxy.asked) == 1
