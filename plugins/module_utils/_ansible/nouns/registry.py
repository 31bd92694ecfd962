# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of everything that speaks with a registry; their documentation is doc_fragments/registry_options.py."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ..._engine.errors import InvalidOption
from ..._engine.model.registry import Access

REGISTRY_OPTIONS: dict[str, Any] = {
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "auth_file": {"type": "path"},
    "insecure": {"type": "bool", "default": False},
    "ca_cert": {"type": "path"},
    "client_cert": {"type": "path"},
    "client_key": {"type": "path"},
    "proxy": {"type": "str", "no_log": True},
    "timeout": {"type": "int", "default": 30},
}
_PATHS = ("auth_file", "ca_cert", "client_cert", "client_key")


def parse_access(params: Mapping[str, Any]) -> Access:
    """The registry options among a module's parameters. Raises InvalidOption, never with a secret in it."""
    username, password = params["username"] or "", params["password"] or ""
    if bool(username) != bool(password):
        given, lacking = ("username", "password") if username else ("password", "username")
        raise InvalidOption(lacking, None, f"a value, since {given} is given")
    if ":" in username:  # RFC 7617, section 2
        raise InvalidOption("username", username, "a name without ':'")
    for option in _PATHS:
        path = params[option]
        if path is not None and not (os.path.isabs(path) and os.path.isfile(path)):
            raise InvalidOption(option, path, "the absolute path of a file that is on the host")
    if params["client_key"] and not params["client_cert"]:
        raise InvalidOption("client_cert", None, "a value, since client_key is given")
    if params["timeout"] < 1:
        raise InvalidOption("timeout", params["timeout"], "a number of seconds, 1 or more")
    return Access(
        username=username,
        password=password,
        insecure=params["insecure"],
        proxy=_proxy(params["proxy"] or ""),
        timeout=params["timeout"],
        **{option: params[option] or "" for option in _PATHS},
    )


def _proxy(url: str) -> str:
    try:
        parts = urlsplit(url if "://" in url or not url else f"http://{url}")
        fine = not url or (parts.scheme == "http" and bool(parts.hostname) and parts.port != 0)
    except ValueError:
        fine = False
    if not fine:
        raise InvalidOption("proxy", "(hidden)", "http://[user:password@]host:port")
    return parts.geturl()
