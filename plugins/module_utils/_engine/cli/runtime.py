# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``stowage-runtime``: an OCI runtime with the command line that runc has, for podman, containerd and people.

Errors go to stderr and, with --log, to a file, as text or as JSON; the exit status is 1 then (exec: 255), else 0, or
the program's own for run and exec. A command imports what it needs and no more: most of a start is Python's imports.
"""

from __future__ import annotations

import os
import sys

from ..errors import EngineError, InvalidOption, printable
from ..linux.lean import compact, dumps, indented
from ..linux.process import in_user_namespace
from ..paths import Paths
from ..runtime.oci import Runtime
from .oci_options import GLOBAL, OPTIONS, STOP_AT_WORD, Words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..runtime.oci_create import Creation

    Command = Callable[[Runtime, Words], int]

VERSION = "0.1.0"
# Whose command line and log messages this follows; who asks for a version finds out by its name.
RUNC_VERSION = "1.5.1"
SPEC_VERSION = "1.3.0"


def main(words: Sequence[str]) -> int:
    """Run one command; returns the exit status."""
    top = Words("stowage-runtime", (), {})
    try:
        top = Words("stowage-runtime", words, GLOBAL, stop_at_word=True)
        return _run(top)
    except EngineError as error:
        message = str(error)
    except OSError as error:
        message = f"{error.strerror}: {error.filename}" if error.filename else str(error)
    if not message.isprintable():
        message = printable(message)  # a line is a line, whatever a configuration has made part of it
    write_log(top, "error", message)
    sys.stderr.write(f"stowage-runtime: {message}\n")
    # Who calls exec must tell our failure from the program's.
    return 255 if top.rest[:1] == ["exec"] else 1


def _run(top: Words) -> int:
    if top.flag("version"):
        sys.stdout.write(f"stowage-runtime version {VERSION}, like runc version {RUNC_VERSION}\n")
        sys.stdout.write(f"commit: {_digest()}\nspec: {SPEC_VERSION}\n")
        return 0
    name = top.rest[0] if top.rest else "help"
    if name not in COMMANDS and name != "help":
        raise InvalidOption("stowage-runtime", name, f"a command: {', '.join(COMMANDS)} (No help topic for {name!r})")
    stop = name in STOP_AT_WORD
    command = Words(name, top.rest[1:], OPTIONS.get(name, {}), stop_at_word=stop)
    if name == "help" or top.flag("help") or command.flag("help"):
        from .oci_help import command_help, general_help  # for people, who have the time

        about = command.rest[0] if name == "help" and command.rest else name
        alone = about not in COMMANDS or top.flag("help")
        sys.stdout.write(general_help() if alone else command_help(about))
        return 0
    if top.text("log-format", "text") not in ("text", "json"):
        raise InvalidOption("stowage-runtime --log-format", top.text("log-format"), "text or json")
    return COMMANDS[name](_runtime(top), command)


def _runtime(top: Words) -> Runtime:
    paths = Paths.from_environment()
    root, rootless = top.text("root"), False
    if os.geteuid() != 0 or top.text("rootless") or in_user_namespace():
        from ..runtime.rootless import default_root, is_rootless  # most are run by root

        root, rootless = root or default_root(), is_rootless(top.text("rootless"))
    root = os.path.abspath(root or paths.runtime_root)
    if root == "/":
        raise InvalidOption("stowage-runtime --root", top.text("root"), "a directory, not /")
    runtime = Runtime(root, paths.instance)
    runtime.given = frozenset(top.options)
    runtime.rootless = rootless
    runtime.criu = top.text("criu", "criu")
    runtime.warn = lambda message: write_log(top, "warning", message)
    if top.flag("debug"):
        runtime.debug = lambda message: write_log(top, "debug", message)
    return runtime


def _digest() -> str:
    """Of the installed engine, whose directory is named after it; a single file has none."""
    directory = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    name = os.path.basename(directory)
    return name if len(name) > 11 and set(name) <= set("0123456789abcdef") else "none"


def write_log(top: Words, level: str, message: str) -> None:
    """Where --log says, as runc writes it; whoever started us reads the reason there. Without it, debug on stderr."""
    path = top.text("log")
    if not path and level == "error":
        return
    import time  # for what is rarely told

    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if top.text("log-format") == "json":
        line = compact({"level": level, "msg": message, "time": moment}) + "\n"
    else:
        line = f'time="{moment}" level={level} msg={dumps(message)}\n'
    if not path:
        sys.stderr.write(line)
        return
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(line)
    except OSError as error:
        sys.stderr.write(f"stowage-runtime: --log {path}: {error.strerror}\n")


def _create(runtime: Runtime, words: Words) -> int:
    from ..runtime.oci_create import create  # a third of the engine

    create(runtime, words.identity(), words.text("bundle", "."), _creation(words))
    return 0


def _run_container(runtime: Runtime, words: Words) -> int:
    from ..runtime.oci_create import run  # a third of the engine

    creation = _creation(words)
    creation.detach, creation.keep = words.flag("detach"), words.flag("keep")
    creation.subreaper = not words.flag("no-subreaper")
    return run(runtime, words.identity(), words.text("bundle", "."), creation)


def _creation(words: Words) -> Creation:
    from ..runtime.oci_create import Creation  # a third of the engine

    creation = Creation()
    creation.pid_file = words.text("pid-file")
    creation.console_socket = words.text("console-socket")
    creation.pidfd_socket = words.text("pidfd-socket")
    creation.preserve_fds = words.number("preserve-fds")
    creation.no_pivot = words.flag("no-pivot")
    creation.no_new_keyring = words.flag("no-new-keyring")
    return creation


def _start(runtime: Runtime, words: Words) -> int:
    runtime.start(words.identity())
    return 0


def _state(runtime: Runtime, words: Words) -> int:
    told = runtime.state(words.identity()).told()
    sys.stdout.write(indented(told, "  ") + "\n")
    return 0


def _kill(runtime: Runtime, words: Words) -> int:
    identity = words.identity(2)
    runtime.kill(identity, words.rest[1] if len(words.rest) > 1 else "SIGTERM", everyone=words.flag("all"))
    return 0


def _delete(runtime: Runtime, words: Words) -> int:
    runtime.delete(words.identity(), force=words.flag("force"))
    return 0


def _rarely(name: str) -> Command:
    def run(runtime: Runtime, words: Words) -> int:
        from .oci_commands import COMMANDS as RARE  # not for the commands that a start is made of

        return RARE[name](runtime, words)

    return run


COMMANDS: dict[str, Command] = {
    "create": _create,
    "start": _start,
    "run": _run_container,
    "state": _state,
    "kill": _kill,
    "delete": _delete,
    **{
        name: _rarely(name)
        for name in ("exec", "list", "ps", "pause", "resume", "spec", "features", "update", "events")
    },
    **{name: _rarely(name) for name in ("checkpoint", "restore")},
}
