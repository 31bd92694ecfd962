# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image at its registry, which module ``image_push`` manages: it is observed by a HEAD request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

from ..._engine.errors import InvalidOption
from ..._engine.host import Host
from ..._engine.model.reference import normalise
from ..._engine.model.registry import RemoteImage
from ..._engine.plan.change import Change
from ..._engine.plan.push import plan_push
from ..run import Noun, Wanted, run
from .registry import REGISTRY_OPTIONS, parse_access
from .values import parse_size

ARGUMENT_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "images": {"type": "list", "elements": "str"},
    "chunk_size": {"type": "str"},
    **REGISTRY_OPTIONS,
}
_LEAST_CHUNK = 64 * 1024


def push_wanted(params: Mapping[str, Any]) -> Wanted:
    """The module's parameters as {normalised name: RemoteImage, or None where the registry is not to have it}."""
    name = normalise("name", params["name"])
    if params["state"] == "absent":
        for option in ("images", "chunk_size"):
            if params[option] is not None:
                raise InvalidOption(option, params[option], "nothing, where the registry is not to have the image")
        parse_access(params)
        return {name: None}
    if "@" in name:
        raise InvalidOption("name", params["name"], "a name with a tag: its digest is that of what is pushed")
    images = tuple(normalise(f"images[{number}]", image) for number, image in enumerate(params["images"] or ()))
    if params["images"] is not None and (not images or len(set(images)) < len(images)):
        raise InvalidOption("images", params["images"], "images of this host, each once")
    chunk_size = max(0, parse_size("chunk_size", params["chunk_size"], least=_LEAST_CHUNK) or 0)  # below: unlimited
    return {name: RemoteImage(name, images=images or (name,), chunk_size=chunk_size, access=parse_access(params))}


class PushNoun(Noun):
    name = "image"

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._params = params
        self._names: Wanted = {}

    def resolve(self, host: Host, wanted: Wanted) -> Wanted:
        self._names = wanted
        return {name: image and host.resolve_push(image) for name, image in wanted.items()}

    def observe(self, host: Host) -> Mapping[str, RemoteImage]:
        access = parse_access(self._params)
        found = {
            name: host.observe_pushed(image or RemoteImage(name, access=access)) for name, image in self._names.items()
        }
        return {name: image for name, image in found.items() if image is not None}

    def plan(self, desired: Wanted, current: Mapping[str, Any]) -> Iterable[Change]:
        for name, image in desired.items():
            yield from plan_push(image, current.get(name))

    def tell(self, thing: RemoteImage) -> dict[str, Any]:
        return {"name": thing.name, "digest": thing.digest}


# The module ---------------------------------------------------------------------------------------


def run_image_push() -> NoReturn:
    module = AnsibleModule(ARGUMENT_SPEC, supports_check_mode=True)
    run(module, PushNoun(module.params), push_wanted)
