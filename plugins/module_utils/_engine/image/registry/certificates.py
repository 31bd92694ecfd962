# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom to trust as a registry, and by which certificate to be known to it.

Beside a task's options there are directories that docker and podman read (containers-certs.d(5)):
``<directory>/<host:port>/`` with ``*.crt`` for authorities, ``*.cert`` and ``*.key`` for this host. Keys and what is in
them stay out of every error.
"""

from __future__ import annotations

import os
import ssl

from ...errors import RegistryError
from ...linux.files import list_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NoReturn

    from ...model.registry import Access


class Trust:
    """TLS contexts for ``registry`` (``host[:port]``, as images name it), and for where it redirects to."""

    def __init__(self, registry: str, access: Access) -> None:
        self._registry = registry
        self._access = access
        self._contexts: dict[str, ssl.SSLContext] = {}

    def context(self, host: str) -> ssl.SSLContext:
        """For a connection to ``host[:port]``. Only the registry itself gets to see the client certificate of a task,
        and only its own certificate may be anyone's where a task says ``insecure``.

        Raises RegistryError, naming the file that cannot be used.
        """
        if host not in self._contexts:
            self._contexts[host] = self._make(host)
        return self._contexts[host]

    def _make(self, host: str) -> ssl.SSLContext:
        access = self._access
        if access.insecure and host == self._registry:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        else:
            context = ssl.create_default_context()
            for path in self._authorities(host):
                try:
                    context.load_verify_locations(cafile=path)
                except (OSError, ssl.SSLError) as error:
                    raise RegistryError(f"{path}: no certificates of authorities in it ({_words(error)})") from None
        for certificate, key in self._own(host):
            try:
                context.load_cert_chain(certificate, key or None, password=_no_password)
            except (OSError, ssl.SSLError, ValueError) as error:
                where = f"{certificate} with {key}" if key else certificate
                raise RegistryError(f"{where}: not a certificate and its key ({_words(error)})") from None
        return context

    def _authorities(self, host: str) -> list[str]:
        """What a task names is in place of the registry's own directory; others have their directory as well."""
        given = [self._access.ca_cert] if self._access.ca_cert else []
        return given if given and host == self._registry else [*given, *_files(host, ".crt")]

    def _own(self, host: str) -> Iterator[tuple[str, str]]:
        if self._access.client_cert and host == self._registry:
            yield self._access.client_cert, self._access.client_key
            return
        for certificate in _files(host, ".cert"):
            key = certificate[: -len(".cert")] + ".key"
            if not os.path.exists(key):
                raise RegistryError(f"{certificate}: its key, {key}, is not there")
            yield certificate, key


def _files(host: str, ending: str) -> list[str]:
    """The files of the first directory there is for ``host``: one of the user's own stands before the system's."""
    home = os.environ.get("HOME") or "/root"
    for base in (os.path.join(home, ".config/containers"), "/etc/containers", "/etc/docker"):
        directory = os.path.join(base, "certs.d", host)
        if names := list_directory(directory):
            return [os.path.join(directory, name) for name in names if name.endswith(ending)]
    return []


def _no_password() -> NoReturn:
    """OpenSSL would ask for it on the terminal."""
    raise ValueError("the key has a password; use one without")


def _words(error: Exception) -> str:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None)
    return str(reason or error or type(error).__name__).replace("_", " ").lower()
