# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``stowage-runtime``: an OCI runtime with the command line that runc has, for podman, containerd and people.

Options are Go's: one dash or two, a value after a space or an equals sign, those of a command after its name. Errors
go to stderr and, with --log, to a file, as text or as JSON; the exit status is 1 then, else 0, or the program's own
for run and exec.
"""

from __future__ import annotations

import json
import os
import sys
import time

from ..errors import EngineError, InvalidOption
from ..paths import Paths
from ..runtime.exec import plan_entered_process, read_spec
from ..runtime.features import example_spec, features
from ..runtime.lifecycle import parse_signal
from ..runtime.oci import Runtime
from ..runtime.rootless import convert_spec, default_root, is_rootless
from ..runtime.state import OCI_VERSION, list_states

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    Command = Callable[[Runtime, "Words"], int]

VERSION = "0.1.0"

USAGE = """\
usage: stowage-runtime [--root DIR] [--log FILE] [--log-format text|json] [--systemd-cgroup] COMMAND ...

  create   [-b DIR] [--pid-file FILE] [--console-socket FILE] [--no-pivot] [--preserve-fds N] ID
  start    ID
  run      [-d] and the options of create, ID
  exec     [-t] [-d] [-u USER] [-e NAME=VALUE] [--cwd DIR] [-p FILE] [--cap CAP] [--pid-file FILE] ID [PROGRAM ...]
  state    ID
  kill     [-a] ID [SIGNAL]
  delete   [-f] ID
  list     [-q] [-f table|json]
  ps       [-f table|json] ID
  pause    ID
  resume   ID
  spec     [-b DIR] [--rootless]
  features

