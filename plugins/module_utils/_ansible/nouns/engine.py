# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The noun ``engine``: the engine itself and its commands on a host, which module ``host`` manages."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

from ..._engine.errors import Conflict, InvalidOption
from ..._engine.host import Host
from ..._engine.model.engine import Engine
from ..._engine.paths import Paths
from ..._engine.plan.change import Change, plain
from ..._engine.plan.engine import InstallEngine, plan_engine
from ..._engine.preflight import FAILED, WARNING, observe_findings
from ..install import apply_install, apply_uninstall, observe_engine
from ..run import Noun, Wanted, run
from ..sources import engine_digest, engine_files

ARGUMENT_SPEC: dict[str, Any] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "directory": {"type": "path", "default": "/usr/local/bin"},
}


def engine_wanted(params: Mapping[str, Any]) -> Wanted:
    """The module's parameters as {"engine": Engine, or None where it is to be absent}."""
    if not os.path.isabs(params["directory"]):
        raise InvalidOption("directory", params["directory"], "an absolute path")
    if params["state"] == "absent":
        return {"engine": None}
    return {"engine": Engine(engine_digest(engine_files()), params["directory"])}


class EngineNoun(Noun):
    name = "engine"
    uses_engine = False  # it is what this noun installs

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def observe(self, host: Host) -> Mapping[str, Engine]:
        found = observe_engine(host.paths, self.directory)
        return {"engine": Engine(**found)} if found else {}

    def resolve(self, host: Host, wanted: Wanted) -> Wanted:
        if wanted["engine"] is None and (names := sorted(host.observe_containers())):
            raise Conflict(f"this host still has containers ({', '.join(names)}); remove them before the engine")
        return wanted

    def plan(self, desired: Wanted, current: Mapping[str, Any]) -> Iterable[Change]:
        return plan_engine(desired["engine"], current.get("engine"))

    def apply(self, host: Host, changes: Iterable[Change]) -> None:
        for change in changes:
            if isinstance(change, InstallEngine):
                apply_install(host.paths, change.desired.directory)
            else:
                apply_uninstall(host.paths, self.directory)


# The modules --------------------------------------------------------------------------------------


def run_host() -> NoReturn:
    module = AnsibleModule(ARGUMENT_SPEC, supports_check_mode=True)
    run(module, EngineNoun(module.params["directory"]), engine_wanted)


def run_host_info() -> NoReturn:
    """Return the preflight's findings."""
    module = AnsibleModule({}, supports_check_mode=True)
    findings = observe_findings(Paths.from_environment().instance)
    lines = {
        status: [f"{f.check}: {f.found}; {f.advice}" for f in findings if f.status == status]
        for status in (FAILED, WARNING)
    }
    module.exit_json(
        changed=False, findings=plain(findings), failed_checks=lines[FAILED], warnings_found=lines[WARNING]
    )
