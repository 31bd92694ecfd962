# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``stowage-runtime exec``: one more process in a container, as its options or a file with an OCI process say."""

from __future__ import annotations

import os

from ..errors import InvalidOption
from ..linux.lean import loads
from ..runtime.exec import resolve_user_in
from ..runtime.oci_exec import Entry, enter
from ..runtime.seals import is_entered_by_us

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..runtime.oci import Runtime
    from ..runtime.state import State
    from .oci_options import Words


# In the order of runtime-spec's config.md.
_OF_THE_CONTAINER = (
    *("rlimits", "apparmorProfile", "capabilities", "selinuxLabel", "ioPriority", "scheduler", "execCPUAffinity"),
)


def execute(runtime: Runtime, words: Words) -> int:
    """Enter the container; the program's exit status, or 0 where it is left alone."""
    identity = words.identity(None)
    state = runtime.enterable(identity, ignore_paused=words.flag("ignore-paused"))
    file = words.text("process")
    if file and not os.path.isfile(file):
        _seal()  # now, because what is no file is not read twice
    process = _read_process(state, file) if file else _plan_process(state, words)
    if is_entered_by_us(state.spec(), process):
        _seal()
    entry = Entry()
    entry.pid_file = words.text("pid-file")
    entry.console_socket = words.text("console-socket")
    entry.pidfd_socket = words.text("pidfd-socket")
    entry.detach = words.flag("detach")
    entry.preserve_fds = words.number("preserve-fds")
    entry.subcgroups = parse_subcgroups(words.list("cgroup"))
    return enter(runtime, state, process, entry)


def _seal() -> None:
    from ..linux.sealed import run_sealed  # where it is Python that enters, which next to nobody asks for

    run_sealed()


def _plan_process(state: State, words: Words) -> dict[str, Any]:
    """The container's own process, with what the options say."""
    if len(words.rest) < 2:
        raise InvalidOption("exec", words.rest[0], "a program after the id, or --process FILE")
    own = state.spec().get("process") or {"cwd": "/"}
    process: dict[str, Any] = {**own, "args": words.rest[1:], "terminal": words.flag("tty")}
    process["env"] = [*(process.get("env") or ()), *words.list("env")]
    for option, name in (("cwd", "cwd"), ("apparmor", "apparmorProfile"), ("process-label", "selinuxLabel")):
        process[name] = words.text(option) or process.get(name) or ""
    if "no-new-privs" in words.options:
        process["noNewPrivileges"] = words.flag("no-new-privs")
    _add_capabilities(process, words.list("cap"))
    user = {"uid": 0, "gid": 0, **(process.get("user") or {})}
    if words.text("user"):
        user.update(_plan_user(state, words.text("user")))
    gids = [_parse_gid(text) for text in words.list("additional-gids")]
    process["user"] = {**user, "additionalGids": [*(user.get("additionalGids") or ()), *gids]}
    return process


def _plan_user(state: State, text: str) -> dict[str, Any]:
    """Numbers are taken as they are; the group stays the container's where none is given. Names are looked up in it."""
    uid, colon, gid = text.partition(":")
    if uid.isascii() and uid.isdigit() and (not colon or (gid.isascii() and gid.isdigit())):
        return {"uid": int(uid), **({"gid": int(gid)} if colon else {})}
    found = resolve_user_in(state.pid, text)
    return {"uid": found.uid, "gid": found.gid, "additionalGids": found.groups}


def _parse_gid(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise InvalidOption("exec --additional-gids", text, "the number of a group")
    return int(text)


def _add_capabilities(process: dict[str, Any], names: list[str]) -> None:
    """To the sets that a program without file capabilities can use; ambient ones need inheritable ones beside them."""
    if not names:
        return
    sets = {name: list(held or ()) for name, held in (process.get("capabilities") or {}).items()}
    kinds = ["bounding", "effective", "permitted", *(["ambient"] if sets.get("inheritable") else [])]
    for kind in kinds:
        sets[kind] = [*sets.get(kind, ()), *(name for name in names if name not in sets.get(kind, ()))]
    process["capabilities"] = sets


def parse_subcgroups(texts: list[str]) -> dict[str, str]:
    """``--cgroup [CONTROLLER[,CONTROLLER]:]PATH``: path by controller; "" stands for all."""
    paths: dict[str, str] = {}
    for text in texts:
        controllers, colon, path = text.partition(":")
        if not colon:
            if len(texts) != 1:
                raise InvalidOption("exec --cgroup", text, "CONTROLLER:PATH, because there are several")
            return {"": text}
        for name in controllers.split(","):
            if not name or name in paths:
                raise InvalidOption("exec --cgroup", text, "each controller once, before the colon")
            paths[name] = path
    return paths


def _read_process(state: State, path: str) -> dict[str, Any]:
    """What it says nothing of is as the container's own process has it, as with runc: not unconfined, above all."""
    try:
        with open(path, "rb") as file:
            process = dict(loads(file.read()))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise InvalidOption("exec --process", path, f"a file with an OCI process in JSON ({error})") from error
    own = state.spec().get("process") or {}
    process.update(
        {name: own[name] for name in _OF_THE_CONTAINER if name in own and process.get(name) in (None, "", [])}
    )
    return process
