# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Platforms as people write them, ``os[/architecture[/variant]]`` with Go's names (image-spec, image-index.md)."""

from __future__ import annotations

import re
from typing import NamedTuple

from ..errors import InvalidOption

# What uname(2), Debian and RPM call architectures, in Go's names: docker and containerd take these spellings too.
_ARCHITECTURES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "i386": ("386", ""),
    "i686": ("386", ""),
    "ppc64el": ("ppc64le", ""),
}
# What a variant that is not named means.
_USUAL = {"amd64": "v1", "arm64": "v8", "arm": "v7"}
_WORD = re.compile(r"[a-z0-9_][a-z0-9_.-]*")


class Platform(NamedTuple):
    """``variant`` is empty where the architecture's usual one is meant (arm64/v8, arm/v7, amd64/v1)."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(filter(None, self))


def parse_platform(option: str, text: str) -> Platform:
    """A platform in one spelling; ``linux/`` may be left out. Raises InvalidOption, naming ``option``."""
    words = text.lower().split("/")
    if len(words) == 1 or words[0] in _ARCHITECTURES or words[0] in _USUAL:
        words = ["linux", *words]
    if not 2 <= len(words) <= 3 or not all(map(_WORD.fullmatch, words)):
        raise InvalidOption(
            option, text, "os/architecture or os/architecture/variant, such as linux/arm64 or linux/arm/v7"
        )
    return normal_platform(*words)


def normal_platform(system: str, architecture: str, variant: str = "") -> Platform:
    """A platform as an image names it, in one spelling."""
    name, meant = _ARCHITECTURES.get(architecture, (architecture, ""))
    variant = variant or meant
    if variant.isdecimal():  # arm/7, which some builders wrote
        variant = f"v{variant}"
    return Platform(system, name, "" if variant == _USUAL.get(name) else variant)


def same_platform(wanted: str, found: str) -> bool:
    """Whether an image of platform ``found`` is what ``wanted`` asks for (empty: anything).

    An image that names no variant may be any, and one that names no platform too.
    """
    if not wanted or not found:
        return True
    left, right = wanted.split("/"), found.split("/")
    return left[:2] == right[:2] and (left[2:] == right[2:] or not right[2:])
