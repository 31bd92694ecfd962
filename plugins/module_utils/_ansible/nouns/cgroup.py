# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The noun ``cgroup``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

from ..._engine.host import Host
from ..._engine.model.cgroup import Cgroup, parse_cgroup_path
from ..._engine.plan.cgroup import plan_cgroup
from ..._engine.plan.change import Change
from ..run import INFO_SPEC, Noun, Wanted, run, run_info
from .values import LIMIT_OPTIONS, parse_limits

ARGUMENT_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    **LIMIT_OPTIONS,
}


def cgroup_wanted(params: Mapping[str, Any]) -> Wanted:
    """The module's parameters as {path: Cgroup, or None where it is to be absent}."""
    path = parse_cgroup_path("name", params["name"])
    if params["state"] == "absent":
        return {path: None}
    return {path: Cgroup(path, parse_limits(params))}


class CgroupNoun(Noun):
    name = "cgroup"

    def observe(self, host: Host) -> Mapping[str, Cgroup]:
        return host.observe_cgroups()

    def plan(self, desired: Wanted, current: Mapping[str, Any]) -> Iterable[Change]:
        for path, cgroup in desired.items():
            yield from plan_cgroup(cgroup, current.get(path))


# The modules --------------------------------------------------------------------------------------


def run_cgroup() -> NoReturn:
    run(AnsibleModule(ARGUMENT_SPEC, supports_check_mode=True), CgroupNoun(), cgroup_wanted)


def run_cgroup_info() -> NoReturn:
    run_info(AnsibleModule(INFO_SPEC, supports_check_mode=True), CgroupNoun())
