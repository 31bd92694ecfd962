# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Further names of an image of the host, which module ``image_tag`` manages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

from ..._engine.errors import InvalidOption
from ..._engine.host import Host
from ..._engine.model.image import Image
from ..._engine.model.reference import normalise
from ..._engine.plan.change import Change
from ..._engine.plan.image import plan_tag
from ..run import Wanted, run
from .image import ImageNoun

ARGUMENT_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "repository": {"type": "list", "elements": "str", "required": True},
    "existing_images": {"type": "str", "choices": ["keep", "overwrite"], "default": "overwrite"},
}


def tags_wanted(params: Mapping[str, Any]) -> Wanted:
    """The module's parameters as {normalised further name: Image, not resolved yet}."""
    normalise("name", params["name"])
    wanted = {}
    for number, name in enumerate(params["repository"]):
        normal = normalise(f"repository[{number}]", name)
        if "@" in normal:
            raise InvalidOption(f"repository[{number}]", name, "a name with a tag, not with a digest")
        wanted[normal] = Image(normal)
    return wanted


class TagNoun(ImageNoun):
    def __init__(self, source: str, *, keep: bool = False) -> None:
        super().__init__()
        self.source = source
        self.keep = keep

    def resolve(self, host: Host, wanted: Wanted) -> Wanted:
        return {name: host.resolve_tag(self.source, image) for name, image in wanted.items()}

    def plan(self, desired: Wanted, current: Mapping[str, Any]) -> Iterable[Change]:
        for name, image in desired.items():
            yield from plan_tag(image, current.get(name), keep=self.keep)


# The module ---------------------------------------------------------------------------------------


def run_image_tag() -> NoReturn:
    module = AnsibleModule(ARGUMENT_SPEC, supports_check_mode=True)
    keep = module.params["existing_images"] == "keep"
    run(module, TagNoun(module.params["name"], keep=keep), tags_wanted, many=True)
