# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pruning: images that are no longer wanted, and content that nothing uses."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

from ..._engine.errors import InvalidOption
from ..._engine.host import Host
from ..._engine.model.prune import Prune
from ..._engine.plan.change import Change
from ..._engine.plan.prune import plan_prune
from ..run import Noun, Wanted, run

ARGUMENT_SPEC: dict[str, Any] = {
    "keep_last": {"type": "int"},
    "older_than": {"type": "str"},
    "names": {"type": "list", "elements": "str"},
}
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def prune_wanted(params: Mapping[str, Any]) -> Wanted:
    """The module's parameters as {"images": Prune}."""
    keep_last = params["keep_last"]
    if keep_last is not None and keep_last < 0:
        raise InvalidOption("keep_last", keep_last, "a number of images, 0 or more")
    older_than = params["older_than"]
    if params["names"] and keep_last is None and older_than is None:
        raise InvalidOption("names", params["names"], "nothing, unless keep_last or older_than say what may go")
    seconds = None if older_than is None else _seconds("older_than", older_than)
    return {"images": Prune(keep_last, seconds, tuple(params["names"] or ()))}


def _seconds(option: str, text: str) -> int:
    parts = re.findall(r"(\d{1,9})([smhdw])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise InvalidOption(option, text, "a time such as 30d, 12h or 1d12h (w, d, h, m, s)")
    return sum(int(number) * _UNITS[unit] for number, unit in parts)


class PruneNoun(Noun):
    name = "images"
    uses_engine = False

    def __init__(self) -> None:
        self._now = time.time()

    def observe(self, host: Host) -> Mapping[str, Any]:
        return {"stored": host.observe_stored(), "garbage": host.observe_garbage()}

    def plan(self, desired: Wanted, current: Mapping[str, Any]) -> Iterable[Change]:
        return plan_prune(desired["images"], current["stored"], current["garbage"], self._now)


# The module ---------------------------------------------------------------------------------------


def run_image_prune() -> NoReturn:
    run(AnsibleModule(ARGUMENT_SPEC, supports_check_mode=True), PruneNoun(), prune_wanted)
