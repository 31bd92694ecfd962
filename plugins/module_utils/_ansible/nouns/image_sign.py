# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The noun ``signature``: that a key has signed an image in its registry; and the verification of signatures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

from ..._engine.errors import EngineError
from ..._engine.host import Host
from ..._engine.model.reference import normalise, parse_reference
from ..._engine.model.trust import Signing
from ..._engine.plan.change import Change
from ..._engine.plan.signature import plan_signature
from ..._engine.signing import ImageSigner, verify_image
from ..run import Noun, Wanted, fail, run
from .image_policy import KEY_OPTIONS, parse_signed
from .registry import REGISTRY_OPTIONS, parse_access
from .values import parse_pairs

SIGN_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "private_key": {"type": "str", "required": True, "no_log": True},
    "passphrase": {"type": "str", "no_log": True},
    "identity": {"type": "str"},
    "annotations": {"type": "dict"},
    "store": {"type": "str", "choices": ["tag", "referrer"], "default": "tag"},
    **REGISTRY_OPTIONS,
}
VERIFY_SPEC: dict[str, Any] = {"name": {"type": "str", "required": True}, **KEY_OPTIONS, **REGISTRY_OPTIONS}


def signature_wanted(params: Mapping[str, Any]) -> Wanted:
    """The module's parameters as {normalised name: Signing, whose digest and key are not known yet}."""
    name = normalise("name", params["name"])
    identity = params["identity"] or ""
    if identity:
        parse_reference("identity", identity)
    parse_access(params)
    parse_pairs("annotations", params["annotations"])
    return {name: Signing(name, "", "", identity)}


class SignatureNoun(Noun):
    name = "signature"
    uses_engine = False
    on_host = False

    def __init__(self, params: Mapping[str, Any]) -> None:
        self.params = params
        self.signers: dict[str, ImageSigner] = {}

    def resolve(self, host: Host, wanted: Wanted) -> Wanted:
        params = self.params
        for name, signing in wanted.items():
            self.signers[name] = ImageSigner(
                name,
                parse_access(params),
                params["private_key"],
                params["passphrase"] or "",
                identity=signing.identity,
                referrer=params["store"] == "referrer",
            )
        return {name: signer.wanted for name, signer in self.signers.items()}

    def observe(self, host: Host) -> Mapping[str, Signing]:
        found = {name: signer.observe() for name, signer in self.signers.items()}
        return {name: signing for name, signing in found.items() if signing is not None}

    def plan(self, desired: Wanted, current: Mapping[str, Any]) -> Iterable[Change]:
        for name, signing in desired.items():
            yield from plan_signature(signing, current.get(name))

    def apply(self, host: Host, changes: Iterable[Change]) -> None:
        annotations = dict(parse_pairs("annotations", self.params["annotations"]))
        for _change in changes:
            for signer in self.signers.values():
                signer.sign(annotations)


# The modules --------------------------------------------------------------------------------------


def run_image_sign() -> NoReturn:
    module = AnsibleModule(SIGN_SPEC, supports_check_mode=True)
    run(module, SignatureNoun(module.params), signature_wanted)


def run_image_verify() -> NoReturn:
    """Exit with the digest of an image whose signatures were verified, or fail."""
    module = AnsibleModule(VERIFY_SPEC, supports_check_mode=True)
    try:
        name = normalise("name", module.params["name"])
        digest = verify_image(name, parse_access(module.params), parse_signed("", module.params))
    except EngineError as error:
        fail(module, error)
    reference = parse_reference("name", name)
    pinned = f"{reference.registry}/{reference.repository}@{digest}"
    module.exit_json(changed=False, name=name, digest=digest, reference=pinned)
