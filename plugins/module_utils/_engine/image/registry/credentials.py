# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What docker and podman keep of logins on this host (containers-auth.json(5)). Passwords stay out of every error."""

from __future__ import annotations

import base64
import os

from ...errors import RegistryError, StateCorrupt
from ...linux.files import read_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_DOCKER_HUB = "https://index.docker.io/v1/"


def find_credentials(registry: str, repository: str) -> tuple[str, str] | None:
    """User and password for a repository: the longest of its prefixes that some file has a login for."""
    prefix = f"{registry}/{repository}"
    keys = [prefix]
    while "/" in prefix:
        prefix = prefix.rpartition("/")[0]
        keys.append(prefix)
    keys += [f"https://{registry}", _DOCKER_HUB] if registry == "docker.io" else [f"https://{registry}"]
    for path in _files():
        content = _read(path)
        auths: Any = content.get("auths") if isinstance(content, dict) else None
        for key in keys if isinstance(auths, dict) else ():
            login = _decode(path, key, auths.get(key))
            if login is not None:
                return login
    return None


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


def _decode(path: str, key: str, entry: Any) -> tuple[str, str] | None:
    if not isinstance(entry, dict) or not entry.get("auth"):
        return None
    try:
        user, colon, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
    except (ValueError, TypeError):
        colon = ""
    if not colon:
        # The cause is kept out: it may quote the secret.
        raise RegistryError(f"{path}: the login for {key} is not base64 of user:password; log in again") from None
    return user, password.rstrip("\0")
