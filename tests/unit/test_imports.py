# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Imports go down only, and files and functions stay small: docs/architecture.md's rules, read with ast."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parents[2] / "plugins"
ENGINE = "ansible_collections.stowage.engine.plugins.module_utils"

# Who may import whom. A part is a file or folder of `_engine`, all of `_ansible`, or "plugin": modules and all other
# kinds of plugin. A part may always import itself.
LOWEST = {"paths", "model", "errors", "progress"}
MAY_IMPORT = {
    "plugin": {"_ansible", "_ansible/sources", "plan", "model", "errors"},
    "_ansible": {"_ansible/install", "_ansible/sources", "host", "plan", *LOWEST},
    "_ansible/sources": {"_engine", "packed", *LOWEST},
    "_ansible/install": {
        "_ansible",
        "_ansible/sources",
        "_engine",
        "cli",
        "cli/runtime",
        "host",
        "image",
        "plan",
        "linux",
        "packed",
        *LOWEST,
    },
    "__main__": {"cli", "cli/runtime"},
    "cli": {"host", "plan", *LOWEST},
    "cli/main": {"cli", "cli/runtime", "shim", *LOWEST},
    "cli/runtime": {"cli", "runtime", "linux", *LOWEST},
    "host": {"image", "cgroup", "network", "shim", "runtime", "plan", "linux", *LOWEST},
    "image": {"linux", *LOWEST},
    "cgroup": {"linux", *LOWEST},
    "network": {"linux", *LOWEST},
    "shim": {"runtime", "cgroup", "linux", *LOWEST},
    "runtime": {"cgroup", "linux", *LOWEST},
    "plan": {"model", "errors"},
    "model": {"errors"},
    "linux": {"errors"},
    "paths": {"errors"},
    "errors": set[str](),
    "progress": set[str](),
    "packed": set[str](),
}
# The files of `stowage-runtime`, all of them of the part cli/runtime.
OCI_FILES = {"runtime", "oci_options", "oci_help", "oci_exec", "oci_commands", "update", "events", "checkpoint"}
# Beside host.py, and of its layer.
HOST_FILES = {
    "build_mounts",
    "build_steps",
    "building",
    "committing",
    "containers",
    "demands",
    "depot",
    "exposure",
    "images",
    "joins",
    "preflight",
    "resolve",
    "signing",
}
GUARDED = {"pyroute2", "nftables", "cryptography", "nacl"}  # the only imports that a host may lack
MAX_FILE, MAX_FUNCTION, MAX_MAIN = 400, 50, 10


def part_of(path: tuple[str, ...]) -> str:
    """The part that a module belongs to; `path` is its place under plugins/ without `.py`."""
    if path[0] != "module_utils":
        return "plugin"
    inner = path[2:]
    if path[1] == "_ansible":
        return f"_ansible/{inner[0]}" if inner in (("install",), ("sources",)) else "_ansible"
    if not inner or inner == ("__init__",):
        return "_engine"
    if inner[0] in HOST_FILES:
        return "host"
    if inner[0] == "cli" and inner[1:] and inner[1] in OCI_FILES:
        return "cli/runtime"
    return "/".join(inner) if inner == ("cli", "main") else inner[0]


