# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies on disk, and whether an image meets one: with real keys and signatures, by openssl and by cryptography."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import (
    DigestMismatch,
    EngineError,
    InvalidImage,
    InvalidOption,
    StateCorrupt,
    Unsupported,
    Untrusted,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.manifest import OCI_MANIFEST, Descriptor
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.transfer.signatures import (
    Carried,
    collect_signatures,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.trust import keys
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.trust.check import check_image, fits
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.trust.library import Signer
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.trust.policy import (
    apply_policy,
    effective_policy,
    observe_policy,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.trust.signatures import (
    Claim,
    Signature,
    add_signature,
    make_payload,
    parse_claim,
    parse_signatures,
    signature_tag,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.public_key import parse_public_key
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.reference import parse_reference
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.trust import (
    ACCEPT,
    REJECT,
    SIGNED,
    Identity,
    Policy,
    Requirement,
    Rule,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths

DIGEST, OTHER = "sha256:" + "1" * 64, "sha256:" + "2" * 64
NAME = "reg.example.com/shop/web:1"
REPOSITORY = Identity()
WEB = parse_reference("name", NAME)


def pem_of(private: Any, passphrase: str = "") -> str:
    locked = serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    kind = serialization.PrivateFormat.PKCS8
    encoded: bytes = private.private_bytes(serialization.Encoding.PEM, kind, locked)
    return encoded.decode()


MADE = {
    "ecdsa": ec.generate_private_key(ec.SECP256R1()),
    "ecdsa-384": ec.generate_private_key(ec.SECP384R1()),
    "rsa": rsa.generate_private_key(65537, 2048),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
}
SIGNERS = {name: Signer("key", pem_of(key)) for name, key in MADE.items()}
KEY = SIGNERS["ecdsa"]
ENCODED = base64.b64encode(KEY.public_key.encode()).decode()


class Layout:
    """Signatures in memory, as a registry would have them."""

    def __init__(self, *, as_referrers: bool = False) -> None:
        self.as_referrers = as_referrers
        self.has_bundle = False
        self.manifests: dict[str, bytes] = {}
        self.blobs: dict[str, bytes] = {}

    def sign(self, signer: Signer, claim: Claim, *, at: str = "", altered: bool = False) -> None:
        payload = make_payload(claim)
        signature = Signature(payload, signer.sign(payload + b"!" if altered else payload))
        tag = signature_tag(at or claim.digest)
        subject = Descriptor(OCI_MANIFEST, claim.digest, 1) if self.as_referrers else None
        signed = add_signature(self.manifests.get(tag), signature, subject=subject)
        self.manifests[tag] = signed.manifest
        self.blobs[signed.payload.digest] = payload

    def manifest(self, version: str) -> bytes | None:
        if self.as_referrers and version.endswith(".sig"):
            return None
        found = {f"sha256:{hashlib.sha256(content).hexdigest()}": content for content in self.manifests.values()}
        return {**self.manifests, **found}.get(version)

    def referrers(self, digest: str) -> Iterable[Mapping[str, Any]]:
        content = self.manifests.get(signature_tag(digest)) if self.as_referrers else None
        if content is not None:
            found = f"sha256:{hashlib.sha256(content).hexdigest()}"
            kind = "application/vnd.dev.cosign.artifact.sig.v1+json"
            yield {"mediaType": "", "digest": found, "size": len(content), "artifactType": kind}
            yield {"mediaType": "", "digest": OTHER, "size": 1, "artifactType": "application/spdx+json"}
        if self.has_bundle:
            kind = "application/vnd.dev.sigstore.bundle.v0.3+json"
            yield {"mediaType": OCI_MANIFEST, "digest": OTHER, "size": 1, "artifactType": kind}

    def blob(self, descriptor: Descriptor) -> bytes:
        return self.blobs[descriptor.digest]


def signed_by(*signers: Signer, identity: Identity = REPOSITORY) -> Requirement:
    return Requirement(SIGNED, tuple(signer.public_key for signer in signers), identity)


def check(layout: Layout | Carried, *requirements: Requirement, digests: tuple[str, ...] = (DIGEST,)) -> None:
    policy = Policy((Requirement(REJECT),), (Rule("reg.example.com/shop", requirements),))
    check_image(policy, WEB, digests, lambda: layout)


@pytest.fixture(params=["openssl", "cryptography"])
def _checker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Both ways to check; without the program the library must do, which the test's Python has."""
    if request.param == "cryptography":
        monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.usefixtures("_checker")
@pytest.mark.parametrize("kind", MADE)
def test_signatures_of_every_kind_of_key(kind: str) -> None:
    signer, payload = SIGNERS[kind], b"a text"
    other = next(found for name, found in SIGNERS.items() if name != kind)
    signature = signer.sign(payload)
    assert keys.is_signed_by(signer.public_key, payload, signature)
    assert not keys.is_signed_by(signer.public_key, b"a texT", signature)
    assert not keys.is_signed_by(signer.public_key, payload, signature[:-1])
    assert not keys.is_signed_by(signer.public_key, payload, b"")
    assert not keys.is_signed_by(other.public_key, payload, signature)


@pytest.mark.parametrize("as_referrers", [False, True])
def test_a_signed_image_is_taken_wherever_its_signatures_are(as_referrers: bool) -> None:
    layout = Layout(as_referrers=as_referrers)
    layout.sign(SIGNERS["rsa"], Claim(DIGEST, "reg.example.com/shop/web"))
    layout.sign(KEY, Claim(DIGEST, "reg.example.com/shop/web"))
    check(layout, signed_by(KEY))
    check(layout, signed_by(SIGNERS["ed25519"], KEY))
    check(layout, signed_by(KEY), signed_by(SIGNERS["rsa"]))
    check(layout, signed_by(KEY), digests=(OTHER, DIGEST))
    with pytest.raises(Untrusted, match="none of its 2 signatures was made with a key of the policy"):
        check(layout, signed_by(KEY), signed_by(SIGNERS["ed25519"]))


@pytest.mark.parametrize("as_referrers", [False, True])
def test_signatures_that_travelled_are_believed_no_more_than_before(as_referrers: bool) -> None:
    layout = Layout(as_referrers=as_referrers)
    layout.sign(KEY, Claim(DIGEST, "reg.example.com/shop/web"))
    documents = collect_signatures(layout, [OTHER, DIGEST])
    check(Carried(documents), signed_by(KEY), digests=(OTHER, DIGEST))
    with pytest.raises(Untrusted, match="none of its 1 signatures was made with a key of the policy"):
        check(Carried(documents), signed_by(SIGNERS["rsa"]))
    with pytest.raises(Untrusted, match="it is not signed"):
        check(Carried(documents), signed_by(KEY), digests=(OTHER,))
    assert len(documents) == 2
    for name, content in documents.items():
        altered = content.replace(b"shop", b"shoq").replace(b'cosign/signature":"ME', b'cosign/signature":"MA')
        assert altered != content
        with pytest.raises(DigestMismatch if ":" in name else Untrusted):
            check(Carried({**documents, name: altered}), signed_by(KEY))
        with pytest.raises(EngineError, match=r"not signed|not sent along"):
            check(Carried({key: documents[key] for key in documents if key != name}), signed_by(KEY))


def test_what_is_not_signed_is_refused() -> None:
    with pytest.raises(Untrusted, match=r"reg\.example\.com/shop/web:1 .* it is not signed; sign it"):
        check(Layout(), signed_by(KEY))
    with pytest.raises(Untrusted, match="the policy rejects it"):
        check(Layout(), Requirement(REJECT))
    with pytest.raises(Unsupported, match="signedBy"):
        check(Layout(), Requirement("what is not supported here: signedBy"))
    check(Layout(), Requirement(ACCEPT))


def test_a_signature_for_another_image_is_none_for_this() -> None:
    layout = Layout()
    layout.sign(KEY, Claim(OTHER, "reg.example.com/shop/web"), at=DIGEST)
    with pytest.raises(Untrusted, match=f"for another image, {OTHER}"):
        check(layout, signed_by(KEY))


def test_an_altered_text_is_refused() -> None:
    layout = Layout()
    layout.sign(KEY, Claim(DIGEST, "reg.example.com/shop/web"), altered=True)
    with pytest.raises(Untrusted, match="none of its 1 signatures"):
        check(layout, signed_by(KEY))


def test_a_signature_under_another_name_is_refused() -> None:
    layout = Layout()
    layout.sign(KEY, Claim(DIGEST, "reg.example.com/evil/web"))
    with pytest.raises(Untrusted, match=r"it was signed as 'reg\.example\.com/evil/web'"):
        check(layout, signed_by(KEY))


@pytest.mark.parametrize(
    ("identity", "signed", "name", "expected"),
    [
        (Identity("repository"), "reg.example.com/shop/web", NAME, True),
        (Identity("repository"), "reg.example.com/shop/web:2", NAME, True),
        (Identity("repository"), "reg.example.com/shop/webs", NAME, False),
        (Identity("repository"), "not a name", NAME, False),
        (Identity("exact"), NAME, NAME, True),
        (Identity("exact"), "reg.example.com/shop/web", "reg.example.com/shop/web:latest", False),
        (Identity("exact"), NAME, f"reg.example.com/shop/web@{DIGEST}", False),
        (Identity("digest-or-exact"), NAME, f"reg.example.com/shop/web@{DIGEST}", True),
        (Identity("digest-or-exact"), "reg.example.com/shop/web:2", NAME, False),
        (Identity("reference", "reg.example.com/shop/web:2"), "reg.example.com/shop/web:2", NAME, True),
        (Identity("reference", "reg.example.com/shop/web:2"), NAME, NAME, False),
        (Identity("remote-repository", "vendor.example.org/web"), "vendor.example.org/web:1", NAME, True),
        (Identity("remote-repository", "vendor.example.org/web"), NAME, NAME, False),
        (Identity("remap", "vendor.example.org/x", "reg.example.com/shop"), "vendor.example.org/x/web:1", NAME, True),
        (Identity("remap", "vendor.example.org/x", "reg.example.com/shop"), NAME, NAME, False),
        (Identity("remap", "vendor.example.org/x", "reg.example.com/sho"), NAME, NAME, True),
    ],
)
def test_identities(identity: Identity, signed: str, name: str, expected: bool) -> None:
    assert fits(identity, Claim(DIGEST, signed), parse_reference("name", name)) is expected


@pytest.mark.parametrize(
    "payload",
    [b"", b"[]", b"{}", b'{"critical":{"image":{},"identity":{},"type":"x"}}', make_payload(Claim(DIGEST, NAME))[:-9]],
)
def test_a_signed_text_of_another_kind_claims_nothing(payload: bytes) -> None:
    with pytest.raises(InvalidImage):
        parse_claim(payload)


def test_malformed_manifests_of_signatures_are_refused() -> None:
    layer = {"mediaType": "application/vnd.dev.cosign.simplesigning.v1+json", "digest": DIGEST, "size": 10}
    key = "dev.cosignproject.cosign/signature"
    for layers in (None, "x", [{**layer, "annotations": {key: "%"}}], [{**layer, "size": 1 << 20}] * 2, [layer] * 101):
        found = [{**entry, "annotations": {key: ""}} for entry in layers] if layers and len(layers) == 2 else layers
        with pytest.raises(InvalidImage):
            parse_signatures(json.dumps({"layers": found}).encode(), "the signatures")
    assert parse_signatures(json.dumps({"layers": [layer]}).encode(), "the signatures") == []


def test_a_policy_survives_the_disk(tmp_path: Path) -> None:
    paths = Paths(str(tmp_path / "lib"), str(tmp_path / "run"))
    assert observe_policy(paths) is None
    policy = Policy(
        (Requirement(REJECT),),
        (
            Rule("*.example.com", (Requirement(ACCEPT),)),
            Rule("a.example.com", (signed_by(KEY, SIGNERS["rsa"]), signed_by(SIGNERS["ed25519"]))),
            Rule("b.example.com", (signed_by(KEY, identity=Identity("remap", "x.org/y", "b.example.com")),)),
        ),
    )
    apply_policy(paths, policy)
    assert observe_policy(paths) == effective_policy(paths) == policy
    apply_policy(paths, None)
    assert observe_policy(paths) is None


def test_policies_of_other_tools_are_understood(tmp_path: Path) -> None:
    paths = Paths(str(tmp_path), str(tmp_path / "run"))
    (tmp_path / "key.pub").write_text(KEY.public_key)
    encoded = base64.b64encode(SIGNERS["rsa"].public_key.encode()).decode()
    gpg = {"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/x"}
    scopes = {
        "": [{"type": "insecureAcceptAnything"}],
        "a.example.com": [{"type": "sigstoreSigned", "keyPath": str(tmp_path / "key.pub")}],
        "b.example.com": [{"type": "sigstoreSigned", "keyDatas": [encoded], "signedIdentity": {"type": "matchExact"}}],
        "c.example.com": [gpg],
    }
    document = {"default": [{"type": "reject"}], "transports": {"docker": scopes, "dir": {"": [gpg]}}}
    (tmp_path / "policy.json").write_text(json.dumps(document))
    policy = effective_policy(paths)
    assert policy.default == (Requirement(ACCEPT),)
    assert [rule.requirements[0].identity.kind for rule in policy.rules[:2]] == ["digest-or-exact", "exact"]
    assert policy.rules[0].requirements[0].keys == (KEY.public_key,)
    with pytest.raises(Unsupported, match="signedBy"):
        check_image(policy, parse_reference("name", "c.example.com/x"), (DIGEST,), Layout)


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        {"default": []},
        {"default": [{"type": "sigstoreSigned"}]},
        {"default": [{"type": "sigstoreSigned", "keyPath": "/not/there"}]},
        {"default": [{"type": "sigstoreSigned", "keyData": "eA=="}]},
        {"default": [{"type": "reject"}], "transports": {"docker": {"x": "y"}}},
        {"default": [{"type": "insecureAcceptAnything"}], "transports": {"docker": [{"x": [{"type": "reject"}]}]}},
        {"default": [{"type": "insecureAcceptAnything"}], "transport": {"docker": {"x": [{"type": "reject"}]}}},
        {"default": [{"type": "insecureAcceptAnything"}], "transports": None},
        {"default": [{"type": "sigstoreSigned", "keyData": ENCODED, "keyDatas": [ENCODED]}]},
        {"default": ["reject"]},
    ],
)
def test_a_policy_that_is_not_understood_is_never_taken_for_none(document: object, tmp_path: Path) -> None:
    (tmp_path / "policy.json").write_text(json.dumps(document))
    with pytest.raises(StateCorrupt, match="policy"):
        effective_policy(Paths(str(tmp_path), str(tmp_path / "run")))


MORE: list[dict[str, Any]] = [
    {"fulcio": {}},
    {"pki": {"caRootsPath": "/x"}},
    {"rekorPublicKeyPath": "/x"},
    {"rekorPublicKeyPaths": ["/x"]},
    {"rekorPublicKeyData": "eA=="},
    {"rekorPublicKeyDatas": ["eA=="]},
    {"something_new": True},
    {"signedIdentity": {"type": "matchExact", "something_new": True}},
    {"signedIdentity": {"type": "something new"}},
]


@pytest.mark.parametrize("more", MORE, ids=["-".join([*one, *one.get("signedIdentity", ())]) for one in MORE])
def test_what_else_a_requirement_asks_for_is_never_taken_as_met(more: dict[str, Any], tmp_path: Path) -> None:
    """Rekor's log, Fulcio's certificates and what is yet to come; images of other names go on."""
    paths = Paths(str(tmp_path), str(tmp_path / "run"))
    asked = {"type": "sigstoreSigned", "keyData": ENCODED, "signedIdentity": {"type": "matchRepository"}, **more}
    scopes = {"a.example.com": [asked], "b.example.com": [{"type": "insecureAcceptAnything", "something_new": 1}]}
    document = {"default": [{"type": "insecureAcceptAnything"}], "transports": {"docker": scopes}}
    (tmp_path / "policy.json").write_text(json.dumps(document))
    layout = Layout()
    layout.sign(KEY, Claim(DIGEST, "a.example.com/x:latest"))
    for name in ("a.example.com/x", "b.example.com/x"):
        with pytest.raises(Unsupported, match="policy asks for what is not supported here"):
            check_image(effective_policy(paths), parse_reference("name", name), (DIGEST,), lambda: layout)
    check_image(effective_policy(paths), parse_reference("name", "c.example.com/x"), (DIGEST,), lambda: layout)


def test_a_policy_that_says_a_thing_twice_is_not_understood(tmp_path: Path) -> None:
    """One reader takes the first, another the last."""
    accept, reject = (json.dumps([{"type": kind}]) for kind in ("insecureAcceptAnything", "reject"))
    for text in (
        f'{{"default":{reject},"default":{accept}}}',
        f'{{"default":{accept},"transports":{{"docker":{{"x.org":{reject},"x.org":{accept}}}}}}}',
        f'{{"default":{accept},"transports":{{"docker":{{"x.org":{reject}}},"docker":{{}}}}}}',
    ):
        (tmp_path / "policy.json").write_text(text)
        with pytest.raises(StateCorrupt, match="twice"):
            effective_policy(Paths(str(tmp_path), str(tmp_path / "run")))


def test_a_wildcard_holds_for_every_port() -> None:
    """As containers-policy.json(5) has it: a port is not part of a wildcard."""
    rules = (Rule("*.com", (Requirement(ACCEPT),)), Rule("*.example.com", (Requirement(REJECT),)))
    policy = Policy((Requirement(ACCEPT),), rules)
    for name in ("reg.example.com/x:1", "reg.example.com:5000/x:1", "a.reg.example.com:5000/x"):
        assert policy.requirements_for(parse_reference("name", name)) == (Requirement(REJECT),)
    for name in ("example.com:5000/x", "example.com.net:5000/x", "notexample.com/x"):
        assert policy.requirements_for(parse_reference("name", name)) == (Requirement(ACCEPT),)


def test_a_signature_in_the_format_of_cosign_3_is_told_of() -> None:
    """It is there, and not read: "not signed" would send people to the wrong place."""
    layout = Layout()
    layout.has_bundle = True
    with pytest.raises(Untrusted, match=r"not read here.*cosign sign .*--new-bundle-format=false"):
        check(layout, signed_by(KEY))
    layout.sign(KEY, Claim(DIGEST, NAME))
    check(layout, signed_by(KEY))


def test_keys_have_one_spelling_and_private_ones_are_not_shown() -> None:
    key = KEY.public_key
    assert parse_public_key("key", "\n" + key.replace("\n", "\r\n") + "\n") == key
    private = pem_of(MADE["ecdsa"])
    for text in (private, "ssh-ed25519 AAAA", key[:60], key.replace("M", "-", 1), key.replace("BEGIN", "BEGUN")):
        with pytest.raises(InvalidOption) as caught:
            parse_public_key("keys[0]", text)
        assert private.splitlines()[1] not in str(caught.value)


def test_private_keys_open_with_their_passphrase_alone() -> None:
    locked = pem_of(MADE["ecdsa"], "open sesame")
    assert Signer("private_key", locked, "open sesame").public_key == KEY.public_key
    for pem, passphrase in ((locked, ""), (locked, "wrong"), ("nonsense", "")):
        with pytest.raises(InvalidOption, match="private_key") as caught:
            Signer("private_key", pem, passphrase)
        assert locked.splitlines()[1] not in str(caught.value)