The state of containers is kept in --root, by default below $STOWAGE_RUN_ROOT or /run/stowage.
"""

# Option to the name it is kept under; "=" at the end: it has a value; "+": it may be given many times.
_GLOBAL = {
    "root": "root=",
    "log": "log=",
    "log-format": "log-format=",
    "rootless": "rootless=",
    "criu": "criu=",
    "debug": "debug",
    "systemd-cgroup": "systemd-cgroup",
    "version": "version",
    "v": "version",
    "help": "help",
    "h": "help",
}
_CREATE = {
    "bundle": "bundle=",
    "b": "bundle=",
    "pid-file": "pid-file=",
    "console-socket": "console-socket=",
    "preserve-fds": "preserve-fds=",
    "no-pivot": "no-pivot",
    "no-new-keyring": "no-new-keyring",
}
_FORMAT = {"format": "format=", "f": "format="}
_OPTIONS = {
    "create": _CREATE,
    "run": {**_CREATE, "detach": "detach", "d": "detach", "no-subreaper": "no-subreaper", "keep": "keep"},
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
    "exec": {
        "process": "process=", "p": "process=", "cwd": "cwd=", "user": "user=", "u": "user=", "pid-file": "pid-file=",
        "env": "env+", "e": "env+", "cap": "cap+", "c": "cap+", "tty": "tty", "t": "tty", "detach": "detach",
        "d": "detach", "console-socket": "console-socket=", "preserve-fds": "preserve-fds=",
        "no-new-privs": "no-new-privs", "additional-gids": "additional-gids+", "g": "additional-gids+",
        "ignore-paused": "ignore-paused", "cgroup": "cgroup=",
    },
}  # fmt: skip


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
        kept = known.get(name)
        if kept is None:
            raise InvalidOption(self.where, word, "one of its options; see stowage-runtime --help")
        if kept[-1] not in "=+":
            self.options[kept] = value not in ("false", "0") if equals else True
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


def main(words: Sequence[str]) -> int:
    """Run one command; returns the exit status."""
    top = Words("stowage-runtime", words, _GLOBAL, stop_at_word=True)
    if top.flag("version"):
        sys.stdout.write(f"stowage-runtime version {VERSION}\nspec: {OCI_VERSION}\n")
        return 0
    if top.flag("help") or not top.rest or top.rest[0] == "help":
        sys.stdout.write(USAGE)
        return 0
    try:
        return _run(top)
    except EngineError as error:
        _log(top, str(error))
        sys.stderr.write(f"stowage-runtime: {error}\n")
    except OSError as error:
        _log(top, f"{error.strerror}: {error.filename}" if error.filename else str(error))
        sys.stderr.write(f"stowage-runtime: {error}\n")
    return 1


def _run(top: Words) -> int:
    paths = Paths.from_environment()
    name = top.rest[0]
    if name not in COMMANDS:
        raise InvalidOption("stowage-runtime", name, f"a command: {', '.join(COMMANDS)}")
    command = Words(name, top.rest[1:], {**_OPTIONS[name], "help": "help", "h": "help"}, stop_at_word=name == "exec")
    if command.flag("help"):
        sys.stdout.write(USAGE)
        return 0
    root = top.text("root") or default_root() or paths.runtime_root
    runtime = Runtime(os.path.abspath(root), paths.instance, rootless=is_rootless(top.text("rootless")))
    return COMMANDS[name](runtime, command)


def _log(top: Words, message: str) -> None:
    """Where --log says, as runc writes it; whoever started us reads the reason there."""
    path = top.text("log")
    if not path:
        return
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if top.text("log-format") == "json":
        line = json.dumps({"level": "error", "msg": message, "time": moment})
    else:
        line = f'time="{moment}" level=error msg={json.dumps(message)}'
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(line + "\n")
    except OSError as error:
        sys.stderr.write(f"stowage-runtime: --log {path}: {error.strerror}\n")


def _create_options(words: Words) -> dict[str, Any]:
    return {
        "pid_file": words.text("pid-file"),
        "console_socket": words.text("console-socket"),
        "no_pivot": words.flag("no-pivot"),
        "preserve_fds": words.number("preserve-fds"),
    }


def _create(runtime: Runtime, words: Words) -> int:
    runtime.create(words.identity(), words.text("bundle", "."), **_create_options(words))
    return 0


def _run_container(runtime: Runtime, words: Words) -> int:
    options = _create_options(words)
    return runtime.run(words.identity(), words.text("bundle", "."), detach=words.flag("detach"), **options)


def _start(runtime: Runtime, words: Words) -> int:
    runtime.start(words.identity())
    return 0


def _state(runtime: Runtime, words: Words) -> int:
    return _write(runtime.state(words.identity()).told())


def _kill(runtime: Runtime, words: Words) -> int:
    identity = words.identity(2)
    number = parse_signal("kill", words.rest[1] if len(words.rest) > 1 else "SIGTERM")
    runtime.kill(identity, number, everyone=words.flag("all"))
    return 0


def _delete(runtime: Runtime, words: Words) -> int:
    runtime.delete(words.identity(), force=words.flag("force"))
    return 0


def _list(runtime: Runtime, words: Words) -> int:
    told = [state.told() for state in list_states(runtime.root)]
    if words.flag("quiet"):
        sys.stdout.write("".join(f"{item['id']}\n" for item in told))
        return 0
    if words.text("format") == "json":
        return _write(told)
    rows = [("ID", "PID", "STATUS", "BUNDLE", "CREATED")]
    rows += [(t["id"], str(t["pid"]), t["status"], t["bundle"], t["created"]) for t in told]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for row in rows:
        sys.stdout.write("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() + "\n")
    return 0


def _ps(runtime: Runtime, words: Words) -> int:
    pids = runtime.processes(words.identity(None))
    if words.text("format") == "json":
        return _write(pids)
    sys.stdout.write("PID\n" + "".join(f"{pid}\n" for pid in pids))
    return 0


def _pause(runtime: Runtime, words: Words) -> int:
    runtime.freeze(words.identity(), True)
    return 0


def _resume(runtime: Runtime, words: Words) -> int:
    runtime.freeze(words.identity(), False)
    return 0


def _spec(_runtime: Runtime, words: Words) -> int:
    path = os.path.join(words.text("bundle", "."), "config.json")
    spec = example_spec()
    if words.flag("rootless"):
        convert_spec(spec)
    try:
        with open(path, "x", encoding="utf-8") as file:
            json.dump(spec, file, indent=1)
    except FileExistsError as error:
        raise InvalidOption("spec --bundle", path, "a directory without config.json; remove that first") from error
    return 0


def _features(_runtime: Runtime, _words: Words) -> int:
    return _write(features())


def _exec(runtime: Runtime, words: Words) -> int:
    identity = words.identity(None)
    state = runtime.state(identity)
    if words.text("process"):
        process = _read_process(words.text("process"))
    else:
        if len(words.rest) < 2:
            raise InvalidOption("exec", identity, "a program after the id, or --process FILE")
        env = dict(item.partition("=")[::2] for item in words.options.get("env", []))
        user, cwd = words.text("user"), words.text("cwd")
        process = plan_entered_process(state, read_spec(state), words.rest[1:], env=env, cwd=cwd, user=user)
        process["terminal"] = words.flag("tty")
        for name in words.options.get("cap", []):
            for names in process.get("capabilities", {}).values():
                names.append(name)
        groups = process["user"].setdefault("additionalGids", [])
        groups.extend(int(gid) for gid in words.options.get("additional-gids", []))
        if words.flag("no-new-privs"):
            process["noNewPrivileges"] = True
    return runtime.enter(
        identity,
        process,
        pid_file=words.text("pid-file"),
        console_socket=words.text("console-socket"),
        detach=words.flag("detach"),
        preserve_fds=words.number("preserve-fds"),
    )


def _read_process(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            return dict(json.load(file))
    except (OSError, ValueError, TypeError) as error:
        raise InvalidOption("exec --process", path, f"a file with an OCI process in JSON ({error})") from error


def _write(value: Any) -> int:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")
    return 0


COMMANDS: dict[str, Command] = {
    "create": _create,
    "start": _start,
    "run": _run_container,
    "exec": _exec,
    "state": _state,
    "kill": _kill,
    "delete": _delete,
    "list": _list,
    "ps": _ps,
    "pause": _pause,
    "resume": _resume,
    "spec": _spec,
    "features": _features,
}
