# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images that are built out of a Containerfile: what module ``image_build`` takes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, NoReturn

from ansible.module_utils.basic import AnsibleModule

from ..._engine.errors import InvalidOption
from ..._engine.host import Host
from ..._engine.model.build import Build, Forecast, Secret
from ..._engine.model.container import DEFAULT_SHM_SIZE
from ..._engine.model.platform import parse_platform
from ..._engine.model.reference import normalise
from ..._engine.plan.build import plan_build
from ..._engine.plan.change import Change, plain
from ..run import Wanted, run
from .image_making import MadeImageNoun
from .registry import REGISTRY_OPTIONS, parse_access
from .values import parse_epoch, parse_pairs, parse_size

SECRET_OPTIONS: dict[str, Any] = {
    "id": {"type": "str", "required": True},
    "src": {"type": "path"},
    "value": {"type": "str", "no_log": True},
}
ARGUMENT_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "path": {"type": "path", "aliases": ["context"]},
    "containerfile": {"type": "path", "aliases": ["dockerfile"]},
    "content": {"type": "str"},
    "target": {"type": "str"},
    "args": {"type": "dict"},
    "labels": {"type": "dict"},
    "secrets": {
        "type": "list",
        "elements": "dict",
        "no_log": False,
        "options": SECRET_OPTIONS,
        "required_one_of": [("src", "value")],
        "mutually_exclusive": [("src", "value")],
    },
    "etc_hosts": {"type": "dict"},
    "network": {"type": "str", "choices": ["host", "none"], "default": "host"},
    "shm_size": {"type": "str"},
    "privileged": {"type": "bool", "default": False},
    "platform": {"type": "str"},
    "pull": {"type": "str", "choices": ["not_present", "always"], "default": "not_present"},
    "cache": {"type": "bool", "default": True},
    "source_date_epoch": {"type": "int"},
    **REGISTRY_OPTIONS,
}


class PlannedBuild(NamedTuple):
    build: Build
    forecast: Forecast


def build_wanted(params: Mapping[str, Any]) -> Wanted:
    """The module's parameters as {normalised name: PlannedBuild}, its forecast empty."""
    name = normalise("name", params["name"])
    if "@" in name:
        raise InvalidOption("name", params["name"], "a name with a tag: what is built has whatever digest it gets")
    path, file, content = params["path"], params["containerfile"], params["content"]
    if path is not None and not os.path.isabs(path):
        raise InvalidOption("path", path, "an absolute path on the host")
    if (content is not None) == (path is not None or file is not None) and (content is None or file is not None):
        raise InvalidOption("content", content, "either content, or path or containerfile, to say what is built")
    if file is not None and not os.path.isabs(file) and path is None:
        raise InvalidOption("containerfile", file, "an absolute path on the host, where there is no path")
    build = Build(
        name=name,
        context=os.path.normpath(path) if path else "",
        file=os.path.normpath(os.path.join(path or "/", file)) if file else "",
        content=content,
        target=params["target"] or "",
        args=parse_pairs("args", params["args"]),
        labels=parse_pairs("labels", params["labels"]),
        secrets=_secrets(params["secrets"] or ()),
        extra_hosts=parse_pairs("etc_hosts", params["etc_hosts"]),
        platform=str(parse_platform("platform", params["platform"])) if params["platform"] is not None else "",
        network=params["network"],
        shm_size=parse_size("shm_size", params["shm_size"], least=4096) or DEFAULT_SHM_SIZE,
        privileged=params["privileged"],
        cache=params["cache"],
        pull="always" if params["pull"] == "always" else "missing",
        epoch=parse_epoch(params["source_date_epoch"]),
        access=parse_access(params),
    )
    return {name: PlannedBuild(build, Forecast())}


def _secrets(items: Iterable[Mapping[str, Any]]) -> tuple[Secret, ...]:
    secrets: dict[str, Secret] = {}
    for number, item in enumerate(items):
        if item["src"] and not os.path.isabs(item["src"]):
            raise InvalidOption(f"secrets[{number}]: src", item["src"], "an absolute path on the host")
        if not item["id"] or item["id"] in secrets:
            raise InvalidOption(f"secrets[{number}]: id", item["id"], "an id that no other secret has")
        secrets[item["id"]] = Secret(item["id"], item["src"] or "", (item["value"] or "").encode())
    return tuple(secrets.values())


class BuildNoun(MadeImageNoun):
    """An image as a Containerfile makes it."""

    def __init__(self) -> None:
        super().__init__()
        self._planned: Wanted = {}
        self._host: Host | None = None

    def resolve(self, host: Host, wanted: Wanted) -> Wanted:
        self._host = host
        self._planned = {
            name: planned._replace(forecast=host.forecast_build(planned.build)) for name, planned in wanted.items()
        }
        return self._planned

    def plan(self, desired: Wanted, current: Mapping[str, Any]) -> Iterable[Change]:
        for name, planned in desired.items():
            yield from plan_build(planned.build, planned.forecast, current.get(name))

    def plan_again(self, desired: Wanted, current: Mapping[str, Any]) -> Iterable[Change]:
        """What was built is in the cache now: another build of the same would come to the image that is there."""
        for name, planned in desired.items():
            build = replace(planned.build, cache=True, pull="missing")
            if self._host:
                yield from plan_build(build, self._host.forecast_build(build), current.get(name))

    def more(self) -> dict[str, Any]:
        steps = [plain(step) for forecast in self._forecasts() for step in forecast.steps]
        return {**super().more(), "steps": steps}

    def warnings(self) -> Iterable[str]:
        return [warning for forecast in self._forecasts() for warning in forecast.warnings]

    def _forecasts(self) -> list[Forecast]:
        return [planned.forecast for planned in self._planned.values()]


# The module ---------------------------------------------------------------------------------------


def run_image_build() -> NoReturn:
    run(AnsibleModule(ARGUMENT_SPEC, supports_check_mode=True), BuildNoun(), build_wanted)
