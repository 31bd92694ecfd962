# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies of images as a task says them: what they come to, and how what cannot be is refused."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import InvalidOption
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.trust import (
    ACCEPT,
    SIGNED,
    Identity,
    Policy,
    Requirement,
    Rule,
)
from tests.unit.nouns.module_parameters import validate, wanted

# Of ECDSA on P-256; its private part was thrown away.
KEY = """-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEFmqwMKTw2nxEw8RTzPVt0zJcXjRy
5pZ0eC5kJ2XQ8nOe0DqZ5KqFm6Y2O1e5uVn6rXo3mS8mC1v2k0b1yq9s3g==
-----END PUBLIC KEY-----
"""
SHOP = {"scope": "registry.example.com/shop", "require": "signed", "keys": [KEY.strip()]}


def test_rules_are_sorted_and_those_of_one_scope_are_joined() -> None:
    rules = [SHOP, {"scope": "nginx", "require": "accept"}, {**SHOP, "identity": {"match": "exact"}}]
    signed = Requirement(SIGNED, (KEY,))
    assert wanted("image_policy", default="reject", rules=rules) == Policy(
        (Requirement("reject"),),
        (
            Rule("docker.io/library/nginx", (Requirement(ACCEPT),)),
            Rule("registry.example.com/shop", (signed, Requirement(SIGNED, (KEY,), Identity("exact")))),
        ),
    )


@pytest.mark.parametrize(
    ("rule", "option", "expected"),
    [
        ({"scope": "a b"}, "rules[0]: scope", "[registry/]repository"),
        ({"keys": None}, "rules[0]: keys", "at least one public key in PEM"),
        ({"keys": ["ssh-rsa AAAA"]}, "rules[0]: keys[0]", "a public key in PEM"),
        ({"require": "accept"}, "rules[0]: keys", "nothing, unless require is signed"),
        ({"require": "reject", "keys": None, "identity": {}}, "rules[0]: identity", "nothing, unless"),
    ],
)
def test_what_cannot_be_is_refused(rule: dict[str, Any], option: str, expected: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        wanted("image_policy", rules=[{**SHOP, **rule}])
    assert caught.value.option == option
    assert expected in str(caught.value)


def test_an_identity_that_needs_a_name_wants_it() -> None:
    _parameters, complaints = validate("image_policy", {"rules": [{**SHOP, "identity": {"match": "remap"}}]})
    assert complaints == [
        "match is remap but all of the following are missing: name, prefix found in rules -> identity"
    ]
