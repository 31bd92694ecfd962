# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's policy on disk, in the format of containers-policy.json(5), that podman and skopeo read too.

Ours is ``policy.json`` under our root. Where there is none, /etc/containers/policy.json counts, if the host has it;
else everything is accepted. What a policy asks for and we cannot check (GPG signatures, Rekor's log, a field that is
not known here) is never taken as met.
"""

from __future__ import annotations

import base64
import binascii
import json
import os

from ...errors import InvalidOption, StateCorrupt, Unsupported
from ...linux.files import read_whole, remove_if_exists, write_json
from ...model.public_key import parse_public_key
from ...model.trust import ACCEPT, REJECT, SIGNED, Identity, Policy, Requirement, Rule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ...paths import Paths

_ELSEWHERE = "/etc/containers/policy.json"
_KINDS = {"insecureAcceptAnything": ACCEPT, "reject": REJECT, "sigstoreSigned": SIGNED}
_IDENTITIES = {
    "matchExact": "exact",
    "matchRepoDigestOrExact": "digest-or-exact",
    "matchRepository": "repository",
    "exactReference": "reference",
    "exactRepository": "remote-repository",
    "remapIdentity": "remap",
}
_KEYS = ("keyData", "keyDatas", "keyPath", "keyPaths")
_KNOWN = {ACCEPT: {"type"}, SIGNED: {"type", "signedIdentity", *_KEYS}}
_IDENTITY_NAMES = {"reference": "dockerReference", "remote-repository": "dockerRepository", "remap": "signedPrefix"}


def observe_policy(paths: Paths) -> Policy | None:
    """Our own policy, or None where there is none. Raises StateCorrupt."""
    return _read(paths.policy)


def effective_policy(paths: Paths) -> Policy:
    """What holds on this host: our own policy, else the one of podman and skopeo, else all is accepted.

    Raises StateCorrupt where one is there and cannot be understood: then nothing may be pulled.
    """
    for path in (paths.policy, _ELSEWHERE):
        found = _read(path)
        if found is not None:
            return found
    return Policy()


def apply_policy(paths: Paths, policy: Policy | None) -> None:
    """Make ``policy`` this host's, at once and durably; None takes ours away."""
    if policy is None:
        remove_if_exists(paths.policy)
        return
    os.makedirs(paths.root, mode=0o755, exist_ok=True)
    scopes = {rule.scope: [_encode(requirement) for requirement in rule.requirements] for rule in policy.rules}
    document = {"default": [_encode(requirement) for requirement in policy.default], "transports": {"docker": scopes}}
    write_json(paths.policy, document, mode=0o644)


def _encode(requirement: Requirement) -> dict[str, Any]:
    kind = next(name for name, ours in _KINDS.items() if ours == requirement.kind)
    if requirement.kind != SIGNED:
        return {"type": kind}
    keys = [base64.b64encode(key.encode()).decode() for key in requirement.keys]
    identity = requirement.identity
    told = {"type": next(name for name, ours in _IDENTITIES.items() if ours == identity.kind)}
    if identity.name:
        told[_IDENTITY_NAMES[identity.kind]] = identity.name
    if identity.prefix:
        told["prefix"] = identity.prefix
    # Readers of old know `keyData` alone.
    return {"type": kind, **({"keyData": keys[0]} if len(keys) == 1 else {"keyDatas": keys}), "signedIdentity": told}


def _read(path: str) -> Policy | None:
    try:
        document = json.loads(read_whole(path), object_pairs_hook=_once)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise StateCorrupt(path, f"not a policy that is understood: {error}") from error
    if not isinstance(document, dict) or "default" not in document:
        raise StateCorrupt(path, "not a policy: it has no default (containers-policy.json(5))")
    try:
        if strange := document.keys() - {"default", "transports"}:
            raise ValueError(f"it has {_listed(strange)}")
        scopes = document.get("transports", {}).get("docker", {})
        default = _requirements(document["default"])
        rules = {scope: _requirements(found) for scope, found in scopes.items()}
    except (InvalidOption, ValueError, TypeError, KeyError, AttributeError, OSError) as error:
        raise StateCorrupt(path, f"not a policy that is understood: {error}") from error
    return Policy(
        rules.pop("", default), tuple(Rule(scope, requirements) for scope, requirements in sorted(rules.items()))
    )


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object that says nothing twice: which of the two is meant, readers do not agree about."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _value in pairs]
        raise ValueError(f"it says {_listed({name for name in names if names.count(name) > 1})} twice")
    return found


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name)[:80] for name in sorted(names)[:5])


def _requirements(found: Any) -> tuple[Requirement, ...]:
    if not isinstance(found, list) or not found:
        raise ValueError("a list of requirements is empty or no list")
    return tuple(_requirement(entry) for entry in found)


def _requirement(entry: dict[str, Any]) -> Requirement:
    kind = _KINDS.get(entry["type"])
    if kind is None:
        # signedBy asks for GPG signatures: an image under it may not be pulled, and others go on.
        return Requirement(f"what is not supported here: {entry['type']}")
    if kind == REJECT:
        return Requirement(kind)
    if strange := entry.keys() - _KNOWN[kind]:  # fulcio, pki, rekorPublicKeyData and others ask for more than a key
        return Requirement(f"what is not supported here: {entry['type']} with {_listed(strange)}")
    if kind == ACCEPT:
        return Requirement(kind)
    if len(entry.keys() & {*_KEYS}) > 1:
        raise ValueError(f"sigstoreSigned has {_listed(entry.keys() & {*_KEYS})}, of which there may be one")
    keys = [_decode(data) for data in [*entry.get("keyDatas", []), *_one(entry, "keyData")]]
    for path in [*entry.get("keyPaths", []), *_one(entry, "keyPath")]:
        with open(path, encoding="ascii") as file:
            keys.append(file.read())
    if not keys:
        raise ValueError("sigstoreSigned names no key")
    told = entry.get("signedIdentity") or {"type": "matchRepoDigestOrExact"}
    kind = _IDENTITIES.get(told["type"], "")
    names = {"type", _IDENTITY_NAMES.get(kind, "type"), *(("prefix",) if kind == "remap" else ())}
    if not kind or told.keys() - names:
        asked = told["type"] if not kind else f"{told['type']} with {_listed(told.keys() - names)}"
        return Requirement(f"what is not supported here: signedIdentity {asked}")
    identity = Identity(kind, told[_IDENTITY_NAMES[kind]] if kind in _IDENTITY_NAMES else "", told.get("prefix", ""))
    return Requirement(SIGNED, tuple(parse_public_key("key", key) for key in keys), identity)


def _one(entry: dict[str, Any], name: str) -> list[Any]:
    return [entry[name]] if name in entry else []


def _decode(data: str) -> str:
    try:
        return base64.b64decode(data, validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ValueError(f"a key is not PEM in base64 ({error})") from error


def refuse_unsupported(requirement: Requirement) -> None:
    """Raise Unsupported for a kind of requirement that only other tools can check."""
    if requirement.kind not in (ACCEPT, REJECT, SIGNED):
        raise Unsupported(f"the host's policy asks for {requirement.kind}")
