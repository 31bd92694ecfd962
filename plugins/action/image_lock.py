# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action image_lock: write down, on the controller, which digest an image name means. No host is connected to."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.stowage.engine.plugins.module_utils._ansible.controller import (
    LOCK_SPEC,
    open_depot,
    parse_source,
    write_lock,
)
from ansible_collections.stowage.engine.plugins.module_utils._ansible.run import diff_of
from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import EngineError, InvalidOption
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.lock import parse_lock, pinned_name
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.reference import parse_reference
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.lock import plan_lock


class ActionModule(ActionBase):
    """Every host of a play may run this at once: the first resolves and writes, the others find it written."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        params = self.validate_argument_spec(LOCK_SPEC)[1]
        path = self._loader.path_dwim(params["path"])
        try:
            with _alone(os.path.dirname(path)):
                return self._lock(params, path)
        except EngineError as error:
            raise AnsibleActionFail(str(error)) from error

    def _lock(self, params: Mapping[str, Any], path: str) -> dict[str, Any]:
        current = _read(path)
        desired: dict[str, str | None] = {}
        for name in params["names"]:
            reference = parse_reference("names", name)
            if reference.digest:
                raise InvalidOption("names", name, "a name with a tag: a digest is locked by itself")
            desired[reference.name] = (
                None if params["state"] == "absent" else self._digest(params, reference.name, current)
            )
        changes = list(plan_lock(desired, current))
        locked = {name: digest for name, digest in {**current, **desired}.items() if digest is not None}
        if changes and not self._task.check_mode:
            write_lock(path, locked)
        told = {name: {"digest": locked[name], "pinned": pinned_name(name, locked[name])} for name in sorted(locked)}
        return {
            "changed": bool(changes),
            "changes": [change.describe() for change in changes],
            "diff": diff_of(changes),
            "path": path,
            "images": told,
        }

    def _digest(self, params: Mapping[str, Any], name: str, current: Mapping[str, str]) -> str:
        if name in current and not params["update"]:
            return current[name]
        source = parse_source(params, name, task=str(self._task._uuid), check=self._task.check_mode)
        return open_depot(params).digest(source)


def _read(path: str) -> dict[str, str]:
    try:
        with open(path, "rb") as file:
            return parse_lock(file.read(), path)
    except FileNotFoundError:
        return {}


@contextlib.contextmanager
def _alone(directory: str) -> Iterator[None]:
    """One at a time writes lock files of a directory. Its own flock(2): nothing is left beside them."""
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise InvalidOption("path", directory, f"a file in a directory that is there ({error.strerror})") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
