# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a list of OCI device rules comes to: one default, and the exceptions from it. Pure; the same on v1 and v2.

The rules count in their order, and a list starts with everything denied (runtime-spec, config-linux.md, "Allowed Device
list"; runc does so too). Their meaning is that of v1 (Documentation/admin-guide/cgroup-v1/devices.rst,
security/device_cgroup.c): a rule of type ``a`` allows or denies everything and forgets what came before, whatever else
it says; another rule adds an exception, or takes one back. Where everything is denied, an access needs one exception
that covers all of it; where everything is allowed, it must touch none.

One thing differs, because v1 silently keeps open what such a rule means to close: a denial takes back every exception
that it covers, and where it would cut a piece out of a wider one, which v1 cannot express, it is refused, as by runc.
An allowance only takes back just the same denial: what was denied more narrowly stays denied, as on v1.
"""

from __future__ import annotations

from ..errors import InvalidOption

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    Range = tuple[str, int, int]  # "b" or "c", major, minor

ANY = -1
# DEVCG_ACC_* of the kernel, BPF_DEVCG_ACC_* of linux/bpf.h.
ACCESS = {"m": 1, "r": 2, "w": 4}
ALL_ACCESS = 7

_OPTION = "linux.resources.devices"
_MOST = 0xFFFFFFFF  # devices.allow takes 32 bits too; no device has a number beyond 12 and 20


class DeviceList:
    """``allows``: what holds for a device that no exception names. ``exceptions``: access bits by range."""

    def __init__(self) -> None:
        self.allows = False
        self.exceptions: dict[Range, int] = {}

    @property
    def is_open(self) -> bool:
        """Whether nothing is denied."""
        return self.allows and not self.exceptions

    def apply(self, rule: Mapping[str, Any]) -> None:
        """Apply one more rule. Raises InvalidOption."""
        allow, kind = bool(rule.get("allow")), rule.get("type") or "a"
        if kind == "a":
            self.allows = allow
            self.exceptions.clear()
            return
        if kind not in ("b", "c", "u"):
            raise InvalidOption(_OPTION, kind, "the type a, b, c or u")
        where = ("c" if kind == "u" else kind, _number(rule, "major"), _number(rule, "minor"))
        access = _access(rule)
        if allow != self.allows:
            self.exceptions[where] = self.exceptions.get(where, 0) | access
        else:
            self._take_back(where, access)

    def lines(self) -> list[str]:
        """The exceptions in v1's spelling: ``c 1:3 rwm``."""
        return [describe_rule(where, access) for where, access in self.exceptions.items()]

    def _take_back(self, where: Range, access: int) -> None:
        for other, held in list(self.exceptions.items()):
            if not held & access or not _overlap(where, other):
                continue
            if not _covers(where, other):
                verb, wider = ("allow", "denied") if self.allows else ("deny", "allowed")
                raise InvalidOption(
                    _OPTION,
                    f"{verb} {describe_rule(where, access)}",
                    f"no piece of {describe_rule(other, held)}, which an earlier rule {wider}: cgroups know no "
                    "exceptions from exceptions; name the devices one by one instead",
                )
            if where == other or not self.allows:
                self.exceptions[other] = held & ~access
                if not self.exceptions[other]:
                    del self.exceptions[other]


def parse_devices(rules: Iterable[Mapping[str, Any]]) -> DeviceList:
    """What the rules of ``linux.resources.devices`` come to. Raises InvalidOption."""
    devices = DeviceList()
    for rule in rules:
        devices.apply(rule)
    return devices


def describe_rule(where: Range, access: int) -> str:
    """``c 1:3 rwm``; ``*`` is any number."""
    kind, major, minor = where
    letters = "".join(letter for letter in "rwm" if access & ACCESS[letter])
    return f"{kind} {_star(major)}:{_star(minor)} {letters}"


def _star(number: int) -> str:
    return "*" if number == ANY else str(number)


def _number(rule: Mapping[str, Any], name: str) -> int:
    """A number that is not given, or negative, means any."""
    number = rule.get(name)
    if number is None or number < 0:
        return ANY
    if number > _MOST:
        raise InvalidOption(f"{_OPTION}: {name}", number, f"0 to {_MOST}, or -1 for any")
    return int(number)


def _access(rule: Mapping[str, Any]) -> int:
    access = 0
    for letter in rule.get("access") or "rwm":
        if letter == "a":
            continue  # found in the wild, and passed over by runc: it grants nothing
        if letter not in ACCESS:
            raise InvalidOption(f"{_OPTION}: access", rule["access"], "some of the letters rwm")
        access |= ACCESS[letter]
    return access


def _covers(wide: Range, narrow: Range) -> bool:
    return wide[0] == narrow[0] and all(mine in (ANY, other) for mine, other in zip(wide[1:], narrow[1:]))


def _overlap(one: Range, other: Range) -> bool:
    return one[0] == other[0] and all(a == b or ANY in (a, b) for a, b in zip(one[1:], other[1:]))
