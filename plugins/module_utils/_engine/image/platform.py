# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of an index's images is meant (image-spec, image-index.md): that of a platform, or of this host."""

from __future__ import annotations

import os

from ..errors import InvalidImage, printable
from ..model.platform import Platform, normal_platform, parse_platform, same_platform
from .manifest import platform_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .manifest import Descriptor

# uname(2)'s machine: the architecture, and the best variant that it runs.
_MACHINES = {
    "x86_64": ("amd64", ""),
    "aarch64": ("arm64", "v8"),
    "armv8l": ("arm", "v8"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "i686": ("386", ""),
    "riscv64": ("riscv64", ""),
    "ppc64le": ("ppc64le", ""),
    "s390x": ("s390x", ""),
}
_NAMED = 50  # platforms in one error
# What runs the first runs the others too, best first.
_VARIANTS = {"arm": ("v8", "v7", "v6", "v5")}


def host_architecture() -> str:
    """This host's architecture, as images name it."""
    return host_platform().architecture


def host_platform() -> Platform:
    """What this host runs."""
    return machine_platform(os.uname().machine)


def machine_platform(machine: str) -> Platform:
    """What a host runs whose uname(2) says ``machine``."""
    return normal_platform("linux", *_MACHINES.get(machine, (machine, "")))


def choose_platform(manifests: list[tuple[Descriptor, dict[str, Any]]], what: str, wanted: str = "") -> Descriptor:
    """The manifest for ``wanted`` (spelled as model/platform.py has it), or for this host where that is empty.

    Raises InvalidImage, naming the platforms that there are.
    """
    platform = parse_platform("platform", wanted) if wanted else host_platform()
    there = [(descriptor, _platform(fields)) for descriptor, fields in manifests]
    for suitable in _suitable(platform):
        for descriptor, found in there:
            if found == suitable:
                return descriptor
    names = sorted({str(found) for _descriptor, found in there if found is not None}) or ["no platform"]
    raise InvalidImage(f"{what} is not made for {platform}; it is there for {printable(', '.join(names[:_NAMED]))}")


def check_platform(config: dict[str, Any], wanted: str, what: str) -> None:
    """Raise InvalidImage where an image that no index offered is not of the platform that was asked for."""
    if not same_platform(wanted, found := platform_of(config)):
        raise InvalidImage(f"{what} is not made for {wanted}; it is there for {printable(found)}")


def _suitable(platform: Platform) -> list[Platform]:
    """What can be had for ``platform``, best first: itself, and lesser variants of an architecture that has those."""
    variants = _VARIANTS.get(platform.architecture, ())
    best = platform.variant or "v7"
    lesser = variants[variants.index(best) :] if best in variants else ()
    return [platform, *(normal_platform(platform.os, platform.architecture, variant) for variant in lesser)]


def _platform(fields: dict[str, Any]) -> Platform | None:
    """An index's entry's platform; None where it has none, as attestations have (buildkit: unknown/unknown)."""
    words = [str(fields.get(key) or "") for key in ("os", "architecture", "variant")]
    if not words[0] or not words[1] or words[0] == "unknown":
        return None
    return normal_platform(*words)
