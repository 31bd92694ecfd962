# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The noun ``sbom``: an image's bill of materials, as a file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

from ..._engine.errors import InvalidOption
from ..._engine.host import Host
from ..._engine.model.reference import normalise
from ..._engine.model.sbom import Sbom
from ..._engine.plan.change import Change
from ..._engine.plan.sbom import plan_sbom
from ..run import Noun, Wanted, run

ARGUMENT_SPEC: dict[str, Any] = {
    "name": {"type": "str"},
    "path": {"type": "path", "required": True},
    "format": {"type": "str", "choices": ["spdx-json", "cyclonedx-json"], "default": "spdx-json"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}
REQUIRED_IF = [("state", "present", ["name"])]


def sbom_wanted(params: Mapping[str, Any]) -> Wanted:
    """The module's parameters as {path: Sbom, or None where it is to be absent}."""
    path = params["path"]
    if not path.startswith("/") or os.path.normpath(path) != path:
        raise InvalidOption("path", path, "an absolute path on the host")
    if params["state"] == "absent":
        return {path: None}
    return {path: Sbom(path, image=normalise("name", params["name"]), format=params["format"])}


class SbomNoun(Noun):
    name = "sbom"

    def __init__(self, path: str) -> None:
        self.path = path

    def observe(self, host: Host) -> Mapping[str, Sbom]:
        found = host.observe_sbom(self.path)
        return {} if found is None else {self.path: found}

    def resolve(self, host: Host, wanted: Wanted) -> Wanted:
        return {path: sbom and host.resolve_sbom(sbom) for path, sbom in wanted.items()}

    def plan(self, desired: Wanted, current: Mapping[str, Any]) -> Iterable[Change]:
        for path, sbom in desired.items():
            yield from plan_sbom(sbom, current.get(path))

    def tell(self, thing: Sbom) -> dict[str, Any]:
        return {"path": thing.path, "digest": thing.digest}


# The module ---------------------------------------------------------------------------------------


def run_image_sbom() -> NoReturn:
    module = AnsibleModule(ARGUMENT_SPEC, required_if=REQUIRED_IF, supports_check_mode=True)
    run(module, SbomNoun(module.params["path"]), sbom_wanted)
