# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who ``user`` of an image or of ``exec -u`` is, by the container's own files (passwd(5), group(5)).

Strict: a number is itself and never looked up as a name first, a name must have an entry, and a line that does not
parse counts for nothing (CVE-2026-30892: ``1`` is never 0).
"""

from __future__ import annotations

from ..errors import InvalidOption

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..linux.openat2 import Root

_MAX_ID = 0xFFFFFFFE


class User:
    """Numbers for process.user, and the home directory that HOME becomes where nothing else sets it.

    ``groups`` has the primary one too, lest a program that drops that one gain access by it (CVE-2022-36109).
    """

    def __init__(self, uid: int, gid: int, groups: list[int], home: str) -> None:
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.home = home


def resolve_user(text: str, root: Root) -> User:
    """``user``, ``user:group``, names or numbers, as docker reads it. Raises InvalidOption."""
    wanted, colon, wanted_group = text.partition(":")
    if colon and not wanted_group:
        raise InvalidOption("user", text, "a group after the colon")
    passwd = list(_entries(root.read_file("/etc/passwd"), 7))
    groups = list(_entries(root.read_file("/etc/group"), 4))
    number = _number(wanted) if wanted else 0
    entry = next((e for e in passwd if (_number(e[2]) == number if number is not None else e[0] == wanted)), None)
    if number is None and entry is None:
        raise InvalidOption("user", text, "a number, or a name in the /etc/passwd of the container")
    uid = number if number is not None else _identity(entry, 2)
    name = entry[0] if entry else ""
    home = entry[5] if entry and entry[5].startswith("/") else "/"
    if wanted_group:
        gid = _resolve_group(text, wanted_group, groups)
        return User(uid, gid, [gid], home)
    gid = _identity(entry, 3) if entry else 0
    additional = sorted({_identity(g, 2) for g in groups if name and name in g[3].split(",")} - {gid})
    return User(uid, gid, [gid, *additional], home)


def resolve_groups(names: Sequence[str], root: Root) -> list[int]:
    """The numbers of further groups, each given by number or by name. Raises InvalidOption."""
    groups = list(_entries(root.read_file("/etc/group"), 4)) if names else []
    expected = "a number, or a name in the /etc/group of the container"
    return [_group_number(name, groups, InvalidOption("groups", name, expected)) for name in names]


def _resolve_group(text: str, wanted: str, groups: list[list[str]]) -> int:
    expected = "a number, or a name in the /etc/group of the container, after the colon"
    return _group_number(wanted, groups, InvalidOption("user", text, expected))


def _group_number(wanted: str, groups: list[list[str]], unknown: InvalidOption) -> int:
    number = _number(wanted)
    if number is not None:
        return number
    for entry in groups:
        if entry[0] == wanted:
            return _identity(entry, 2)
    raise unknown


def _entries(text: str, count: int) -> Iterator[list[str]]:
    """The lines that have ``count`` fields and numbers where numbers belong."""
    for line in text.splitlines():
        fields = line.split(":")
        numbers = fields[2 : count // 2 + 1]
        if len(fields) == count and fields[0] and all(_number(field) is not None for field in numbers):
            yield fields


def _number(text: str) -> int | None:
    if text.isascii() and text.isdigit() and len(text) <= 40 and int(text) <= _MAX_ID:
        return int(text)
    return None


def _identity(entry: list[str] | None, field: int) -> int:
    number = _number(entry[field]) if entry else None
    return number if number is not None else _MAX_ID
