# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of ``stowage-runtime`` that no start of a container waits for."""

from __future__ import annotations

import os
import sys

from ..errors import InvalidOption, RuntimeFailed
from ..linux.lean import compact, indented
from ..runtime.state import list_states

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..runtime.oci import Runtime
    from .oci_options import Words


def _exec(runtime: Runtime, words: Words) -> int:
    from .oci_exec import execute  # all that a process is

    return execute(runtime, words)


def _list(runtime: Runtime, words: Words) -> int:
    words.none()
    form = _format(words)
    if "root" in runtime.given and not os.path.isdir(runtime.root):
        raise RuntimeFailed(f"--root {runtime.root}: no such directory")
    told = [{**state.told(), "owner": state.owner()} for state in list_states(runtime.root)]
    if words.flag("quiet"):
        sys.stdout.write("".join(f"{item['id']}\n" for item in told))
    elif form == "json":
        sys.stdout.write(compact(told) + "\n")
    else:
        _write_table(told)
    return 0


def _write_table(told: list[dict[str, Any]]) -> None:
    names = ("id", "pid", "status", "bundle", "created", "owner")
    rows = [tuple(name.upper() for name in names), *(tuple(str(item[name]) for name in names) for item in told)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(names))]
    for row in rows:
        sys.stdout.write("   ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() + "\n")


def _format(words: Words) -> str:
    form = words.text("format", "table")
    if form not in ("table", "json"):
        raise InvalidOption(f"{words.where} --format", form, "table or json")
    return form


def _ps(runtime: Runtime, words: Words) -> int:
    identity, form = words.identity(None), _format(words)
    pids = runtime.processes(identity)
    if form == "json":
        sys.stdout.write(compact(pids) + "\n")
        return 0
    from ..linux.process import run_program  # ps(1) knows all that one may want to see

    lines = run_program(["ps", *(words.rest[1:] or ["-ef"])]).decode(errors="replace").splitlines()
    titles = lines[0].split() if lines else []
    if "PID" not in titles:
        raise InvalidOption("ps", " ".join(words.rest[1:]), "options of ps(1) that show the column PID")
    column, wanted = titles.index("PID"), {str(pid) for pid in pids}
    chosen = [line for line in lines[1:] if len(line.split()) > column and line.split()[column] in wanted]
    sys.stdout.write("".join(f"{line}\n" for line in (lines[0], *chosen)))
    return 0


def _pause(runtime: Runtime, words: Words) -> int:
    runtime.freeze(words.identity(), True)
    return 0


def _resume(runtime: Runtime, words: Words) -> int:
    runtime.freeze(words.identity(), False)
    return 0


def _spec(_runtime: Runtime, words: Words) -> int:
    from ..runtime.config.example import example_spec, rootless_spec  # for this command alone

    words.none()
    path = os.path.join(words.text("bundle", "."), "config.json")
    spec = rootless_spec() if words.flag("rootless") else example_spec()
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(indented(spec, "\t") + "\n")
    except FileExistsError as error:
        raise InvalidOption("spec --bundle", path, "a directory without config.json; remove that first") from error
    return 0


def _features(_runtime: Runtime, words: Words) -> int:
    from ..runtime.config.features import features  # for this command alone

    words.none()
    sys.stdout.write(indented(features(), "    ") + "\n")
    return 0


def _update(runtime: Runtime, words: Words) -> int:
    from .update import update  # for this command alone

    return update(runtime, words)


def _events(runtime: Runtime, words: Words) -> int:
    from .events import events  # for this command alone

    return events(runtime, words)


def _checkpoint(runtime: Runtime, words: Words) -> int:
    from .checkpoint import checkpoint  # for this command alone

    return checkpoint(runtime, words)


def _restore(runtime: Runtime, words: Words) -> int:
    from .checkpoint import restore  # for this command alone

    return restore(runtime, words)


COMMANDS: dict[str, Callable[[Runtime, Words], int]] = {
    "exec": _exec,
    "list": _list,
    "ps": _ps,
    "pause": _pause,
    "resume": _resume,
    "spec": _spec,
    "features": _features,
    "checkpoint": _checkpoint,
    "restore": _restore,
    "update": _update,
    "events": _events,
}