def imported_modules(node: ast.Import | ast.ImportFrom, package: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """What an import reaches: a place under plugins/ for the collection's own modules, the dotted name for others."""
    if isinstance(node, ast.Import):
        names = [alias.name.split(".") for alias in node.names]
    else:
        base = list(package[: len(package) - node.level + 1]) if node.level else []
        base += node.module.split(".") if node.module else []
        # `from . import x` names modules; `from .x import y` names x, which is enough to know the part.
        bare = node.module is None or base[-1] in {"_engine", "_ansible", "module_utils"}
        names = [[*base, alias.name] for alias in node.names] if bare else [base]
    for name in names:
        own = ".".join(name).startswith(f"{ENGINE}.")
        yield ("module_utils", *name[5:]) if own else tuple(name)


def find_import_faults(path: tuple[str, ...], tree: ast.Module, lines: list[str]) -> Iterator[str]:
    """Imports that go up or sideways, that are absolute or foreign in `_engine`, or that stand inside a function."""
    part, engine = part_of(path), path[:2] == ("module_utils", "_engine")
    top = {id(node) for node in at_top(tree)}
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Import, ast.ImportFrom)):
            continue
        for name in imported_modules(node, path[:-1]):
            where, dotted = f"{'/'.join(path)}.py:{node.lineno}", ".".join(name)
            own = name[0] == "module_utils"
            target = part_of(name) if own and len(name) > 1 else ""
            if own and target != part and target not in MAY_IMPORT.get(part, set()):
                yield f"{where}: {part} may not import {target} ({dotted})"
            if engine:
                yield from find_engine_faults(node, where, dotted, own)
            guarded = name[0] in GUARDED
            if guarded and node in tree.body:
                yield f"{where}: {dotted} may be missing on a host: import it in a function or under try"
            if id(node) not in top and not guarded and "#" not in lines[node.lineno - 1]:
                yield f"{where}: import of {dotted} inside a function: move it up, or give the reason in the line"


def find_engine_faults(node: ast.Import | ast.ImportFrom, where: str, dotted: str, own: bool) -> Iterator[str]:
    """`_engine` also runs from engine.pyz on a host without Ansible: its own imports are relative, others standard."""
    if own and not getattr(node, "level", 0):
        yield f"{where}: import of {dotted} is absolute; inside _engine it must be relative"
    if not own and dotted.partition(".")[0] not in sys.stdlib_module_names | GUARDED:
        yield f"{where}: {dotted} is not in the standard library; _engine uses that and {sorted(GUARDED)} only"


def at_top(tree: ast.Module) -> Iterator[ast.stmt]:
    """The statements of the module itself, those under its `if` and `try` included."""
    pending = list(tree.body)
    while pending:
        node = pending.pop()
        yield node
        if isinstance(node, (ast.If, ast.Try)):
            pending += [*node.body, *node.orelse]
            if isinstance(node, ast.Try):
                pending += [*node.finalbody, *(inner for handler in node.handlers for inner in handler.body)]


def find_size_faults(path: tuple[str, ...], tree: ast.Module, lines: list[str]) -> Iterator[str]:
    """Files and functions over their size whose docstring does not say `Over 400 lines because ...`."""
    name = f"{'/'.join(path)}.py"
    if len(lines) > MAX_FILE and f"Over {MAX_FILE} lines because" not in (ast.get_docstring(tree) or ""):
        yield f"{name}: {len(lines)} lines; split it, or say 'Over {MAX_FILE} lines because ...' in its docstring"
    for node in ast.walk(tree):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        size = node.end_lineno - node.lineno + 1
        if node.name == "main" and path[0] == "modules" and size >= MAX_MAIN:
            yield f"{name}:{node.lineno}: main() has {size} lines; a module's main() stays under {MAX_MAIN}"
        if size > MAX_FUNCTION and f"Over {MAX_FUNCTION} lines because" not in (ast.get_docstring(node) or ""):
            yield f"{name}:{node.lineno}: {node.name}() has {size} lines; split it, or give the reason in its docstring"


def find_faults(plugins: Path) -> list[str]:
    """All faults of the tree under `plugins`, one line each, as `file:line: what is wrong`."""
    faults = []
    for file in sorted(plugins.rglob("*.py")):
        path = file.relative_to(plugins).with_suffix("").parts
        text = file.read_text(encoding="utf-8")
        tree, lines = ast.parse(text, str(file)), text.splitlines()
        faults += [*find_import_faults(path, tree, lines), *find_size_faults(path, tree, lines)]
    engine = plugins / "module_utils" / "_engine"
    for folder in sorted({file.parent for file in engine.rglob("*.py")}):
        if not (folder / "__init__.py").exists():
            faults.append(f"{folder.relative_to(plugins)}: no __init__.py, which engine.pyz needs in every package")
    return faults


def test_the_tree_keeps_the_rules() -> None:
    assert (PLUGINS / "module_utils/_engine/errors.py").exists(), f"no engine under {PLUGINS}: nothing was checked"
    assert find_faults(PLUGINS) == []


