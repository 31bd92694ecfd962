# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images in their registries, signed and verified; usually on the controller. Needs no root and keeps no state."""

from __future__ import annotations

from .image.registry.client import Registry
from .image.trust.check import check_image
from .image.trust.library import Signer
from .image.trust.remote import Repository
from .image.trust.sign import is_signed, resolve_subject, sign_image
from .model.reference import parse_reference
from .model.trust import Policy, Signing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .model.registry import Access
    from .model.trust import Requirement


class ImageSigner:
    """A private key, and an image in its registry. ``identity`` is what is signed; empty: the image's repository.

    ``referrer`` stores the signature as OCI 1.1 has it, else under cosign's tag. Raises InvalidOption, Unsupported.
    """

    def __init__(
        self, name: str, access: Access, key: str, passphrase: str, *, identity: str = "", referrer: bool = False
    ) -> None:
        self._signer = Signer("private_key", key, passphrase)
        self._registry = Registry(parse_reference("name", name), access=access)
        reference = parse_reference("name", name)
        subject = resolve_subject(self._registry, reference.version)
        self._subject = subject if referrer else None
        told = identity or f"{reference.registry}/{reference.repository}"
        self.wanted = Signing(name, subject.digest, self._signer.public_key, told)

    def observe(self) -> Signing | None:
        """The signature if it is there, wherever it is stored."""
        return self.wanted if is_signed(self._registry, self.wanted) else None

    def sign(self, annotations: Mapping[str, str]) -> None:
        sign_image(self._registry, self.wanted, self._signer, annotations=annotations, subject=self._subject)


def verify_image(name: str, access: Access, requirement: Requirement) -> str:
    """The digest that the image has in its registry, if its signatures meet ``requirement``. Raises Untrusted."""
    reference = parse_reference("name", name)
    registry = Registry(reference, access=access)
    digest = resolve_subject(registry, reference.version).digest
    check_image(Policy((requirement,)), reference, (digest,), lambda: Repository(registry))
    return digest
