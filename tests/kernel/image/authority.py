# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A certificate authority of the tests' own, and tokens that Debian's docker-registry takes (RS256, RFC 7519)."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import ssl
import time
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

_PEM = serialization.Encoding.PEM


def name_of(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def write_key(path: Path, key: Any, password: str = "") -> Path:
    cipher = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
    path.write_bytes(key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, cipher))
    return path


class Authority:
    """Issues certificates for 127.0.0.1 and localhost (``host``: that alone), good for servers and clients."""

    def __init__(self, directory: Path, name: str = "authority") -> None:
        self.directory = directory
        self._name = name_of(name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.file = directory / f"{name}.crt"
        self.file.write_bytes(self._sign(self._name, self._key.public_key(), authority=True).public_bytes(_PEM))

    def issue(self, name: str, password: str = "", host: str = "") -> tuple[Path, Path]:
        """Certificate and key, as files."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self.directory / f"{name}.cert"
        certificate.write_bytes(self._sign(name_of(name), key.public_key(), host=host).public_bytes(_PEM))
        return certificate, write_key(self.directory / f"{name}.key", key, password)

    def _sign(self, subject: x509.Name, key: Any, *, authority: bool = False, host: str = "") -> x509.Certificate:
        now = datetime.datetime.now(datetime.timezone.utc)
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        names = [x509.DNSName(host)] if host else [address, x509.DNSName("localhost")]
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self._key, hashes.SHA256())
        )


def server_context(server: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*server)
    return context


class Tokens:
    """Signs tokens that docker-registry trusts through ``file``, as its "Token Authentication Implementation" says."""

    issuer, service = "tests", "registry"

    def __init__(self, directory: Path) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        now = datetime.datetime.now(datetime.timezone.utc)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name_of("tokens"))
            .issuer_name(name_of("tokens"))
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.file = directory / "tokens.crt"
        self.file.write_bytes(certificate.public_bytes(_PEM))
        self._chain = [base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()]

    def sign(self, scopes: list[str]) -> str:
        """A token of that scope, for a minute."""
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": self.service,
            "sub": "user",
            "exp": now + 60,
            "nbf": now - 10,
            "iat": now,
            "jti": str(time.monotonic_ns()),
            "access": access,
        }
        parts = [{"typ": "JWT", "alg": "RS256", "x5c": self._chain}, claims]
        text = ".".join(_encode(json.dumps(part).encode()) for part in parts)
        return f"{text}.{_encode(self._key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
