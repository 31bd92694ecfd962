# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which images a host may pull: rules by registry and repository, as containers-policy.json(5) has them.

A rule holds for a scope: a registry, a repository or a path above it, one tag or digest, or ``*.domain``; the longest
that fits an image counts, and no other. Each of its requirements must be met.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import InvalidReference
from .reference import Reference, parse_reference

IDENTITIES = ("exact", "digest-or-exact", "repository", "reference", "remote-repository", "remap")
ACCEPT, REJECT, SIGNED = "accept", "reject", "signed"


@dataclass(frozen=True)
class Identity:
    """Which name a signature must speak of (containers-policy.json(5), "signedIdentity").

    ``kind``: ``exact`` (the very name), ``digest-or-exact`` (the repository suffices where the image is asked for by
    digest), ``repository``; ``reference`` and ``remote-repository`` name another one, in ``name``; ``remap`` is for
    mirrors: what begins with ``prefix`` was signed under ``name``.
    """

    kind: str = "repository"
    name: str = ""
    prefix: str = ""


@dataclass(frozen=True)
class Requirement:
    """``accept``, ``reject``, or ``signed`` by one of ``keys`` (public keys in PEM)."""

    kind: str
    keys: tuple[str, ...] = ()
    identity: Identity = Identity()


@dataclass(frozen=True)
class Signing:
    """That a key has signed an image in its registry: the manifest ``digest``, as ``identity``, a docker-reference.

    ``key`` is the public one, in PEM.
    """

    name: str
    digest: str
    key: str
    identity: str


@dataclass(frozen=True)
class Rule:
    scope: str
    requirements: tuple[Requirement, ...]


@dataclass(frozen=True)
class Policy:
    """What holds where no rule fits, and the rules, sorted by scope."""

    default: tuple[Requirement, ...] = (Requirement(ACCEPT),)
    rules: tuple[Rule, ...] = ()

    def requirements_for(self, reference: Reference) -> tuple[Requirement, ...]:
        """What must be met before this image is used: the rule of the longest scope, or the default."""
        rules = {rule.scope: rule.requirements for rule in self.rules}
        for scope in scopes_of(reference):
            if scope in rules:
                return rules[scope]
        return self.default


def scopes_of(reference: Reference) -> list[str]:
    """All scopes that fit an image, the longest first; wildcards for subdomains last."""
    repository = f"{reference.registry}/{reference.repository}"
    scopes = [reference.name] if reference.tag or reference.digest else []
    if reference.tag and reference.digest:
        scopes += [f"{repository}@{reference.digest}", f"{repository}:{reference.tag}"]
    parts = repository.split("/")
    scopes += ["/".join(parts[:length]) for length in range(len(parts), 0, -1)]
    # A wildcard holds for every port. One that has a port itself means nothing to podman, and to us that port.
    host, colon, _port = reference.registry.partition(":")
    for registry in [reference.registry, host] if colon else [host]:
        labels = registry.split(".")
        scopes += ["*." + ".".join(labels[at:]) for at in range(1, len(labels))]
    return scopes


def parse_scope(option: str, text: str) -> str:
    """A scope as docker would complete the name that it is part of. Raises InvalidReference."""
    expected = "a registry, a repository or a path above it, a name with tag or digest, or *.domain"
    if text.startswith("*."):
        if "/" in text or "*" in text[1:]:
            raise InvalidReference(option, text, expected)
        parse_reference(option, text[2:].partition(":")[0] + "/x")
        return text
    first, slash, _rest = text.partition("/")
    qualified = "." in first or ":" in first or first == "localhost"
    reference = parse_reference(option, text if slash or not qualified else text + "/x")
    if reference.digest or (":" in text.rpartition("/")[2].partition("@")[0] and slash):
        return reference.name
    # `docker.io/library` and `quay.io/shop` are paths above repositories: what was written is what is meant.
    return text if qualified else f"{reference.registry}/{reference.repository}"
