# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images that a distribution's program makes: what module ``image_bootstrap`` takes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

from ..._engine.errors import InvalidOption
from ..._engine.host import Host
from ..._engine.model.bootstrap import BOOTSTRAP_LABEL, Bootstrap
from ..._engine.model.image import ImageConfig
from ..._engine.model.reference import normalise
from ..._engine.plan.bootstrap import plan_bootstrap
from ..._engine.plan.change import Change
from ..run import Wanted, run
from .image import CONFIG_OPTIONS, parse_config
from .image_making import MadeImageNoun
from .values import parse_epoch

PROGRAMS = ["auto", "mmdebstrap", "debootstrap", "dnf"]
VARIANTS = ["extract", "essential", "apt", "minbase", "buildd", "important", "standard"]
ARGUMENT_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "suite": {"type": "str", "required": True, "aliases": ["releasever"]},
    "program": {"type": "str", "choices": PROGRAMS, "default": "auto"},
    "variant": {"type": "str", "choices": VARIANTS},
    "packages": {"type": "list", "elements": "str", "default": []},
    "components": {"type": "list", "elements": "str", "default": []},
    "mirrors": {"type": "list", "elements": "str", "default": []},
    "keyring": {"type": "path"},
    "config": {"type": "dict", "options": CONFIG_OPTIONS},
    "source_date_epoch": {"type": "int"},
    "timeout": {"type": "int", "default": 1800},
    "force": {"type": "bool", "default": False},
}
# They become words of a command and of apt's lists: no option, no separator.
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+/-]*")
_PACKAGE = re.compile(r"[A-Za-z0-9@?~*][^\s,]*")
_MIRROR = re.compile(r"(https?|ftp|file|copy|mirror)(\+file)?:/[^\s,]+")
_USER = re.compile(r"//[^/]*@")


def bootstrap_wanted(params: Mapping[str, Any]) -> Wanted:
    """The module's parameters as {normalised name: Bootstrap}."""
    name = normalise("name", params["name"])
    if "@" in name:
        raise InvalidOption("name", params["name"], "a name with a tag: what is made has whatever digest it gets")
    keyring = params["keyring"] or ""
    if keyring and not os.path.isabs(keyring):
        raise InvalidOption("keyring", keyring, "an absolute path on the host")
    if params["timeout"] < 1:
        raise InvalidOption("timeout", params["timeout"], "a number of seconds, at least 1")
    bootstrap = Bootstrap(
        name=name,
        suite=_word("suite", params["suite"]),
        program="" if params["program"] == "auto" else params["program"],
        variant=params["variant"] or "",
        packages=tuple(_package(number, text) for number, text in enumerate(params["packages"])),
        components=tuple(_word(f"components[{number}]", text) for number, text in enumerate(params["components"])),
        mirrors=tuple(_mirror(number, text) for number, text in enumerate(params["mirrors"])),
        keyring=keyring,
        config=_config(params["config"]),
        epoch=parse_epoch(params["source_date_epoch"]),
        force=params["force"],
        timeout=params["timeout"],
    )
    return {name: bootstrap}


def _word(option: str, text: str) -> str:
    if not _WORD.fullmatch(text):
        raise InvalidOption(option, text, "a word of letters, digits and ._+/- such as bookworm or main")
    return text


def _package(number: int, text: str) -> str:
    if not _PACKAGE.fullmatch(text):
        raise InvalidOption(f"packages[{number}]", text, "the name of one package, such as ca-certificates")
    return text


def _mirror(number: int, text: str) -> str:
    if _USER.search(text):
        shown = _USER.sub("//***@", text)
        expected = "a URL without user and password, which would get into the image and into lists of processes"
        raise InvalidOption(f"mirrors[{number}]", shown, expected)
    if not _MIRROR.fullmatch(text):
        raise InvalidOption(f"mirrors[{number}]", text, "a URL such as http://deb.debian.org/debian")
    return text


def _config(config: Mapping[str, Any] | None) -> ImageConfig:
    parsed = parse_config(config)
    if BOOTSTRAP_LABEL in dict(parsed.labels):
        raise InvalidOption(
            "config: labels", BOOTSTRAP_LABEL, "any other label; this one says what the image is made of"
        )
    return parsed


class BootstrapNoun(MadeImageNoun):
    """An image as a distribution's packages make it."""

    def resolve(self, host: Host, wanted: Wanted) -> Wanted:
        current = self.observe(host)
        for name, bootstrap in wanted.items():
            if list(plan_bootstrap(bootstrap, current.get(name))):  # what is there needs no program
                host.check_bootstrap(bootstrap)
        return wanted

    def plan(self, desired: Wanted, current: Mapping[str, Any]) -> Iterable[Change]:
        for name, bootstrap in desired.items():
            yield from plan_bootstrap(bootstrap, current.get(name))

    def plan_again(self, desired: Wanted, current: Mapping[str, Any]) -> Iterable[Change]:
        for name, bootstrap in desired.items():
            yield from plan_bootstrap(replace(bootstrap, force=False), current.get(name))


# The module ---------------------------------------------------------------------------------------


def run_image_bootstrap() -> NoReturn:
    run(AnsibleModule(ARGUMENT_SPEC, supports_check_mode=True), BootstrapNoun(), bootstrap_wanted)
