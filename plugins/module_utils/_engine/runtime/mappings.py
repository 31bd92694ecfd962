# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``uidMappings`` and ``gidMappings`` of a container (runtime-spec, config-linux.md, User namespace mappings).

They are checked before anything is created: that the kernel takes them (user_namespaces(7)), that they map root and
whoever the process is to be, and that this user may have them. Whoever has CAP_SETUID and CAP_SETGID writes them; an
ordinary user writes its own id alone, and leaves ranges to newuidmap(1) and newgidmap(1), which look into subuid(5).
Errors: InvalidOption with the JSON path, Unsupported, ProgramFailed, OSError.
"""

from __future__ import annotations

import os
import stat

from ..errors import InvalidOption, Unsupported
from ..linux.capabilities import capability_mask, capget
from ..linux.idmap import deny_setgroups, find_missing, find_outside, read_id_map
from ..linux.lean import suppress
from ..linux.namespaces import CLONE_NEWUSER, setns, write_id_map
from ..linux.process import find_program, in_user_namespace, run_program
from .steps.process import SetOomScore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from ..linux.idmap import Range

# kernel/user_namespace.c: UID_GID_MAP_MAX_EXTENTS since Linux 4.15, and less than a page of text in one write(2).
_MOST_RANGES = 340
_MOST_BYTES = 4095
_IDS = 0xFFFFFFFF


class _Kind:
    """What is of users or of groups: names in config.json, in /proc and in /etc, programs, capability."""

    def __init__(self, letter: str) -> None:
        self.option = f"{letter}idMappings"
        self.file = f"{letter}id_map"
        self.subordinate = f"/etc/sub{letter}id"
        self.program = f"new{letter}idmap"
        self.usermod = f"usermod --add-sub{letter}ids"
        self.capability = "CAP_SETUID" if letter == "u" else "CAP_SETGID"

    def own(self) -> int:
        return os.geteuid() if self.file == "uid_map" else os.getegid()

    def privileged(self) -> bool:
        """Whether we may map any id of our own namespace."""
        return bool(capget()[0] & capability_mask([self.capability]))


USERS, GROUPS = _Kind("u"), _Kind("g")


def parse_ranges(linux: Mapping[str, Any], kind: _Kind) -> list[Range]:
    """The mapping of a config.json as ranges."""
    return [(entry["containerID"], entry["hostID"], entry["size"]) for entry in linux.get(kind.option) or ()]


# Before anything is created -------------------------------------------------------------------------------------------


def check_mappings(spec: Mapping[str, Any]) -> None:
    """Raise InvalidOption or Unsupported for a mapping that cannot be, or cannot be ours, or lacks an id in use."""
    linux = spec.get("linux") or {}
    path = next((n.get("path") for n in linux.get("namespaces") or () if n["type"] == "user"), None)
    if path:
        users, groups = read_joined_maps(path)
        told = f"an id that the user namespace {path} has"
    else:
        users, groups = (_check_ranges(linux, kind) for kind in (USERS, GROUPS))
        told = "an id that linux.{}Mappings has"
    _check_process(spec.get("process") or {}, users, groups, told)
    _check_mounts(spec.get("mounts") or (), users, groups, told)
    if not path:
        for kind in (USERS, GROUPS):
            _check_permitted(parse_ranges(linux, kind), kind)


def prepare_entry(process: Mapping[str, Any], pid: int, stdio: Sequence[int]) -> None:
    """Raise InvalidOption where the user namespace of ``pid`` lacks an id that a process in it is to have; let that
    process open the pipes that it is given."""
    users, groups = (read_id_map(f"/proc/{pid}/{kind.file}") for kind in (USERS, GROUPS))
    _check_process(process, users, groups, "an id that the {}Mappings of the container have")
    if not process.get("terminal"):
        _give_pipes(process, users, [f"/proc/self/fd/{fd}" for fd in stdio or range(3)])


def _check_ranges(linux: Mapping[str, Any], kind: _Kind) -> list[Range]:
    where, ranges = f"linux.{kind.option}", parse_ranges(linux, kind)
    text = sum(len(f"{inside} {outside} {size}\n") for inside, outside, size in ranges)
    if len(ranges) > _MOST_RANGES or text > _MOST_BYTES:
        expected = f"at most {_MOST_RANGES} ranges, and {_MOST_BYTES} bytes of numbers: the kernel takes no more"
        raise InvalidOption(where, f"{len(ranges)} ranges, {text} bytes", expected)
    for index, (inside, outside, size) in enumerate(ranges):
        for name, first in (("containerID", inside), ("hostID", outside)):
            if first + size > _IDS:
                raise InvalidOption(f"{where}[{index}].size", size, f"at most {_IDS - first}, counted from its {name}")
        for other, (inside2, outside2, size2) in enumerate(ranges[:index]):
            for name, a, b in (("containerID", inside, inside2), ("hostID", outside, outside2)):
                if a < b + size2 and b < a + size:
                    told = f"{a}-{a + size - 1}"
                    raise InvalidOption(
                        f"{where}[{index}].{name}", told, f"ids that {where}[{other}] does not have too"
                    )
    if find_outside(ranges, 0) is None:
        raise InvalidOption(where, ranges, "a range with containerID 0: the container is set up by its own root")
    return ranges


def _check_process(process: Mapping[str, Any], users: list[Range], groups: list[Range], told: str) -> None:
    user = process.get("user") or {}
    wanted = [("uid", user.get("uid", 0), users), ("gid", user.get("gid", 0), groups)]
    wanted += [(f"additionalGids[{index}]", gid, groups) for index, gid in enumerate(user.get("additionalGids") or ())]
    for name, number, ranges in wanted:
        if find_outside(ranges, number) is None:
            letter = "uid" if name == "uid" else "gid"
            raise InvalidOption(f"process.user.{name}", number, told.replace("{}", letter))


def _check_mounts(mounts: Sequence[Mapping[str, Any]], users: list[Range], groups: list[Range], told: str) -> None:
    """``uid=`` and ``gid=`` of a file system: mount(2) would answer EINVAL, and not say why."""
    for index, entry in enumerate(mounts):
        options = entry.get("options") or ()
        if "bind" in options or "rbind" in options:
            continue
        for option in options:
            name, _equals, number = option.partition("=")
            if name in ("uid", "gid") and number.isascii() and number.isdigit():
                ranges = users if name == "uid" else groups
                if find_outside(ranges, int(number)) is None:
                    raise InvalidOption(f"mounts[{index}].options", option, told.replace("{}", name) + ", or none")


def read_joined_maps(path: str) -> tuple[list[Range], list[Range]]:
    """The maps of the user namespace at ``path``. InvalidOption where we may not join it, or it has none yet."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            if os.stat("/proc/self/ns/user").st_ino != os.fstat(fd).st_ino:
                setns(fd, CLONE_NEWUSER)
            for kind in (USERS, GROUPS):
                with open(f"/proc/self/{kind.file}", encoding="ascii") as file:
                    os.write(writer, file.read().encode() + b".")
        except OSError as error:
            os.write(writer, f"!{error.strerror}".encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, encoding="ascii") as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    maps = [
        [(int(inside), int(outside), int(size)) for inside, outside, size in map(str.split, part.splitlines())]
        for part in text.split(".")[:-1]
    ]
    if len(maps) != 2 or not all(maps):
        why = f" ({text[1:]})" if text.startswith("!") else ""
        raise InvalidOption("linux.namespaces", path, f"a user namespace with maps that this user may join{why}")
    return maps[0], maps[1]


