# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The noun ``policy``: which images a host may pull."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

from ..._engine.errors import InvalidOption
from ..._engine.host import Host
from ..._engine.model.public_key import parse_public_key
from ..._engine.model.trust import IDENTITIES, SIGNED, Identity, Policy, Requirement, Rule, parse_scope
from ..._engine.plan.change import Change
from ..._engine.plan.policy import plan_policy
from ..run import INFO_SPEC, Noun, Wanted, run, run_info

KEY_OPTIONS: dict[str, Any] = {
    "keys": {"type": "list", "elements": "str", "no_log": False},
    "identity": {
        "type": "dict",
        "options": {
            "match": {"type": "str", "choices": list(IDENTITIES), "default": "repository"},
            "name": {"type": "str"},
            "prefix": {"type": "str"},
        },
        "required_if": [
            ("match", "reference", ["name"]),
            ("match", "remote-repository", ["name"]),
            ("match", "remap", ["name", "prefix"]),
        ],
    },
}
ARGUMENT_SPEC: dict[str, Any] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "default": {"type": "str", "choices": ["accept", "reject"], "default": "accept"},
    "rules": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "scope": {"type": "str", "required": True},
            "require": {"type": "str", "choices": ["accept", "reject", "signed"], "required": True},
            **KEY_OPTIONS,
        },
    },
}


def policy_wanted(params: Mapping[str, Any]) -> Wanted:
    """The module's parameters as {"images": Policy, or None where there is to be none of ours}."""
    if params["state"] == "absent":
        return {"images": None}
    rules: dict[str, list[Requirement]] = {}
    for number, rule in enumerate(params["rules"]):
        scope = parse_scope(f"rules[{number}]: scope", rule["scope"])
        rules.setdefault(scope, []).append(_requirement(f"rules[{number}]", rule))
    ordered = tuple(Rule(scope, tuple(requirements)) for scope, requirements in sorted(rules.items()))
    return {"images": Policy((Requirement(params["default"]),), ordered)}


def _requirement(option: str, rule: Mapping[str, Any]) -> Requirement:
    if rule["require"] == SIGNED:
        return parse_signed(f"{option}: ", rule)
    for name in KEY_OPTIONS:
        if rule[name] is not None:
            raise InvalidOption(f"{option}: {name}", rule[name], f"nothing, unless require is {SIGNED}")
    return Requirement(rule["require"])


def parse_signed(place: str, params: Mapping[str, Any]) -> Requirement:
    """The KEY_OPTIONS among parameters; ``place`` stands before their names in errors. Raises InvalidOption."""
    keys, identity = params["keys"] or [], params["identity"]
    if not keys:
        raise InvalidOption(f"{place}keys", keys, "at least one public key in PEM, of which one must have signed")
    parsed = tuple(parse_public_key(f"{place}keys[{number}]", key) for number, key in enumerate(keys))
    if identity is None:
        return Requirement(SIGNED, parsed)
    return Requirement(SIGNED, parsed, Identity(identity["match"], identity["name"] or "", identity["prefix"] or ""))


class PolicyNoun(Noun):
    name = "policy"
    plural = "policies"

    def observe(self, host: Host) -> Mapping[str, Policy]:
        found = host.observe_policy()
        return {} if found is None else {"images": found}

    def plan(self, desired: Wanted, current: Mapping[str, Any]) -> Iterable[Change]:
        yield from plan_policy(desired["images"], current.get("images"))


# The modules --------------------------------------------------------------------------------------


def run_image_policy() -> NoReturn:
    run(AnsibleModule(ARGUMENT_SPEC, supports_check_mode=True), PolicyNoun(), policy_wanted)


def run_image_policy_info() -> NoReturn:
    run_info(AnsibleModule(INFO_SPEC, supports_check_mode=True), PolicyNoun())