BAD = {
    "plan goes up": ("_engine/plan/a.py", "from ..host import Host", "plan may not import host"),
    "sideways": ("_engine/image/a.py", "from ..network import bridge", "image may not import network"),
    "by package": ("_engine/linux/a.py", "from .. import model", "linux may not import model"),
    "runtime's cgroup goes one way": ("_engine/cgroup/a.py", "from ..runtime.spec import X", "may not import runtime"),
    "the command line's own": ("_engine/cli/ps.py", "from ..runtime import state", "cli may not import runtime"),
    "the engine's command": ("_ansible/run.py", f"from {ENGINE}._engine.cli import ps", "_ansible may not import cli"),
    "a module that reaches down": ("../modules/a.py", f"import {ENGINE}._engine.linux", "plugin may not import linux"),
    "absolute": ("_engine/plan/a.py", f"from {ENGINE}._engine import errors", "it must be relative"),
    "a file that no layer has": ("_engine/image/a.py", "from ..somewhere import x", "image may not import somewhere"),
    "up to the host's files": ("_engine/plan/a.py", "from ..resolve import x", "plan may not import host"),
    "to Ansible's side": ("_engine/host.py", f"from {ENGINE}._ansible import run", "host may not import _ansible"),
    "ansible": ("_engine/model/a.py", "import ansible.module_utils.basic", "not in the standard library"),
    "unguarded": ("_engine/network/a.py", "import pyroute2", "may be missing on a host"),
    "late": ("_engine/model/a.py", "def f():\n    import json", "inside a function"),
    "long file": ("_engine/errors.py", "x = 1\n" * 401, "401 lines"),
    "long function": ("_engine/errors.py", "def f():\n" + "    x = 1\n" * 50, "f() has 51 lines"),
    "long main": ("../modules/a.py", "def main():\n" + "    x = 1\n" * 9, "main() has 10 lines"),
    "no __init__": ("_engine/plan/deep/a.py", "x = 1", "no __init__.py"),
}
GOOD = {
    "down": ("_engine/plan/a.py", "from ..model.network import Network\nfrom ..errors import EngineError"),
    "runtime's cgroup": ("_engine/runtime/a.py", "from ..cgroup import manager"),
    "the OCI command line": ("_engine/cli/runtime.py", "from ..runtime import state"),
    "install takes the closure": ("_ansible/install.py", f"from {ENGINE}._engine import cli"),
    "pyroute2 in a function": ("_engine/network/a.py", "def f():\n    import pyroute2"),
    "pyroute2 under try": (
        "_engine/network/a.py",
        "try:\n    import pyroute2\nexcept ImportError:\n    pyroute2 = None",
    ),
    "late with a reason": ("_engine/model/a.py", "def f():\n    import json  # 10 ms that most runs do not need"),
    "long with a reason": ("_engine/errors.py", '"""Over 400 lines because it is a table."""\n' + "x = 1\n" * 400),
}


def write_tree(root: Path, file: str, text: str) -> Path:
    plugins = root / "plugins"
    path = plugins / "module_utils" / file
    for folder in ["_engine", "_ansible", *(f"_engine/{name}" for name in ("plan", "model", "linux", "image", "cli"))]:
        (plugins / "module_utils" / folder).mkdir(parents=True, exist_ok=True)
    for folder in ["network", "cgroup", "runtime"]:
        (plugins / "module_utils/_engine" / folder).mkdir()
    (plugins / "modules").mkdir()
    for folder in (plugins / "module_utils").rglob("*/"):
        (folder / "__init__.py").touch()
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return plugins


@pytest.mark.parametrize(("file", "text", "fault"), BAD.values(), ids=BAD.keys())
def test_a_bad_file_is_found(tmp_path: Path, file: str, text: str, fault: str) -> None:
    faults = find_faults(write_tree(tmp_path, file, text))
    assert len([line for line in faults if fault in line]) == 1, faults


@pytest.mark.parametrize(("file", "text"), GOOD.values(), ids=GOOD.keys())
def test_a_good_file_passes(tmp_path: Path, file: str, text: str) -> None:
    assert find_faults(write_tree(tmp_path, file, text)) == []