# Whether this user may ------------------------------------------------------------------------------------------------


def is_own_alone(ranges: list[Range], kind: _Kind) -> bool:
    """Whether the mapping is what anybody may write: one id, one's own."""
    return len(ranges) == 1 and ranges[0][1:] == (kind.own(), 1)


def _check_permitted(ranges: list[Range], kind: _Kind) -> None:
    """That our own namespace has the ids, and that an ordinary user is given them by subuid(5)."""
    ours = [(inside, size) for inside, _outside, size in read_id_map(f"/proc/self/{kind.file}")]
    for index, (_inside, outside, size) in enumerate(ranges):
        if find_missing((outside, size), ours):
            told = f"{outside}-{outside + size - 1}"
            expected = f"ids that the user namespace of this runtime has (/proc/self/{kind.file})"
            raise InvalidOption(f"linux.{kind.option}[{index}].hostID", told, expected)
    if kind.privileged() or is_own_alone(ranges, kind):
        return
    if find_program(kind.program) is None:
        raise Unsupported(
            f"linux.{kind.option}: an ordinary user maps more than its own id by the program {kind.program}, which is "
            "not installed on this host; install it (Debian: uidmap, Fedora: shadow-utils-subid)"
        )
    given = read_subordinate(kind)
    if given is None:
        return
    for index, (_inside, outside, size) in enumerate(ranges):
        for first, count in find_missing((outside, size), [*given, (kind.own(), 1)]):
            told = f"{first}-{first + count - 1}"
            user = user_name()
            expected = f"ids that {kind.subordinate} gives {user}; as root: {kind.usermod} {told} {user}"
            raise InvalidOption(f"linux.{kind.option}[{index}].hostID", told, expected)


