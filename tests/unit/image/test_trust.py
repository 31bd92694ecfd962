# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an image meets a policy: with real keys and signatures, by openssl and by cryptography."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import (
    DigestMismatch,
    EngineError,
    InvalidImage,
    InvalidOption,
    Unsupported,
    Untrusted,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.transfer.signatures import (
    Carried,
    collect_signatures,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.trust import keys
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.trust.check import check_image, fits
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.trust.library import Signer
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.trust.signatures import (
    Claim,
    make_payload,
    parse_claim,
    parse_signatures,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.public_key import parse_public_key
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.reference import parse_reference
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.trust import (
    ACCEPT,
    REJECT,
    Identity,
    Policy,
    Requirement,
    Rule,
)
from tests.unit.image.signatures import DIGEST, KEY, MADE, OTHER, SIGNERS, Layout, pem_of, signed_by

NAME = "reg.example.com/shop/web:1"
WEB = parse_reference("name", NAME)


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
