# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an image meets the host's policy; asked before anything of it is stored."""

from __future__ import annotations

from ...errors import InvalidImage, InvalidReference, Untrusted
from ...model.reference import Reference, normalise
from ...model.trust import ACCEPT, REJECT, Identity, Policy, Requirement
from .keys import is_signed_by
from .policy import refuse_unsupported
from .signatures import Claim, Signature, find_signatures, has_bundle, parse_claim, repository_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .signatures import Source


def refuse_rejected(policy: Policy, reference: Reference) -> None:
    """Raise Untrusted where no signature could help: before anything is asked of a registry."""
    if any(requirement.kind == REJECT for requirement in policy.requirements_for(reference)):
        raise Untrusted(reference.name, "the policy rejects it; see the rules of module image_policy")


def check_image(
    policy: Policy,
    reference: Reference,
    digests: Sequence[str],
    open_source: Callable[[], Source],
    *,
    verified: str = "",
) -> None:
    """Raise Untrusted unless the image meets every requirement that ``policy`` has for its name.

    ``digests`` are what may be signed: the manifest's, and the index's that it was chosen from. ``open_source`` is
    called only where signatures are asked for, and not for what the controller has ``verified``, a digest.
    Also raises RegistryError, InvalidImage, Unsupported.
    """
    refuse_rejected(policy, reference)
    found: list[Signature] | None = None
    for requirement in policy.requirements_for(reference):
        if requirement.kind == ACCEPT or verified in digests:
            continue
        refuse_unsupported(requirement)
        if found is None:
            source = open_source()
            found = [signature for digest in digests for signature in find_signatures(source, digest)]
            if not found:
                raise Untrusted(reference.name, _why_unsigned(source, digests))
        _check_signed(requirement, reference, digests, found)


def _why_unsigned(source: Source, digests: Sequence[str]) -> str:
    if any(has_bundle(source, digest) for digest in digests):
        return (
            "it is signed as cosign 3 does by itself, in a sigstore bundle, which is not read here; sign it with "
            "cosign sign --key ... --new-bundle-format=false --use-signing-config=false, or module image_sign"
        )
    return "it is not signed; sign it (module image_sign), or change the policy"


def _check_signed(
    requirement: Requirement, reference: Reference, digests: Sequence[str], found: Sequence[Signature]
) -> None:
    why = f"none of its {len(found)} signatures was made with a key of the policy"
    for signature in found:
        if not any(is_signed_by(key, signature.payload, signature.signature) for key in requirement.keys):
            continue
        try:
            claim = parse_claim(signature.payload)
        except InvalidImage as error:
            why = str(error)
            continue
        if claim.digest not in digests:
            why = f"a signature by a key of the policy is for another image, {claim.digest}"
        elif not fits(requirement.identity, claim, reference):
            why = f"it was signed as {claim.reference!r}, which the policy does not take for this name"
        else:
            return
    raise Untrusted(reference.name, why)


def fits(identity: Identity, claim: Claim, reference: Reference) -> bool:
    """Whether a signed name is the one that ``identity`` wants for this image (containers-policy.json(5))."""
    repository = f"{reference.registry}/{reference.repository}"
    signed = repository_of(claim.reference)
    if identity.kind == "repository":
        return signed == repository
    if identity.kind == "remote-repository":
        return signed == repository_of(identity.name)
    if identity.kind == "reference":
        return _is_exact(claim, identity.name)
    if identity.kind == "remap" and (repository + "/").startswith(identity.prefix.rstrip("/") + "/"):
        repository = identity.name + repository[len(identity.prefix) :]
    if identity.kind != "exact" and reference.digest:
        return signed == repository
    if not reference.tag:  # nothing that a signature could be for exactly
        return False
    return _is_exact(claim, f"{repository}:{reference.tag}")


def _is_exact(claim: Claim, name: str) -> bool:
    """Both with their tags: what was signed without one was not signed as ``latest``."""
    try:
        tagged = ":" in claim.reference.rpartition("/")[2]
        return tagged and normalise("docker-reference", claim.reference) == normalise("reference", name)
    except InvalidReference:
        return False
