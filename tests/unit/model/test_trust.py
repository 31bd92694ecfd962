# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which rule of a policy holds for an image, and which scopes can be named."""

from __future__ import annotations

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import InvalidReference
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.reference import parse_reference
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.trust import (
    REJECT,
    Policy,
    Requirement,
    Rule,
    parse_scope,
    scopes_of,
)

DIGEST = "sha256:" + "1" * 64


def rule(scope: str) -> Rule:
    """A rule that can be told by its identity's name."""
    return Rule(scope, (Requirement(scope),))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("reg.example.com/shop/web:1", "reg.example.com/shop/web:1"),
        ("reg.example.com/shop/web:2", "reg.example.com/shop/web"),
        (f"reg.example.com/shop/web@{DIGEST}", f"reg.example.com/shop/web@{DIGEST}"),
        (f"reg.example.com/shop/web:2@{DIGEST}", f"reg.example.com/shop/web@{DIGEST}"),
        ("reg.example.com/shop/webhook:1", "reg.example.com/shop"),
        ("reg.example.com/shopping/web", "reg.example.com"),
        ("other.example.com/web", "*.example.com"),
        ("a.b.example.com/web", "*.example.com"),
        ("example.com/web", "nothing"),
        ("nginx", "docker.io/library"),
    ],
)
def test_the_longest_scope_that_fits_counts(name: str, expected: str) -> None:
    scopes = ["reg.example.com", "reg.example.com/shop", "reg.example.com/shop/web", "reg.example.com/shop/web:1"]
    scopes += [f"reg.example.com/shop/web@{DIGEST}", "*.example.com", "docker.io/library"]
    policy = Policy((Requirement("nothing"),), tuple(map(rule, scopes)))
    assert policy.requirements_for(parse_reference("name", name)) == (Requirement(expected),)


def test_without_a_rule_the_default_holds() -> None:
    policy = Policy((Requirement(REJECT),))
    assert policy.requirements_for(parse_reference("name", "nginx")) == (Requirement(REJECT),)


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        ("registry.example.com", "registry.example.com"),
        ("localhost:5000", "localhost:5000"),
        ("*.example.com", "*.example.com"),
        ("docker.io/library", "docker.io/library"),
        ("registry.example.com/shop", "registry.example.com/shop"),
        ("registry.example.com/shop/web:1", "registry.example.com/shop/web:1"),
        (f"registry.example.com/web@{DIGEST}", f"registry.example.com/web@{DIGEST}"),
        ("nginx", "docker.io/library/nginx"),
        ("myhub:5000", "myhub:5000"),
        ("library/nginx:1", "docker.io/library/nginx:1"),
        ("shop/web", "docker.io/shop/web"),
    ],
)
def test_a_scope_is_completed_as_the_name_is(text: str, scope: str) -> None:
    assert parse_scope("scope", text) == scope


@pytest.mark.parametrize("text", ["", "*", "*.example.com/shop", "reg.example.com/Shop", "a b", "*.*.org"])
def test_what_is_no_scope_is_refused(text: str) -> None:
    with pytest.raises(InvalidReference, match="scope"):
        parse_scope("scope", text)


def test_every_image_has_scopes_up_to_its_registry() -> None:
    found = scopes_of(parse_reference("name", "r.example.com:5000/a/b:1"))
    assert found[:4] == [
        "r.example.com:5000/a/b:1",
        "r.example.com:5000/a/b",
        "r.example.com:5000/a",
        "r.example.com:5000",
    ]
