# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Image names mean here what they mean to docker: ``nginx`` is ``docker.io/library/nginx:latest``.

Grammar: OCI distribution-spec 1.1, "Pulling manifests" (repository, tag, digest); how short names are completed:
distribution/reference. Every refusal is InvalidReference and names the option.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import InvalidReference

DEFAULT_REGISTRY = "docker.io"
_MAX_REPOSITORY = 255

_HOST_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_REGISTRY = re.compile(rf"(?:{_HOST_LABEL}(?:\.{_HOST_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128}")


@dataclass(frozen=True)
class Reference:
    """An image name in its parts. At least one of ``tag`` and ``digest`` is there; a digest is what counts then."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """The whole name, normalised."""
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.registry}/{self.repository}{tag}{digest}"

    @property
    def version(self) -> str:
        """What to ask a registry for: the digest where there is one, else the tag."""
        return self.digest or self.tag


def parse_reference(option: str, text: str) -> Reference:
    """Complete ``text`` as docker does and take it apart. Raises InvalidReference, naming ``option``."""
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise _invalid(option, text, "a digest after '@', such as sha256: and 64 hexadecimal digits")
    tag = ""
    colon = rest.rfind(":")
    if colon > rest.rfind("/"):
        rest, tag = rest[:colon], rest[colon + 1 :]
        if not _TAG.fullmatch(tag):
            raise _invalid(option, text, "a tag of 1 to 128 letters, digits, '_', '.' and '-' after ':'")
    registry, repository = _split_registry(rest)
    if not _REGISTRY.fullmatch(registry):
        raise _invalid(option, text, "a registry that is a host name or address, with :port where needed")
    if not _REPOSITORY.fullmatch(repository) or len(repository) > _MAX_REPOSITORY:
        raise _invalid(
            option,
            text,
            f"[registry/]repository[:tag][@digest] with a repository of lower case letters and digits, parted by "
            f"'.', '_', '__' or '-', at most {_MAX_REPOSITORY} characters",
        )
    return Reference(registry, repository, tag or ("" if digest else "latest"), digest)


def normalise(option: str, text: str) -> str:
    """The whole name of an image: registry, repository, and tag or digest. Raises InvalidReference."""
    return parse_reference(option, text).name


def parse_digest(option: str, text: str) -> str:
    """Return ``text`` if it is a digest that content can be verified by. Raises InvalidReference."""
    if not isinstance(text, str) or not _DIGEST.fullmatch(text):
        raise _invalid(option, str(text), "a digest: sha256: and 64, or sha512: and 128, lower case hexadecimal digits")
    return text


def _split_registry(name: str) -> tuple[str, str]:
    """A first part is a registry if it has a dot, a colon or an upper case letter, or is localhost."""
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        registry, repository = first, rest
    else:
        registry, repository = DEFAULT_REGISTRY, name
    if registry == "index.docker.io":
        registry = DEFAULT_REGISTRY
    if registry == DEFAULT_REGISTRY and repository and "/" not in repository:
        repository = "library/" + repository
    return registry, repository


def _invalid(option: str, text: str, expected: str) -> InvalidReference:
    shown = text if len(text) <= 120 else text[:117] + "..."
    return InvalidReference(option, shown, expected)
