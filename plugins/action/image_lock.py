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

from ansible.plugins.action import ActionBase

from ansible_collections.stowage.engine.plugins.module_utils._ansible.controller import (
    LOCK_SPEC,
    open_depot,
    parse_source,
    write_lock,
)
from ansible_collections.stowage.engine.plugins.module_utils._ansible.run import assumption_of, diff_of, failure_of
from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import EngineError, InvalidOption, NotFound
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.lock import parse_lock, pinned_name
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.reference import parse_reference
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.lock import plan_lock


class ActionModule(ActionBase):
    """Every host of a play may run this at once: the first resolves and writes, the others find it written."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        params = self.validate_argument_spec(LOCK_SPEC)[1]
        self._warnings: list[str] = []
        path = self._loader.path_dwim(params["path"])
        try:
            with self._alone(os.path.dirname(path)):
                return self._lock(params, path)
        except EngineError as error:
            return {"failed": True, **failure_of(error)}

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
        told = {name: _told(name, locked[name]) for name in sorted(locked)}
        return {
            **({"warnings": self._warnings} if self._warnings else {}),
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
        try:
            return open_depot(params).digest(source, self._warnings.append)
        except NotFound as error:
            if not self._task.check_mode:
                raise
            self._warnings.append(assumption_of(error))
            return ""

    @contextlib.contextmanager
    def _alone(self, directory: str) -> Iterator[None]:
        """One at a time writes lock files of a directory. Its own flock(2): nothing is left beside them."""
        try:
            fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            if self._task.check_mode and isinstance(error, FileNotFoundError):
                self._warnings.append(assumption_of(NotFound("directory", directory, where="on the controller")))
                yield
                return
            expected = f"a file in a directory that is there ({error.strerror})"
            raise InvalidOption("path", directory, expected) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


def _told(name: str, digest: str) -> dict[str, str]:
    """A name of the file. What an earlier task is to push has no digest yet, and is had under its name alone."""
    return {"digest": digest, "pinned": pinned_name(name, digest) if digest else name}


def _read(path: str) -> dict[str, str]:
    try:
        with open(path, "rb") as file:
            return parse_lock(file.read(), path)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InvalidOption("path", path, f"a file that can be read ({error.strerror})") from error
