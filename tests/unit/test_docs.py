# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation is true: each module's examples parse and use only options that exist; no module is left out."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MODULES = {file.stem: file for file in sorted((ROOT / "plugins/modules").glob("*.py")) if file.stem != "__init__"}
NAMESPACE = "stowage.engine."
# How the others are run; not for playbooks.
INTERNAL = {"installed"}


def read_docs(file: Path) -> dict[str, object]:
    """The YAML documents DOCUMENTATION, EXAMPLES and RETURN of a plugin, by name."""
    assigned = [node for node in ast.parse(file.read_text(encoding="utf-8")).body if isinstance(node, ast.Assign)]
    texts = {node.targets[0].id: node.value.value for node in assigned if isinstance(node.value, ast.Constant)}
    return {name: yaml.safe_load(texts[name]) for name in ("DOCUMENTATION", "EXAMPLES", "RETURN")}


def find_options(module: str) -> dict[str, dict]:
    """The options of a module, those of its documentation fragments included."""
    docs = read_docs(MODULES[module])["DOCUMENTATION"]
    options = dict(docs.get("options") or {})
    for fragment in docs.get("extends_documentation_fragment", []):
        if fragment.startswith(NAMESPACE):
            name, dot, part = fragment.removeprefix(NAMESPACE).partition(".")
            # Imported, because fragments are put together out of one another.
            found = importlib.import_module(f"ansible_collections.stowage.engine.plugins.doc_fragments.{name}")
            text = getattr(found.ModuleDocFragment, (part if dot else "documentation").upper())
            options |= yaml.safe_load(text).get("options") or {}
    return options


def find_unknown_options(given: object, options: dict[str, dict], place: str) -> list[str]:
    """Names in an example's arguments that no option has, suboptions included."""
    if not isinstance(given, dict):
        return []
    names = {alias: name for name, option in options.items() for alias in [name, *option.get("aliases", [])]}
    faults = [f"{place}: no option {name!r}" for name in given if name not in names]
    for name, value in given.items():
        inner = options.get(names.get(name, ""), {}).get("suboptions")
        for item in (value if isinstance(value, list) else [value]) if inner else []:
            faults += find_unknown_options(item, inner, f"{place}.{name}")
    return faults


@pytest.mark.parametrize("module", MODULES)
def test_examples_use_options_that_exist(module: str) -> None:
    tasks = read_docs(MODULES[module])["EXAMPLES"]
    used = [(name, given) for task in tasks for name, given in task.items() if name.startswith(NAMESPACE)]
    assert f"{NAMESPACE}{module}" in [task[0] for task in used], "no example shows the module itself"
    faults = []
    for name, given in used:
        short = name.removeprefix(NAMESPACE)
        assert short in MODULES, f"an example uses {name}, which is not a module here"
        faults += find_unknown_options(given, find_options(short), name)
    assert faults == []


def test_an_unknown_option_is_found() -> None:
    options = {"list": {"aliases": ["l"], "suboptions": {"name": {}}}}
    assert find_unknown_options({"l": [{"name": 1}]}, options, "m") == []
    assert find_unknown_options({"list": [{"nam": 1}], "x": 2}, options, "m") == [
        "m: no option 'x'",
        "m.list: no option 'nam'",
    ]


def test_the_action_group_holds_all_modules() -> None:
    groups = yaml.safe_load((ROOT / "meta/runtime.yml").read_text(encoding="utf-8"))["action_groups"]
    assert groups["all"] == sorted(MODULES.keys() - INTERNAL)


@pytest.mark.parametrize("module", sorted(name for name in MODULES.keys() - INTERNAL if not name.endswith("_info")))
def test_every_noun_has_its_info_twin(module: str) -> None:
    if module == "containers":
        module = "container"  # the list and the single one are read by the same twin
    if module.startswith("image_") and module != "image_policy":
        module = "image"  # verbs: what they do is seen in the images
    assert f"{module}_info" in MODULES
