# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a signature was made with a public key.

Signatures are cosign's: over SHA-256, by ECDSA in ASN.1, RSA by PKCS #1 v1.5, or by Ed25519 over the text itself. The
check is done by the program ``openssl`` or the library ``cryptography``, whichever the host has.
"""

from __future__ import annotations

import contextlib
import os
import tempfile

from ...errors import ProgramFailed, Unsupported
from ...linux.process import find_program, run_program
from ...model.public_key import algorithm_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def is_signed_by(key: str, payload: bytes, signature: bytes) -> bool:
    """Whether ``signature`` over ``payload`` was made with the private part of ``key``. Raises Unsupported.

    A key that the library cannot use signs nothing.
    """
    if find_program("openssl"):
        return _by_openssl(key, payload, signature)
    from .library import AVAILABLE, is_signed_by_library  # only where the program is not there: it costs 60 ms

    if not AVAILABLE:
        raise Unsupported(
            "signatures are checked by the program openssl or Python's library cryptography, and this host has "
            "neither: install one of them, or let the controller verify (module image_verify)"
        )
    return is_signed_by_library(key, payload, signature)


def _by_openssl(key: str, payload: bytes, signature: bytes) -> bool:
    """openssl-dgst(1); Ed25519 hashes by itself, which openssl-pkeyutl(1) does for a file alone."""
    with _files(key.encode(), signature, payload) as (key_file, signature_file, payload_file):
        if algorithm_of(key) == "ed25519":
            words = ["pkeyutl", "-verify", "-pubin", "-inkey", key_file, "-rawin", "-in", payload_file]
            words += ["-sigfile", signature_file]
        else:
            words = ["dgst", "-sha256", "-verify", key_file, "-signature", signature_file, payload_file]
        try:
            run_program(["openssl", *words])
        except ProgramFailed:
            return False
        return True


@contextlib.contextmanager
def _files(*contents: bytes) -> Iterator[list[str]]:
    """None of it is secret. A directory of our own: names that nobody can have prepared."""
    with tempfile.TemporaryDirectory(prefix="stowage-") as directory:
        paths = [os.path.join(directory, str(number)) for number in range(len(contents))]
        for path, content in zip(paths, contents):
            with open(path, "wb") as file:
                file.write(content)
        yield paths
