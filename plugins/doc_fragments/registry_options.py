# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of everything that speaks with a registry."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  username:
    description:
      - The user to log in as. Without it, logins are taken from the host's files, once the registry asks for one.
    type: str
  password:
    description:
      - The password of O(username). It is sent to the registry that the image's name names and where that has its
        logins, never to a mirror or to where a redirect leads.
    type: str
  auth_file:
    description:
      - A file with logins on the host, as C(podman login) and C(docker login) write it, credential helpers included.
      - Without it, the host's own are read, first E(REGISTRY_AUTH_FILE), then podman's C(auth.json), then docker's
        C(config.json).
    type: path
  insecure:
    description:
      - Whether the registry may have any certificate, or be spoken to over plain HTTP where it has no TLS.
      - This is of the registry alone. Where it leads on to another host, for tokens or downloads, that one must be
        known by an authority of the host or of O(ca_cert).
    type: bool
    default: false
  ca_cert:
    description:
      - A file on the host with the certificates of authorities (PEM) to trust for this registry, beside the host's own.
      - Files C(*.crt) under C(/etc/containers/certs.d/<registry>/) and C(/etc/docker/certs.d/<registry>/) are trusted
        without being named.
    type: path
  client_cert:
    description:
      - A file on the host with the certificate (PEM) by which this host is known to the registry. Without it, C(*.cert)
        and C(*.key) of those directories are used.
    type: path
  client_key:
    description:
      - The key of O(client_cert) (PEM, without a password), where it is not in the same file.
    type: path
  proxy:
    description:
      - The HTTP proxy to use, as V(http://user:password@proxy.example.com:3128). Without it, E(HTTPS_PROXY),
        E(HTTP_PROXY) and E(NO_PROXY) are heeded as other programs do.
    type: str
  timeout:
    description:
      - How many seconds to wait for a registry that sends nothing, or takes nothing. One that sends or takes less than
        1 KB a second for as long counts as one that stands still, as does one whose headers take longer.
      - What breaks off that way is tried again some times. The C(timeout) of a task bounds all of it.
    type: int
    default: 30
"""
