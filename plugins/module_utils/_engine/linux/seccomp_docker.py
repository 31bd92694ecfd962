# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A seccomp profile as docker and podman write it, as the ``linux.seccomp`` that it stands for on this host. Pure.

Docker's form has conditions that OCI's has not: ``includes`` and ``excludes`` by capability, architecture and kernel,
and ``archMap``. A profile in OCI's own form is one without conditions. Raises InvalidOption with the JSON path.
Source: moby/profiles, seccomp/seccomp.go (the type) and the comments of its default.json.
"""

from __future__ import annotations

from ..errors import InvalidOption

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Any

# Go's names of architectures, which the conditions use, by ours.
_GO_NAMES = {
    "x86_64": "amd64",
    "x86": "x86",
    "aarch64": "arm64",
    "arm": "arm",
    "riscv64": "riscv64",
    "loongarch64": "loongarch64",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
}
_COPIED = ("defaultAction", "defaultErrnoRet", "architectures", "flags", "listenerPath", "listenerMetadata")
_RULE = ("names", "action", "errnoRet", "args")


def oci_seccomp(
    profile: Any, *, capabilities: Collection[str], architecture: str, kernel: tuple[int, int]
) -> dict[str, Any]:
    """What is left of ``profile`` for a container with these capabilities, on this architecture and kernel."""
    if not isinstance(profile, dict) or not isinstance(profile.get("defaultAction"), str):
        raise InvalidOption("defaultAction", profile, "an object with at least a defaultAction, such as SCMP_ACT_ERRNO")
    found = {name: profile[name] for name in _COPIED if profile.get(name) is not None}
    if "architectures" not in found:
        found["architectures"] = _architectures(profile.get("archMap"), architecture)
    found["syscalls"] = [
        _rule(rule)
        for place, rule in _items(profile, "syscalls")
        if _applies(place, rule, capabilities, _GO_NAMES.get(architecture, architecture), kernel)
    ]
    return found


def _rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: rule[name] for name in _RULE if rule.get(name) is not None}
    if rule.get("name") and not rule.get("names"):
        found["names"] = [rule["name"]]  # the form before docker 1.13
    return found


def _architectures(entries: Any, architecture: str) -> list[str]:
    """This machine's entry in ``archMap`` with those that go with it; nothing where it has none."""
    native = f"SCMP_ARCH_{architecture.upper()}"
    for _place, entry in _items({"archMap": entries}, "archMap"):
        if entry.get("architecture") == native:
            return [native, *(entry.get("subArchitectures") or ())]
    return []


def _applies(
    place: str, rule: Mapping[str, Any], capabilities: Collection[str], architecture: str, kernel: tuple[int, int]
) -> bool:
    includes, excludes = (_condition(f"{place}.{name}", rule.get(name)) for name in ("includes", "excludes"))
    oldest, too_new = includes.get("minKernel"), excludes.get("minKernel")
    return not (
        (includes.get("arches") and architecture not in includes["arches"])
        or not set(includes.get("caps") or ()).issubset(capabilities)
        or (oldest and kernel < _version(f"{place}.includes.minKernel", oldest))
        or architecture in (excludes.get("arches") or ())
        or not set(excludes.get("caps") or ()).isdisjoint(capabilities)
        or (too_new and kernel >= _version(f"{place}.excludes.minKernel", too_new))
    )


def _condition(place: str, value: Any) -> Mapping[str, Any]:
    found = {} if value is None else value
    if not isinstance(found, dict) or not all(isinstance(found.get(name) or [], list) for name in ("arches", "caps")):
        raise InvalidOption(place, value, "an object with lists called arches and caps, and minKernel such as '4.8'")
    return found


def _version(place: str, text: Any) -> tuple[int, int]:
    parts = text.split(".") if isinstance(text, str) else []
    if len(parts) != 2 or not all(part.isascii() and part.isdecimal() for part in parts):
        raise InvalidOption(place, text, "a kernel's version and patch level, such as '4.8'")
    return int(parts[0]), int(parts[1])


def _items(holder: Mapping[str, Any], name: str) -> list[tuple[str, Mapping[str, Any]]]:
    value = [] if holder.get(name) is None else holder[name]
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise InvalidOption(name, value, "a list of objects")
    return [(f"{name}[{index}]", item) for index, item in enumerate(value)]
