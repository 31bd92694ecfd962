# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pruning: images that are no longer wanted, and content that nothing uses."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

from ..._engine.host import Host
from ..._engine.model.prune import Prune, parse_prune
from ..._engine.plan.change import Change
from ..._engine.plan.prune import plan_prune
from ..run import Noun, Wanted, run

ARGUMENT_SPEC: dict[str, Any] = {
    "keep_last": {"type": "int"},
    "older_than": {"type": "str"},
    "names": {"type": "list", "elements": "str"},
    "build_cache": {"type": "bool", "default": False},
}


def prune_wanted(params: Mapping[str, Any]) -> Wanted:
    """The module's parameters as {"images": Prune}."""
    names = tuple(params["names"] or ())
    prune = parse_prune(params["keep_last"], params["older_than"], names, build_cache=params["build_cache"])
    return {"images": prune}


class PruneNoun(Noun):
    name = "images"
    uses_engine = False

    def __init__(self) -> None:
        self._now = time.time()
        self._prune = Prune()

    def resolve(self, host: Host, wanted: Wanted) -> Wanted:
        self._prune = wanted["images"]
        return wanted

    def observe(self, host: Host) -> Mapping[str, Any]:
        return {"prunable": host.observe_prunable(self._prune, self._now)}

    def plan(self, desired: Wanted, current: Mapping[str, Any]) -> Iterable[Change]:
        return plan_prune(desired["images"], current["prunable"], self._now)


# The module ---------------------------------------------------------------------------------------


def run_image_prune() -> NoReturn:
    run(AnsibleModule(ARGUMENT_SPEC, supports_check_mode=True), PruneNoun(), prune_wanted)
