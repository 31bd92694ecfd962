# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies on disk, ours and those of other tools: none is taken for less than it says."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import StateCorrupt, Unsupported
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.trust.check import check_image
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.trust.policy import (
    apply_policy,
    effective_policy,
    observe_policy,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.trust.signatures import Claim
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.reference import parse_reference
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.trust import (
    ACCEPT,
    REJECT,
    Identity,
    Policy,
    Requirement,
    Rule,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths
from tests.unit.image.signatures import DIGEST, ENCODED, KEY, SIGNERS, Layout, signed_by


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