def read_subordinate(kind: _Kind) -> list[tuple[int, int]] | None:
    """The ids that subuid(5) or subgid(5) gives this user; None where something else than the file has a say.

    Both files are looked up by the user's name or uid.
    """
    if any(line.split()[:1] == ["subid:"] and line.split()[1:] != ["files"] for line in _lines("/etc/nsswitch.conf")):
        return None
    names = (user_name(), str(os.getuid()))
    given = []
    for line in _lines(kind.subordinate):
        name, _colon, numbers = line.partition(":")
        first, _colon, size = numbers.partition(":")
        if name in names and first.isdigit() and size.isdigit():
            given.append((int(first), int(size)))
    return given


def user_name() -> str:
    """The name of this user in /etc/passwd, else its uid."""
    uid = str(os.getuid())
    entries = (line.split(":") for line in _lines("/etc/passwd"))
    return next((entry[0] for entry in entries if len(entry) > 2 and entry[2] == uid), uid)


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().splitlines()
    except OSError:
        return []


# When the init is born ------------------------------------------------------------------------------------------------


def attend_birth(spec: Mapping[str, Any], pid: int) -> None:
    """Do for an init in another user namespace what it cannot: it waits for it."""
    if any(n["type"] == "user" and not n.get("path") for n in spec["linux"]["namespaces"]):
        write_mappings(spec["linux"], pid)
    score = spec["process"].get("oomScoreAdj")
    if score is not None:
        ordinary = os.geteuid() != 0 or in_user_namespace()
        SetOomScore(score, user_namespace=ordinary, pid=pid).execute()
    if not spec["process"].get("terminal"):
        users = read_id_map(f"/proc/{pid}/{USERS.file}")
        _give_pipes(spec["process"], users, [f"/proc/{pid}/fd/{fd}" for fd in range(3)])


def _give_pipes(process: Mapping[str, Any], users: list[Range], paths: Sequence[str]) -> None:
    """Let a process open /dev/stdout and its like where they are pipes, which else are nobody's in its namespace."""
    owner = find_outside(users, (process.get("user") or {}).get("uid", 0))
    for path in paths:
        with suppress(OSError):  # an ordinary user cannot; one that is closed
            if owner is not None and stat.S_ISFIFO(os.stat(path).st_mode):
                os.chown(path, owner, -1)


def write_mappings(linux: Mapping[str, Any], pid: int) -> None:
    """Give the user namespace of ``pid``, which waits for it, its maps."""
    for kind in (USERS, GROUPS):
        ranges = parse_ranges(linux, kind)
        if kind.privileged():
            write_id_map(f"/proc/{pid}/{kind.file}", ranges)
        elif is_own_alone(ranges, kind):
            if kind is GROUPS:
                deny_setgroups(pid)
            write_id_map(f"/proc/{pid}/{kind.file}", ranges)
        else:
            run_program([kind.program, str(pid), *(str(number) for entry in ranges for number in entry)])
