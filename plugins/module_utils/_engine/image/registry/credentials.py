# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What docker and podman keep of logins on this host (containers-auth.json(5); docker's config.json has the same form).

A login stands in the file, or a credential helper keeps it, the program ``docker-credential-<name>``, which is asked on
its standard input (docker/docker-credential-helpers). Passwords stay out of every error.
"""

from __future__ import annotations

import base64
import json
import os
from typing import NamedTuple

from ...errors import ProgramFailed, RegistryError, StateCorrupt, Unsupported
from ...linux.files import read_json
from ...linux.process import run_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_DOCKER_HUB = "https://index.docker.io/v1/"
# What a helper says on its standard output, with status 1, of what it does not have.
_NOT_FOUND = b"credentials not found"
# The name that stands for one whose "password" is a token out of which others are made (OAuth 2.0, RFC 6749).
_TOKEN_USER = "<token>"


class Credentials(NamedTuple):
    """A user and password, or an identity token. Has no repr(): it would tell them."""

    username: str
    password: str
    identity_token: str = ""

    def __repr__(self) -> str:
        return "Credentials(...)"


def find_credentials(registry: str, repository: str, auth_file: str = "") -> Credentials | None:
    """The login for a repository, out of ``auth_file`` alone where that is given: of the first file that has one.

    In each file the longest of the repository's prefixes counts, and a helper stands before what the file itself has.
    Raises RegistryError where a file or a helper cannot be used.
    """
    prefix = f"{registry}/{repository}"
    keys = [prefix]
    while "/" in prefix:
        prefix = prefix.rpartition("/")[0]
        keys.append(prefix)
    for path in [auth_file] if auth_file else _files():
        content = _read(path)
        if content is None and auth_file:
            raise RegistryError(f"{auth_file}: there is no such file of logins")
        if not isinstance(content, dict):
            continue
        login = _ask_helpers(path, content, registry) or _look_up(path, content.get("auths"), registry, keys)
        if login is not None:
            return login
    return None


def _look_up(path: str, auths: Any, registry: str, keys: list[str]) -> Credentials | None:
    if not isinstance(auths, dict):
        return None
    # Old files of docker have URLs.
    old = [f"https://{registry}", f"https://{registry}/v1/", f"https://{registry}/v2/"]
    for key in [*keys, *old, *([_DOCKER_HUB] if registry == "docker.io" else [])]:
        login = _decode(path, key, auths.get(key))
        if login is not None:
            return login
    return None


def _ask_helpers(path: str, content: dict[str, Any], registry: str) -> Credentials | None:
    helpers = content.get("credHelpers")
    name = (helpers.get(registry) if isinstance(helpers, dict) else None) or content.get("credsStore")
    if not name:
        return None
    if not isinstance(name, str) or "/" in name:
        raise RegistryError(f"{path}: {name!r} is no name of a credential helper")
    program = f"docker-credential-{name}"
    server = _DOCKER_HUB if registry == "docker.io" else registry
    try:
        answer = json.loads(run_program([program, "get"], stdin=server.encode(), timeout=30.0))
        login = Credentials(answer["Username"], answer["Secret"])
    except Unsupported:
        raise RegistryError(
            f"the program {program!r}, which {path} names for the login at {registry}, is not on this host; "
            "install it, or take it out of that file"
        ) from None
    except ProgramFailed as error:
        if _NOT_FOUND in error.output:
            return None
        raise RegistryError(f"{path}: no login for {registry}: {error}") from None
    except (ValueError, KeyError, TypeError):  # the cause is kept out: it may quote the secret
        raise RegistryError(f"{path}: {program} gave no user and secret for {registry}") from None
    if login.username == _TOKEN_USER:
        return Credentials("", "", login.password)
    return login


def _files() -> Iterator[str]:
    environment = os.environ
    if environment.get("REGISTRY_AUTH_FILE"):
        yield environment["REGISTRY_AUTH_FILE"]
    home = environment.get("HOME") or "/root"
    yield os.path.join(environment.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}", "containers", "auth.json")
    yield os.path.join(f"/run/containers/{os.getuid()}", "auth.json")
    yield os.path.join(environment.get("XDG_CONFIG_HOME") or os.path.join(home, ".config"), "containers", "auth.json")
    yield os.path.join(environment.get("DOCKER_CONFIG") or os.path.join(home, ".docker"), "config.json")


def _read(path: str) -> Any:
    try:
        return read_json(path)
    except NotADirectoryError:  # DOCKER_CONFIG=/dev/null, a way to say none
        return None
    except (OSError, StateCorrupt) as error:
        raise RegistryError(
            f"{path}: the logins in it cannot be read ({type(error.__cause__ or error).__name__})"
        ) from error


def _decode(path: str, key: str, entry: Any) -> Credentials | None:
    if not isinstance(entry, dict):
        return None
    if isinstance(entry.get("identitytoken"), str) and entry["identitytoken"]:
        return Credentials("", "", entry["identitytoken"])
    if not entry.get("auth"):
        return None
    try:
        user, colon, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
    except (ValueError, TypeError):
        colon = ""
    if not colon:
        # The cause is kept out: it may quote the secret.
        raise RegistryError(f"{path}: the login for {key} is not base64 of user:password; log in again") from None
    return Credentials(user, password.rstrip("\0"))
