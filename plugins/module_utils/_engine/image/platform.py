# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of an index's images this host runs (image-spec, image-index.md; names as Go has them)."""

from __future__ import annotations

import os

from ..errors import InvalidImage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .manifest import Descriptor

# uname(2)'s machine: the architecture, and the variants that it runs, best first.
_MACHINES = {
    "x86_64": ("amd64", ("", "v1")),
    "aarch64": ("arm64", ("v8", "")),
    "armv8l": ("arm", ("v8", "v7", "v6", "v5", "")),
    "armv7l": ("arm", ("v7", "v6", "v5", "")),
    "armv6l": ("arm", ("v6", "v5", "")),
    "i686": ("386", ("",)),
    "riscv64": ("riscv64", ("",)),
    "ppc64le": ("ppc64le", ("",)),
    "s390x": ("s390x", ("",)),
}


def host_architecture() -> str:
    """This host's architecture, as images name it."""
    machine = os.uname().machine
    return _MACHINES.get(machine, (machine, ()))[0]


def choose_platform(manifests: list[tuple[Descriptor, dict[str, Any]]], what: str) -> Descriptor:
    """The manifest for this host. Raises InvalidImage, naming the platforms that there are."""
    machine = os.uname().machine
    architecture, variants = _MACHINES.get(machine, (machine, ("",)))
    for variant in variants:
        for descriptor, platform in manifests:
            if (
                platform.get("os") == "linux"
                and platform.get("architecture") == architecture
                and (platform.get("variant") or "") == variant
            ):
                return descriptor
    there = sorted({_show(platform) for _descriptor, platform in manifests}) or ["none"]
    raise InvalidImage(f"{what} is not made for linux/{architecture}; it is there for {', '.join(there)}")


def _show(platform: dict[str, Any]) -> str:
    return "/".join(str(platform[key]) for key in ("os", "architecture", "variant") if platform.get(key)) or "unknown"
