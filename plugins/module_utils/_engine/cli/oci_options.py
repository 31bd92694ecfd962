# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of ``stowage-runtime``, which are runc's, and a command line taken apart.

Options are Go's: one dash or two, a value after a space or an equals sign. Whatever is wrong is an InvalidOption.
"""

from __future__ import annotations

from ..errors import InvalidOption

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

# Option to the name it is kept under; "=" at the end: it has a value; "+": it may be given many times.
GLOBAL = {
    "root": "root=",
    "log": "log=",
    "log-format": "log-format=",
    "rootless": "rootless=",
    "criu": "criu=",
    "debug": "debug",
    "systemd-cgroup": "systemd-cgroup",
    "version": "version",
    "v": "version",
}
HELP = {"help": "help", "h": "help"}
_CREATE = {
    "bundle": "bundle=",
    "b": "bundle=",
    "pid-file": "pid-file=",
    "console-socket": "console-socket=",
    "pidfd-socket": "pidfd-socket=",
    "preserve-fds": "preserve-fds=",
    "no-pivot": "no-pivot",
    "no-new-keyring": "no-new-keyring",
}
_RUN = {"detach": "detach", "d": "detach", "no-subreaper": "no-subreaper"}
_FORMAT = {"format": "format=", "f": "format="}
# Of checkpoint and restore, whose meanings are criu's (criu(8)).
_CRIU = {
    "image-path": "image-path=",
    "work-path": "work-path=",
    "tcp-established": "tcp-established",
    "ext-unix-sk": "ext-unix-sk",
    "shell-job": "shell-job",
    "file-locks": "file-locks",
    "manage-cgroups-mode": "manage-cgroups-mode=",
    "empty-ns": "empty-ns+",
    "auto-dedup": "auto-dedup",
    "lazy-pages": "lazy-pages",
}
OPTIONS = {
    "create": _CREATE,
    "run": {**_CREATE, **_RUN, "keep": "keep"},
    "start": {},
    "state": {},
    "kill": {"all": "all", "a": "all"},
    "delete": {"force": "force", "f": "force"},
    "list": {**_FORMAT, "quiet": "quiet", "q": "quiet"},
    "ps": _FORMAT,
    "pause": {},
    "resume": {},
    "spec": {"bundle": "bundle=", "b": "bundle=", "rootless": "rootless"},
    "features": {},
    "update": {
        "resources": "resources=", "r": "resources=",
        **{name: f"{name}=" for name in (
            "blkio-weight", "cpu-period", "cpu-quota", "cpu-burst", "cpu-share", "cpu-rt-period", "cpu-rt-runtime",
            "cpuset-cpus", "cpuset-mems", "kernel-memory", "kernel-memory-tcp", "memory", "cpu-idle",
            "memory-reservation", "memory-swap", "pids-limit", "l3-cache-schema", "mem-bw-schema",
        )},
    },
    "events": {"stats": "stats", "interval": "interval="},
    "exec": {
        "process": "process=", "p": "process=", "cwd": "cwd=", "user": "user=", "u": "user=", "pid-file": "pid-file=",
        "env": "env+", "e": "env+", "cap": "cap+", "c": "cap+", "tty": "tty", "t": "tty", "detach": "detach",
        "d": "detach", "console-socket": "console-socket=", "pidfd-socket": "pidfd-socket=",
        "preserve-fds": "preserve-fds=", "no-new-privs": "no-new-privs", "additional-gids": "additional-gids+",
        "g": "additional-gids+", "ignore-paused": "ignore-paused", "cgroup": "cgroup+", "apparmor": "apparmor=",
        "process-label": "process-label=",
    },
    "checkpoint": {
        **_CRIU, "parent-path": "parent-path=", "leave-running": "leave-running", "link-remap": "link-remap",
        "tcp-skip-in-flight": "tcp-skip-in-flight", "status-fd": "status-fd=", "page-server": "page-server=",
        "pre-dump": "pre-dump",
    },
    "restore": {
        **_CRIU, **_RUN, "bundle": "bundle=", "b": "bundle=", "pid-file": "pid-file=", "no-pivot": "no-pivot",
        "console-socket": "console-socket=", "lsm-profile": "lsm-profile=", "lsm-mount-context": "lsm-mount-context=",
    },
}  # fmt: skip
# What follows the first word is another program's.
STOP_AT_WORD = frozenset(("exec", "ps"))


class Words:
    """A command line taken apart: ``options`` by name, and what is left, in order."""

    def __init__(self, where: str, words: Sequence[str], known: dict[str, str], *, stop_at_word: bool = False) -> None:
        self.where = where
        self.options: dict[str, Any] = {}
        self.rest = list(words)
        taken: list[str] = []
        while self.rest:
            word = self.rest.pop(0)
            if word == "--":
                break
            if not word.startswith("-") or word == "-":
                taken.append(word)
                if stop_at_word:
                    break
                continue
            self._take(word, known)
        self.rest = taken + self.rest

    def _take(self, word: str, known: dict[str, str]) -> None:
        name, equals, value = word.lstrip("-").partition("=")
        kept = known.get(name) or HELP.get(name)
        if kept is None:
            raise InvalidOption(self.where, word, "one of its options; see stowage-runtime --help")
        if kept[-1] not in "=+":
            if equals and value not in ("true", "false", "1", "0"):
                raise InvalidOption(f"{self.where} --{name}", value, "true or false")
            self.options[kept] = value in ("true", "1") if equals else True
            return
        if not equals:
            if not self.rest:
                raise InvalidOption(self.where, word, "a value after it")
            value = self.rest.pop(0)
        if kept[-1] == "+":
            self.options.setdefault(kept[:-1], []).append(value)
        else:
            self.options[kept[:-1]] = value

    def text(self, name: str, default: str = "") -> str:
        return str(self.options.get(name, default))

    def flag(self, name: str) -> bool:
        return bool(self.options.get(name))

    def list(self, name: str) -> list[str]:
        return list(self.options.get(name, ()))

    def number(self, name: str) -> int:
        value = self.text(name, "0")
        if not (value.isascii() and value.isdigit()):
            raise InvalidOption(f"{self.where} --{name}", value, "a number")
        return int(value)

    def identity(self, most: int | None = 1) -> str:
        """The container's id, and that there are not too many words."""
        if not self.rest or (most is not None and len(self.rest) > most):
            alone = " alone" if most == 1 else ""
            raise InvalidOption(self.where, " ".join(self.rest), "the id of a container" + alone)
        return self.rest[0]

    def none(self) -> None:
        """That there are no words beside the options."""
        if self.rest:
            raise InvalidOption(self.where, " ".join(self.rest), "nothing beside its options")
