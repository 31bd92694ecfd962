# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which proxy a connection goes through: what curl, docker and podman agree on of HTTPS_PROXY, HTTP_PROXY and NO_PROXY.

NO_PROXY is a list of names (and all below them), addresses, and networks as 10.0.0.0/8, with :port if wanted; or ``*``.
Loopback never goes through a proxy of the environment. A proxy's password stays out of every error.
"""

from __future__ import annotations

import base64
import ipaddress
import os
import urllib.parse
from typing import NamedTuple

from ...errors import RegistryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Proxy(NamedTuple):
    """``authorization`` is the value of a Proxy-Authorization header, or empty."""

    host: str
    port: int
    authorization: str = ""


def find_proxy(
    scheme: str, host: str, port: int, own: str = "", environment: Mapping[str, str] | None = None
) -> Proxy | None:
    """The proxy for a connection: ``own`` where it is given, else the environment's. Raises RegistryError."""
    environment = os.environ if environment is None else environment
    if own:
        return parse_proxy(own, "proxy")
    known = os.environ if environment is None else environment
    for name in (f"{scheme}_proxy", f"{scheme}_PROXY".upper(), "all_proxy", "ALL_PROXY"):
        if known.get(name):
            without = known.get("no_proxy") or known.get("NO_PROXY") or ""
            return None if _is_direct(host.lower().rstrip("."), port, without) else parse_proxy(known[name], name)
    return None


def parse_proxy(url: str, source: str) -> Proxy:
    """``http://[user:password@]host[:port]``, where ``http://`` may be left out. Raises RegistryError."""
    try:
        parts = urllib.parse.urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname or "", parts.port or 80
    except ValueError:
        parts, host, port = urllib.parse.urlsplit("none://"), "", 0
    if not host or parts.scheme != "http":
        kind = f" (it is of the kind {parts.scheme[:20]})" if host else ""
        raise RegistryError(f"{source}: not a proxy as http://[user:password@]host:port, the only kind there is{kind}")
    if parts.username is None:
        return Proxy(host, port)
    login = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
    return Proxy(host, port, "Basic " + base64.b64encode(login.encode()).decode())


def _is_direct(host: str, port: int, without: str) -> bool:
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    return any(_matches(entry.strip().lower(), host, port, address) for entry in without.split(",") if entry.strip())


def _matches(entry: str, host: str, port: int, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None) -> bool:
    if entry == "*":
        return True
    if address is not None and "/" in entry:
        try:
            return address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    name, colon, wanted = entry.rpartition(":")
    if colon and wanted.isdecimal() and (name.count(":") == 0 or name.endswith("]")):
        if int(wanted) != port:
            return False
        entry = name
    entry = entry.strip("[]")
    if address is not None:
        return _address(entry) == address
    name = entry[1:] if entry.startswith("*.") else entry
    return host.endswith(name) if name.startswith(".") else host == name or host.endswith(f".{name}")


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
