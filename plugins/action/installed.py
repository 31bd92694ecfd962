# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module's action: run it from the engine that the host has installed, else ship it whole; see _ansible/installed.py.

meta/runtime.yml names this for every module that the engine has. What Ansible does around a module (connection,
privileges, environment, check mode, temporary files) is as for any other.
"""

from __future__ import annotations

import os
from typing import Any

from ansible import constants
from ansible.plugins.action.normal import ActionModule as NormalAction

from ansible_collections.stowage.engine.plugins.module_utils._ansible.installed import MISSING, VARIABLE
from ansible_collections.stowage.engine.plugins.module_utils._ansible.sources import engine_digest, engine_files

_THIS = "stowage.engine.installed"


class ActionModule(NormalAction):
    """As for any module, but for what is sent."""

    def _execute_module(
        self, *args: Any, task_vars: dict[str, Any] | None = None, wrap_async: bool = False, **more: Any
    ) -> dict[str, Any]:
        """Run the task's module. One that runs in the background is sent whole: nobody waits for its answer."""
        name = self._task.resolved_action or self._task.action
        if not wrap_async and name != _THIS:
            environment = self._task.environment
            self._task.environment = [*(environment or []), {VARIABLE: f"{name.rpartition('.')[2]}@{_digest()}"}]
            try:
                result: dict[str, Any] = super()._execute_module(
                    module_name=_THIS, module_args=more.get("module_args"), task_vars=task_vars
                )
            finally:
                self._task.environment = environment
            if not result.get(MISSING):
                return result
        whole: dict[str, Any] = super()._execute_module(*args, task_vars=task_vars, wrap_async=wrap_async, **more)
        return whole


def _digest() -> str:
    """The digest of what this controller has, computed once a run: Ansible forks for every task."""
    file = os.path.join(constants.DEFAULT_LOCAL_TMP, "stowage-engine-digest")
    try:
        with open(file, encoding="ascii") as kept:
            return kept.read()
    except FileNotFoundError:
        digest = engine_digest(engine_files())
        with open(f"{file}.{os.getpid()}", "w", encoding="ascii") as aside:
            aside.write(digest)
        os.rename(aside.name, file)
        return digest
