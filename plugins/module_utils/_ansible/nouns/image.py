# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The noun ``image``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

from ..._engine.errors import InvalidOption
from ..._engine.host import Host
from ..._engine.model.image import Entry, Image, ImageConfig, LayerSource, Recipe
from ..._engine.model.platform import parse_platform
from ..._engine.model.reference import normalise, parse_digest
from ..._engine.plan.change import Change
from ..._engine.plan.image import plan_image
from ..run import INFO_SPEC, Noun, Wanted, run, run_info
from .image_limits import LIMIT_OPTIONS, parse_image_limits
from .registry import REGISTRY_OPTIONS, parse_access
from .values import parse_command, parse_env, parse_inside, parse_mode, parse_pairs, parse_signal

# The last number means "leave it" to chown(2).
_MAX_ID = 2**32 - 2

FILE_OPTIONS: dict[str, Any] = {
    "path": {"type": "str", "required": True},
    "content": {"type": "str"},
    "target": {"type": "str"},
    "mode": {"type": "str"},
    "uid": {"type": "int", "default": 0},
    "gid": {"type": "int", "default": 0},
}
CONFIG_OPTIONS: dict[str, Any] = {
    "command": {"type": "raw"},
    "entrypoint": {"type": "raw"},
    "env": {"type": "dict"},
    "working_dir": {"type": "str"},
    "user": {"type": "str"},
    "stop_signal": {"type": "str"},
    "labels": {"type": "dict"},
    "exposed_ports": {"type": "list", "elements": "str"},
}
ARGUMENT_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "pull": {"type": "str", "choices": ["not_present", "always"], "default": "not_present"},
    "platform": {"type": "str"},
    "verified_digest": {"type": "str"},
    "verify": {"type": "bool", "default": False},
    **LIMIT_OPTIONS,
    **REGISTRY_OPTIONS,
    "base": {"type": "str"},
    "layers": {
        "type": "list",
        "elements": "dict",
        "options": {
            "src": {"type": "path"},
            "dest": {"type": "str", "default": "/"},
            "files": {"type": "list", "elements": "dict", "options": FILE_OPTIONS},
        },
        "required_one_of": [("src", "files")],
        "mutually_exclusive": [("src", "files")],
    },
    "config": {"type": "dict", "options": CONFIG_OPTIONS},
}


def image_wanted(params: Mapping[str, Any]) -> Wanted:
    """The module's parameters as {normalised name: Image, or None where it is to be absent}."""
    name = normalise("name", params["name"])
    if params["state"] == "absent":
        return {name: None}
    assembled = params["layers"] is not None or params["base"] is not None
    if params["config"] is not None and not assembled:
        raise InvalidOption("config", params["config"], "nothing, unless base or layers say what the image is made of")
    if assembled and "@" in name:
        raise InvalidOption("name", params["name"], "a name with a tag: what is assembled has whatever digest it gets")
    if assembled and params["platform"] is not None:
        raise InvalidOption("platform", params["platform"], "nothing: what is assembled has the platform of its base")
    return {
        name: Image(
            name,
            recipe=_recipe(params) if assembled else None,
            platform=str(parse_platform("platform", params["platform"])) if params["platform"] is not None else "",
            access=parse_access(params),
            verified=parse_digest("verified_digest", params["verified_digest"]) if params["verified_digest"] else "",
            limits=parse_image_limits(params),
        )
    }


def _recipe(params: Mapping[str, Any]) -> Recipe:
    layers = params["layers"] or []
    base = normalise("base", params["base"]) if params["base"] else ""
    return Recipe(
        base=base,
        layers=tuple(_layer(f"layers[{number}]", layer) for number, layer in enumerate(layers)),
        config=parse_config(params["config"]),
    )


def _layer(option: str, layer: Mapping[str, Any]) -> LayerSource:
    entries = [_entry(f"{option}: files[{number}]", entry) for number, entry in enumerate(layer["files"] or [])]
    src = layer["src"] or ""
    if src and not src.startswith("/"):
        raise InvalidOption(f"{option}: src", src, "an absolute path on the host")
    return LayerSource(path=src, dest=parse_inside(f"{option}: dest", layer["dest"]), entries=tuple(entries))


def _entry(option: str, entry: Mapping[str, Any]) -> Entry:
    if entry["content"] is not None and entry["target"] is not None:
        raise InvalidOption(f"{option}: target", entry["target"], "either content or target, not both")
    for owner in ("uid", "gid"):
        if not 0 <= entry[owner] <= _MAX_ID:
            raise InvalidOption(f"{option}: {owner}", entry[owner], f"a number from 0 to {_MAX_ID}")
    content = None if entry["content"] is None else entry["content"].encode()
    default = "0644" if content is not None else "0755"
    return Entry(
        path=parse_inside(f"{option}: path", entry["path"]),
        content=content,
        target=entry["target"],
        mode=parse_mode(f"{option}: mode", entry["mode"] or default),
        uid=entry["uid"],
        gid=entry["gid"],
    )


def parse_config(given: Mapping[str, Any] | None) -> ImageConfig:
    """What the option ``config`` says, of every module that makes images."""
    config = given or dict.fromkeys(CONFIG_OPTIONS)
    return ImageConfig(
        entrypoint=parse_command("config: entrypoint", config["entrypoint"]),
        command=parse_command("config: command", config["command"]),
        env=parse_env("config: env", config["env"]),
        working_dir=parse_inside("config: working_dir", config["working_dir"]) if config["working_dir"] else None,
        user=config["user"],
        stop_signal=parse_signal("config: stop_signal", config["stop_signal"]),
        labels=parse_pairs("config: labels", config["labels"]),
        exposed_ports=tuple(_exposed_port(port) for port in config["exposed_ports"] or ()),
    )


def _exposed_port(value: str) -> str:
    if not re.fullmatch(r"[0-9]{1,5}(/(tcp|udp|sctp))?", value) or not 1 <= int(value.partition("/")[0]) <= 65_535:
        raise InvalidOption("config: exposed_ports", value, "a port from 1 to 65535, such as 80 or 53/udp")
    return value


class ImageNoun(Noun):
    name = "image"

    def __init__(self, *, refresh: bool = False, verify: bool = False) -> None:
        self.refresh = refresh
        self.verify = verify
        self._wanted: Wanted = {}
        self._notes: list[str] = []

    def observe(self, host: Host) -> Mapping[str, Image]:
        found = host.observe_images()
        verified = {name: host.verify_image(name) for name in self._wanted if self.verify and name in found}
        return {**found, **{name: image for name, image in verified.items() if image is not None}}

    def resolve(self, host: Host, wanted: Wanted) -> Wanted:
        self._wanted, self._notes = wanted, host.notes
        return {name: image and host.resolve_image(image, refresh=self.refresh) for name, image in wanted.items()}

    def plan(self, desired: Wanted, current: Mapping[str, Any]) -> Iterable[Change]:
        for name, image in desired.items():
            yield from plan_image(image, current.get(name))

    def tell(self, thing: Image) -> dict[str, Any]:
        told = super().tell(thing)
        del told["recipe"], told["access"], told["verified"], told["limits"]
        return told

    def warnings(self) -> Iterable[str]:
        return self._notes


# The modules --------------------------------------------------------------------------------------


def run_image() -> NoReturn:
    module = AnsibleModule(ARGUMENT_SPEC, supports_check_mode=True)
    run(module, ImageNoun(refresh=module.params["pull"] == "always", verify=module.params["verify"]), image_wanted)


def run_image_info() -> NoReturn:
    run_info(AnsibleModule(INFO_SPEC, supports_check_mode=True), ImageNoun())
