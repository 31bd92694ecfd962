# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image that is to be what a container has come to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, NoReturn

from ansible.module_utils.basic import AnsibleModule

from ..._engine.errors import InvalidOption
from ..._engine.host import Host
from ..._engine.model.commit import Commit
from ..._engine.model.image import Image
from ..._engine.model.names import parse_name
from ..._engine.model.reference import normalise
from ..._engine.plan.change import Change
from ..._engine.plan.commit import plan_commit
from ..run import Wanted, run
from .image import CONFIG_OPTIONS, ImageNoun, parse_config
from .values import parse_epoch

ARGUMENT_SPEC: dict[str, Any] = {
    "container": {"type": "str", "required": True},
    "name": {"type": "str", "required": True},
    "config": {"type": "dict", "options": CONFIG_OPTIONS},
    "comment": {"type": "str"},
    "source_date_epoch": {"type": "int"},
}


class PlannedCommit(NamedTuple):
    commit: Commit
    image: Image


def commit_wanted(params: Mapping[str, Any]) -> Wanted:
    """The module's parameters as {normalised name: PlannedCommit}, of whose image nothing is known yet."""
    name = normalise("name", params["name"])
    if "@" in name:
        raise InvalidOption("name", params["name"], "a name with a tag: what is committed has whatever digest it gets")
    commit = Commit(
        name=name,
        container=parse_name("container", params["container"]),
        config=parse_config(params["config"]),
        comment=params["comment"] or "",
        epoch=parse_epoch(params["source_date_epoch"]),
    )
    return {name: PlannedCommit(commit, Image(name))}


class CommitNoun(ImageNoun):
    """An image out of a container."""

    def resolve(self, host: Host, wanted: Wanted) -> Wanted:
        return {name: planned._replace(image=host.forecast_commit(planned.commit)) for name, planned in wanted.items()}

    def plan(self, desired: Wanted, current: Mapping[str, Any]) -> Iterable[Change]:
        for name, planned in desired.items():
            yield from plan_commit(planned.commit, planned.image, current.get(name))

    def plan_again(self, desired: Wanted, current: Mapping[str, Any]) -> Iterable[Change]:
        """The container went on after it was looked at, and may have written since: any image of the name will do."""
        for name, planned in desired.items():
            found = current.get(name)
            image = planned.image if found is None else replace(planned.image, digest=found.digest)
            yield from plan_commit(planned.commit, image, found)


# The module ---------------------------------------------------------------------------------------


def run_image_commit() -> NoReturn:
    run(AnsibleModule(ARGUMENT_SPEC, supports_check_mode=True), CommitNoun(), commit_wanted)
