# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do so that a host has a policy of which images it may pull."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..model.trust import Policy, Requirement
from .change import Change, Fields


@dataclass(frozen=True)
class SetPolicy(Change):
    """Puts the policy in force; what is on the host already stays."""

    desired: Policy
    current: Policy | None

    @property
    def subject(self) -> str:
        return "policy images"

    @property
    def before(self) -> Fields:
        return _differing(self.current, self.desired)

    @property
    def after(self) -> Fields:
        return _differing(self.desired, self.current)


@dataclass(frozen=True)
class RemovePolicy(Change):
    current: Policy

    @property
    def subject(self) -> str:
        return "policy images"

    @property
    def before(self) -> Fields:
        return _told(self.current)


def plan_policy(desired: Policy | None, current: Policy | None) -> Iterator[Change]:
    """Yield the changes; ``desired`` None asks for the absence of a policy of ours."""
    if desired == current:
        return
    if desired is not None:
        yield SetPolicy(desired, current)
    elif current is not None:
        yield RemovePolicy(current)


def _differing(policy: Policy | None, other: Policy | None) -> Fields:
    """What one policy says and another does not, by scope."""
    theirs = _told(other)
    return {scope: told for scope, told in _told(policy).items() if theirs.get(scope) != told}


def _told(policy: Policy | None) -> Fields:
    if policy is None:
        return {}
    scopes = {"default": policy.default, **{rule.scope: rule.requirements for rule in policy.rules}}
    return {scope: " and ".join(map(_word, requirements)) for scope, requirements in scopes.items()}


def _word(requirement: Requirement) -> str:
    """A requirement in a line; of a key the last characters, by which people tell keys apart."""
    if not requirement.keys:
        return requirement.kind
    keys = " or ".join("..." + "".join(key.split("\n")[1:-2])[-8:] for key in requirement.keys)
    return f"{requirement.kind} by {keys} as {requirement.identity.kind} {requirement.identity.name}".rstrip()
