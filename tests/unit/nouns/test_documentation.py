# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every module's argument spec is what its documentation says, fragments and suboptions included.

ansible-test's validate-modules looks at the same, in minutes; this takes a moment.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.stowage.engine.plugins.module_utils._ansible.run import INFO_SPEC
from tests.unit.nouns.module_parameters import MODULES

PLUGINS = "ansible_collections.stowage.engine.plugins"
FILES = sorted((Path(__file__).parents[3] / "plugins/modules").glob("[a-z]*.py"))
NO_SPEC: dict[str, Any] = {}
SPECS = {name: spec for name, (spec, _required_if, _parse) in MODULES.items()}
SPECS |= {file.stem: INFO_SPEC for file in FILES if file.stem.endswith("_info")} | {
    "host_info": NO_SPEC,
    "installed": NO_SPEC,
}


def documents(module: str) -> Iterator[dict[str, Any]]:
    """The documentation of a module, and its fragments."""
    docs = yaml.safe_load(importlib.import_module(f"{PLUGINS}.modules.{module}").DOCUMENTATION)
    yield docs
    for name in docs.get("extends_documentation_fragment", []):
        _namespace, _collection, file, *part = name.split(".")
        fragment = importlib.import_module(f"{PLUGINS}.doc_fragments.{file}").ModuleDocFragment
        yield yaml.safe_load(getattr(fragment, (part or ["documentation"])[0].upper()))


def documented(module: str) -> dict[str, Any]:
    """The documented options of a module, those of its fragments included."""
    return {name: option for docs in documents(module) for name, option in (docs.get("options") or {}).items()}


def find_differences(options: dict[str, Any], spec: dict[str, Any], place: str) -> Iterator[str]:
    """What the documented ``options`` and the argument ``spec`` say differently, one line each."""
    for name in sorted({*options, *spec}):
        if name not in options or name not in spec:
            yield f"{place}{name}: only in the {'argument spec' if name in spec else 'documentation'}"
            continue
        told, real = options[name], spec[name]
        for field, default in (
            ("type", "str"),
            ("required", False),
            *dict.fromkeys(("default", "elements"), None).items(),
        ):
            if told.get(field, default) != real.get(field, default):
                yield f"{place}{name}: {field} is documented as {told.get(field)!r} and is {real.get(field)!r}"
        for field in ("choices", "aliases"):
            if [*told.get(field, ())] != [*real.get(field, ())]:
                yield f"{place}{name}: {field} are documented as {told.get(field)!r} and are {real.get(field)!r}"
        yield from find_differences(told.get("suboptions", {}), real.get("options", {}), f"{place}{name}.")


@pytest.mark.parametrize("module", [file.stem for file in FILES])
def test_the_argument_spec_is_documented(module: str) -> None:
    assert list(find_differences(documented(module), SPECS[module], "")) == []


# They speak with a registry and write a file of the user's at most; tests/kernel/image/test_without_root.py runs them.
WITHOUT_ROOT = {"image_lock", "image_sign", "image_verify"}


@pytest.mark.parametrize("module", [file.stem for file in FILES if file.stem != "installed"])
def test_root_is_asked_for_where_it_is_needed(module: str) -> None:
    needs = [need for docs in documents(module) for need in docs.get("requirements") or ()]
    assert any("root" in need for need in needs) == (module not in WITHOUT_ROOT)
    assert "Python 3.9 or newer" in needs


def test_a_difference_is_found() -> None:
    spec = {"a": {"type": "list", "options": {"b": {"type": "int", "default": 1}}}, "c": {"type": "str"}}
    options = {"a": {"type": "list", "suboptions": {"b": {"type": "int", "default": 2}}}, "d": {}}
    assert list(find_differences(options, spec, "")) == [
        "a.b: default is documented as 2 and is 1",
        "c: only in the argument spec",
        "d: only in the documentation",
    ]
