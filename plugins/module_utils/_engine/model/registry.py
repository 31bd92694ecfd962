# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a registry is spoken to: what a task says of it; what it leaves open comes from files of the host."""

from __future__ import annotations

from dataclasses import dataclass, field

DEFAULT_TIMEOUT = 30


@dataclass(frozen=True)
class Access:
    """The access to the registry that an image's name names; mirrors and places of redirects get none of its secrets.

    ``insecure``: any certificate will do, and plain HTTP where there is no TLS. ``auth_file`` is in the format of
    containers-auth.json(5). ``proxy`` may hold a password, as ``http://user:password@host:port``. ``timeout`` is in
    seconds without a byte, or with fewer than 1,024 in each (image/registry/pace.py). Paths are absolute; the empty
    string means what the host has.
    """

    username: str = ""
    password: str = field(default="", repr=False)
    auth_file: str = ""
    insecure: bool = False
    ca_cert: str = ""
    client_cert: str = ""
    client_key: str = ""
    proxy: str = field(default="", repr=False)
    timeout: int = DEFAULT_TIMEOUT


@dataclass(frozen=True)
class RemoteImage:
    """A name of a registry, and what it is to mean there.

    ``digest`` names a manifest, or an index where ``images`` (names of images of this host) are more than one; in a
    desired state it is empty as long as not all of them are there. ``chunk_size`` is in bytes, 0 for none.
    """

    name: str
    digest: str = ""
    images: tuple[str, ...] = ()
    chunk_size: int = 0
    access: Access = Access()
