# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``linux.intelRdt``: which share of caches and memory bandwidth a container has (runtime-spec, config-linux.md).

A class of service is a directory of the resctrl file system, which the host's administrator mounts: the container's id
or ``closID``. Source: the kernel's Documentation/filesystems/resctrl.rst. Errors: InvalidOption, Unsupported before
anything is made, RuntimeFailed with what the kernel says in info/last_cmd_status.
"""

from __future__ import annotations

import os

from ..errors import InvalidOption, RuntimeFailed, Unsupported
from ..linux.lean import suppress
from ..linux.mount import observe_mounts
from .steps.operations import Operation
from .steps.process import write_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

_RESERVED = ("info", "mon_data", "mon_groups", ".", "..")


def find_resctrl() -> str:
    """Where resctrl is mounted. Unsupported where it is not."""
    for path, fstype in observe_mounts().items():
        if fstype == "resctrl":
            return path
    raise Unsupported("linux.intelRdt: no resctrl file system is mounted on this host; mount it, or leave this out")


class ClassOfService:
    """The class that a container is to have, and its group for monitoring where it wants one."""

    def __init__(self, root: str, settings: Mapping[str, Any], identity: str) -> None:
        self.root = root
        self.named = bool(settings.get("closID"))
        self.path = os.path.normpath(os.path.join(root, (settings.get("closID") or identity).lstrip("/")))
        given = (settings.get("l3CacheSchema"), settings.get("memBwSchema"), *(settings.get("schemata") or ()))
        self.schemata = [line for line in given if line]  # in the order that the specification wants
        self.group = os.path.join(self.path, "mon_groups", identity) if settings.get("enableMonitoring") else ""
        self.made: list[str] = []

    def check(self) -> None:
        """Raise InvalidOption where the class does not fit; nothing is made."""
        if not self.named:
            return  # its id is the name of a file already, and nothing of that name is to be there
        name = os.path.relpath(self.path, self.root)
        if name != "." and ("/" in name or name in _RESERVED):
            raise InvalidOption("linux.intelRdt.closID", name, "/, or the name of a directory in resctrl")
        there = os.path.isdir(self.path)
        if not self.schemata and not there:
            raise InvalidOption("linux.intelRdt.closID", name, f"a class that exists, {self.path}, or a schema for it")
        if there and self.schemata:
            wanted, found = parse_schemata(self.schemata), parse_schemata(self._read("schemata").splitlines())
            for key, value in wanted.items():
                if found.get(key) != value:
                    told, has = f"{key[0]}:{key[1]}={value}", found.get(key, "nothing")
                    raise InvalidOption("linux.intelRdt", told, f"what the class {name} has, {has}, because it exists")

    def prepare(self) -> None:
        """Make what is missing. What was made is taken back where that fails."""
        try:
            self._make(self.path)
            if self.schemata and (self.path in self.made or not self.named):
                self._write("schemata", "".join(f"{line}\n" for line in self.schemata))
            if self.group:
                self._make(self.group)
        except BaseException:
            remove_classes(self.made)
            raise

    @property
    def record(self) -> dict[str, list[str]]:
        """For the state: the directories that processes belong to, and those that end with the container."""
        kept = [path for path in self.made if not (self.named and path == self.path)]
        return {"groups": [path for path in (self.path, self.group) if path], "made": kept}

    def _make(self, path: str) -> None:
        if os.path.isdir(path):
            return
        try:
            os.mkdir(path, 0o755)
        except OSError as error:
            raise self._failed(path, error) from error
        self.made.append(path)

    def _read(self, name: str) -> str:
        with open(os.path.join(self.path, name), encoding="ascii") as file:
            return file.read()

    def _write(self, name: str, content: str) -> None:
        path = os.path.join(self.path, name)
        try:
            with open(path, "w", encoding="utf-8") as file:
                file.write(content)
        except OSError as error:
            raise self._failed(path, error) from error

    def _failed(self, path: str, error: OSError) -> RuntimeFailed:
        status = ""
        with suppress(OSError), open(os.path.join(self.root, "info/last_cmd_status"), encoding="ascii") as file:
            status = file.read().strip()
        return RuntimeFailed(f"linux.intelRdt: {path}: {error.strerror}" + (f" ({status})" if status else ""))


def parse_schemata(lines: Sequence[str]) -> dict[tuple[str, str], int]:
    """The value of each (resource, cache id). Bandwidth is decimal, masks are hexadecimal, with or without zeros.

    Raises InvalidOption for what is not ``RESOURCE:id=value;...``.
    """
    found = {}
    for line in filter(str.strip, lines):
        resource, colon, domains = line.strip().partition(":")
        try:
            for domain in domains.split(";"):
                identity, _equals, value = domain.partition("=")
                base = 10 if resource.startswith(("MB", "SMBA")) else 16
                found[resource.strip(), str(int(identity))] = int(value, base)
        except ValueError as error:
            raise InvalidOption("linux.intelRdt", line, "RESOURCE:id=value;id=value...") from error
        if not colon:
            raise InvalidOption("linux.intelRdt", line, "RESOURCE:id=value;id=value...")
    return found


def check_intel_rdt(settings: Mapping[str, Any], identity: str = "") -> ClassOfService:
    """The class of a container, checked."""
    wanted = ClassOfService(find_resctrl(), settings, identity)
    wanted.check()
    return wanted


class EnterClasses(Operation):
    """Go where the container's processes are; children follow. 0 is whoever writes (rdtgroup_move_task())."""

    def __init__(self, record: Mapping[str, Sequence[str]]) -> None:
        self.groups = record["groups"]

    def __str__(self) -> str:
        return "join the container's class of service (linux.intelRdt)"

    def execute(self) -> None:
        for directory in self.groups:
            write_file(os.path.join(directory, "tasks"), "0")


def remove_classes(made: Sequence[str]) -> None:
    """Remove what was made for a container; the last made first."""
    for path in reversed(made):
        with suppress(FileNotFoundError):
            os.rmdir(path)
