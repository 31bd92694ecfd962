# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action image_transfer: send an image from the controller to a host, and of it only the blobs that the host lacks.

The host is asked what it lacks (module image_transfer, which then only looks), the blobs are put into a directory of
the login user by the connection's own means, and the module takes them from there. A blob goes as a file or, if it is
large or a part of it has come before, in pieces, each named after the offset where it begins.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shlex
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

from ansible import constants
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.utils.display import Display

from ansible_collections.stowage.engine.plugins.action.installed import ActionModule as InstalledAction
from ansible_collections.stowage.engine.plugins.module_utils._ansible.controller import (
    open_depot,
    parse_source,
    progress_of,
)
from ansible_collections.stowage.engine.plugins.module_utils._ansible.nouns.image_limits import LIMIT_OPTIONS
from ansible_collections.stowage.engine.plugins.module_utils._ansible.nouns.image_transfer import ARGUMENT_SPEC
from ansible_collections.stowage.engine.plugins.module_utils._ansible.run import assumption_of, diff_of, failure_of
from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import EngineError, InvalidOption, NotFound
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.image import Image
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.reference import normalise
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.transfer import (
    Offer,
    Transfer,
    arrived,
    encode_offer,
    parse_piece_name,
    piece_name,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.transfer import TransferImage

# Of a connection that breaks, what came before is kept; pieces are for progress, and small enough to be copied aside.
_PIECE = 64 << 20
_STALE = 7  # days after which pieces that nobody came back for are removed


class ActionModule(InstalledAction):
    """The controller's end."""

    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        params = self.validate_argument_spec(ARGUMENT_SPEC)[1]
        self._vars = task_vars or {}
        self._limits = {option: params[option] for option in LIMIT_OPTIONS}
        try:
            for option in ("offer", "incoming"):
                if params[option] is not None:
                    raise InvalidOption(option, params[option], "nothing: only this action tells the host so")
            params["name"] = normalise("name", params["name"])
            if params["src"]:
                params["src"] = self._find(params["src"])
            return self._transfer(params)
        except EngineError as error:
            if self._task.check_mode and isinstance(error, NotFound):
                return _unknown(params["name"], error)
            return {"failed": True, **failure_of(error), "msg": f"on the controller: {error}"}
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)

    def _find(self, src: str) -> str:
        try:
            return str(self._find_needle("files", src))
        except AnsibleError as error:
            if self._task.check_mode:
                raise NotFound("archive", src, where="on the controller") from error
            where = "in files/ of the role or beside the playbook, where the path is not absolute"
            raise InvalidOption("src", src, f"an archive or a layout that is there, {where}") from error

    def _transfer(self, params: Mapping[str, Any]) -> dict[str, Any]:
        self._depot = open_depot(params)
        self._source = parse_source(params, params["name"], task=str(self._task._uuid), check=self._task.check_mode)
        offer = self._depot.offer(self._source, self._machine)
        looked = self._call(offer)
        if looked.get("error") == "Untrusted" and (signatures := self._depot.signatures(self._source, offer)):
            offer = Offer(**{**vars(offer), "signatures": signatures})
            looked = self._call(offer)
        if looked.get("failed") or not looked["changed"]:
            return {**looked, "sent": {"blobs": 0, "bytes": 0}}
        lacking = _lacking(looked)
        if self._task.check_mode:
            pieces = self._incoming(make=False)[1] if lacking else {}
            return {**looked, "sent": _count(_to_send(lacking, pieces))}
        with self._alone():
            return self._send_all(offer, lacking)

    def _send_all(self, offer: Offer, lacking: dict[str, int]) -> dict[str, Any]:
        sent: dict[str, tuple[int, int]] = {}
        result: dict[str, Any] = {}
        for suspect in (False, True):  # what came earlier may be damaged: then all of it is sent once more
            incoming, pieces = self._incoming(make=True)
            sending = _to_send(lacking, pieces)
            files = self._depot.hold(self._source, offer, list(sending), suspect=suspect, show=self._show)
            self._send(incoming, sending, files)
            sent.update(sending)
            result = self._call(offer, incoming)
            if result.get("error") != "DigestMismatch":
                break
            lacking = _lacking(self._call(offer))
        if not result.get("failed"):
            self._clean(incoming)
        return {**result, "sent": _count(sent)}

    def _call(self, offer: Offer, incoming: str = "") -> dict[str, Any]:
        """The module on the host; without ``incoming`` it looks. No secret of the task goes there."""
        arguments = {"name": offer.name, "offer": encode_offer(offer), **self._limits}
        arguments.update({"incoming": incoming} if incoming else {})
        result: dict[str, Any] = self._execute_module(
            module_name=self._task.resolved_action or self._task.action, module_args=arguments, task_vars=self._vars
        )
        result.pop("invocation", None)  # it would show all of the offer
        return result

    # The connection -----------------------------------------------------------------------------

    def _machine(self) -> str:
        known = (self._vars.get("ansible_facts") or {}).get("architecture")
        return str(known) if known else self._shell("uname -m").strip()

    def _shell(self, command: str) -> str:
        """What a command says that the login user runs, without becoming another."""
        done = self._low_level_execute_command(f"/bin/sh -c {shlex.quote(command)}", sudoable=False)
        if done["rc"] != 0:
            raise AnsibleActionFail(f"the host could not do {command!r}: {(done['stderr'] or done['stdout']).strip()}")
        return str(done["stdout"])

    def _incoming(self, *, make: bool) -> tuple[str, dict[str, dict[int, int]]]:
        """The directory where blobs arrive, and what is there: digest, offset and size of each piece."""
        base = str(self.get_shell_option("remote_tmp", default="~/.ansible/tmp"))
        quoted = f'"$HOME"/{shlex.quote(base[2:])}' if base.startswith("~/") else shlex.quote(base)
        enter = f"cd {quoted}/stowage-incoming"
        if make:
            enter = f"umask 077 && mkdir -p {quoted}/stowage-incoming && {enter}"
        else:
            enter += " 2>/dev/null || exit 0"
        show = 'pwd -P; for f in *; do [ ! -f "$f" ] || echo "$f $(wc -c <"$f")"; done'
        directory, *lines = self._shell(f"{enter}\n{show}").splitlines() or [""]
        pieces: dict[str, dict[int, int]] = {}
        for line in lines:
            name, _space, size = line.partition(" ")
            piece = parse_piece_name(name)
            if piece and size.strip().isdecimal():
                pieces.setdefault(piece[0], {})[piece[1]] = int(size)
        return directory, pieces

    def _send(self, incoming: str, sending: Mapping[str, tuple[int, int]], files: Mapping[str, str]) -> None:
        if not sending:
            return
        what = f"sending {self._source.name}, {len(sending)} blobs"
        progress = progress_of(what, _count(sending)["bytes"], self._show)
        counter = progress.counter()
        for digest, (start, size) in sending.items():
            for offset in range(start, size, _PIECE):
                length = min(_PIECE, size - offset)
                with _piece(files[digest], offset, length, size) as path:
                    try:
                        self._transfer_file(path, f"{incoming}/{piece_name(digest, offset)}")
                    except AnsibleError as error:
                        told = f"{digest} broke off: {error}; run again to send the rest"
                        raise AnsibleActionFail(f"sending {self._source.name}: blob {told}") from error
                counter.add(length)
                progress.tick()
        progress.end()

    def _show(self, line: str) -> None:
        """A line for whoever watches the play."""
        Display().display(f"[{self._host()}] {line}")

    def _clean(self, incoming: str) -> None:
        where = shlex.quote(incoming)
        self._shell(f"find {where} -type f -mtime +{_STALE} -exec rm -f {{}} + ; rmdir {where} 2>/dev/null; true")

    def _host(self) -> str:
        return str(self._task.delegate_to or self._vars.get("inventory_hostname") or "host")

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One transfer to a host at a time: two would write into the same pieces."""
        directory = os.path.join(self._depot.paths.run_root, "hosts")
        os.makedirs(directory, mode=0o700, exist_ok=True)
        name = hashlib.sha256(self._host().encode()).hexdigest()[:32]
        with open(os.path.join(directory, name), "wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _unknown(name: str, error: NotFound) -> dict[str, Any]:
    """What check mode says of an image that an earlier task is to push, or to put into an archive: that it comes,
    whatever the host has now."""
    changes = [TransferImage(Transfer(Image(name), Offer(name, "", "", b"", b"")), None)]
    return {
        "warnings": [assumption_of(error)],
        "changed": True,
        "changes": [change.describe() for change in changes],
        "diff": diff_of(changes),
        "image": {},
        "sent": _count({}),
    }


def _lacking(looked: Mapping[str, Any]) -> dict[str, int]:
    """Digest to size of the blobs that the host said it lacks."""
    return {blob["digest"]: blob["size"] for change in looked["changes"] for blob in change["after"]["sent"]}


def _to_send(lacking: Mapping[str, int], pieces: Mapping[str, Mapping[int, int]]) -> dict[str, tuple[int, int]]:
    """Digest to (where to go on, size) of the blobs that have not come whole."""
    sending = {}
    for digest, size in lacking.items():
        there = pieces.get(digest, {})
        start = sum(there[offset] for offset in arrived(there, size))
        if start < size:
            sending[digest] = (start, size)
    return sending


def _count(sending: Mapping[str, tuple[int, int]]) -> dict[str, int]:
    return {"blobs": len(sending), "bytes": sum(size - start for start, size in sending.values())}


@contextlib.contextmanager
def _piece(path: str, offset: int, length: int, size: int) -> Iterator[str]:
    """A file that holds that part of a blob: the blob itself where it is all of it."""
    if (offset, length) == (0, size):
        yield path
        return
    with tempfile.NamedTemporaryFile(dir=constants.DEFAULT_LOCAL_TMP, prefix="stowage-piece-") as aside:
        with open(path, "rb") as blob:
            blob.seek(offset)
            while length and (chunk := blob.read(min(length, 1 << 20))):
                aside.write(chunk)
                length -= len(chunk)
        aside.flush()
        yield aside.name
