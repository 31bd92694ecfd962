# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules return is told in the same words wherever it is the same thing. Ansible has no fragments for RETURN.

A module that has more to say of a value says it in further paragraphs.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.stowage.engine.plugins.module_utils._engine import plan
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.change import Change

PLUGINS = "ansible_collections.stowage.engine.plugins"
MODULES = sorted(file.stem for file in (Path(__file__).parents[3] / "plugins/modules").glob("[a-z]*.py"))
# Other things under the same name: what a registry has, what a lock file says.
OTHERS = {("image_push", "image"), ("image_lock", "images")}
CALLED = {"host": "engine", "image_sign": "signature"}


def returned(module: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(importlib.import_module(f"{PLUGINS}.modules.{module}").RETURN)
    return found


def values(told: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Each value by its place, those inside others too."""
    for name, value in told.items():
        yield place + name, value
        yield from values(value.get("contains") or {}, f"{place}{name}.")


def common(value: Mapping[str, Any]) -> tuple[Any, ...]:
    """What is the same wherever it is returned, save that a value may be there only in some state."""
    text = value["description"]
    first = text if isinstance(text, str) else text[0]
    inside = tuple(sorted(value.get("contains") or ()))
    return first, value["type"], value.get("elements"), value.get("returned") == "always", inside


def test_the_same_value_is_told_in_the_same_words() -> None:
    told: dict[str, dict[tuple[Any, ...], list[str]]] = defaultdict(lambda: defaultdict(list))
    for module in MODULES:
        for place, value in values(returned(module)):
            if (module, place) not in OTHERS:
                told[place][common(value)].append(module)
    assert {place: dict(ways) for place, ways in told.items() if len(ways) > 1} == {}
    assert {"changes", "changes.before", "image", "log"} <= set(told)


@pytest.mark.parametrize("module", [module for module in MODULES if "changes" in returned(module)])
def test_the_sample_of_a_change_is_one_of_the_module(module: str) -> None:
    for _finder, name, _package in pkgutil.iter_modules(plan.__path__):
        importlib.import_module(f"{plan.__name__}.{name}")
    sample = returned(module)["changes"]["contains"]
    assert sample["change"]["sample"] in {kind.__name__ for kind in subclasses(Change)}
    kind = sample["subject"]["sample"].partition(" ")[0]
    assert kind == CALLED.get(module, kind) and (module in CALLED or kind.rstrip("s") in module)


def subclasses(kind: type) -> Iterator[type]:
    for below in kind.__subclasses__():
        yield below
        yield from subclasses(below)


@pytest.mark.parametrize("module", MODULES)
def test_what_a_failure_has_too_is_told_so(module: str) -> None:
    """_ansible/run.py: a failure has an error's words, and what the noun returns ``more``; the rest is of a success."""
    always = {name for name, value in returned(module).items() if value["returned"] == "always"}
    assert always == {"image_bootstrap": {"log"}, "image_build": {"log", "steps"}}.get(module, set())
