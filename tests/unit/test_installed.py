# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules run from the engine that a host has installed, and are shipped whole where it has none, or another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from ansible_collections.stowage.engine.plugins.module_utils._ansible.install import install_engine
from ansible_collections.stowage.engine.plugins.module_utils._ansible.installed import MISSING, find_module
from ansible_collections.stowage.engine.plugins.module_utils._ansible.sources import engine_digest, engine_files
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths
from tests.unit.test_install import zip_of

ROOT = Path(__file__).parents[2]
TASK = {"stowage.engine.container_info": {"name": ["stowage-test"]}}
# All of our files that a module ships which runs from the installed engine.
THIN = {
    "modules/installed.py",
    *(f"module_utils/_ansible/{name}.py" for name in ("__init__", "installed", "sources")),
    *(f"module_utils/_engine/{name}.py" for name in ("__init__", "packed", "paths")),
}


class Controller:
    """Plays of one task on localhost, whose state is in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths = Paths(str(folder / "root"), str(folder / "run"))

    def install(self) -> Path:
        """Have the engine on the host; where."""
        os.makedirs(self.paths.engines, exist_ok=True)
        return Path(self.paths.engines, install_engine(self.paths))

    def play(self, task: dict[str, object], *words: str, **play: object) -> tuple[dict[str, object], set[str]]:
        """The task's result, and the modules that were sent for it."""
        file = self.folder / "play.yml"
        hosts = {"hosts": "localhost", "gather_facts": False, "connection": "local"}
        file.write_text(json.dumps([{**hosts, **play, "tasks": [{"name": "Task", **task}]}]))
        environment = {
            "HOME": str(self.folder / "home"),
            "PATH": os.environ["PATH"],
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "build/collections"),
            "ANSIBLE_KEEP_REMOTE_FILES": "1",
            "ANSIBLE_LOCALHOST_WARNING": "0",
            "ANSIBLE_VERBOSITY": "3",  # results with their invocation
            "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.minimal",
            "ANSIBLE_REMOTE_TEMP": str(self.folder / "remote"),
            **self.paths.environment(),
        }
        command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", str(file)]
        command += ["-e", "ansible_python_interpreter=/usr/bin/python3", *words]
        before = set((self.folder / "remote").glob("*/AnsiballZ_*.py"))
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert "=>" in done.stdout, done.stdout + done.stderr
        self.sent = sorted(set((self.folder / "remote").glob("*/AnsiballZ_*.py")) - before)
        self.said = done.stdout
        return json.JSONDecoder().raw_decode(done.stdout.partition("=>")[2].strip())[0], {
            file.stem.partition("_")[2] for file in self.sent
        }


@pytest.fixture(name="controller")
def _controller(tmp_path: Path) -> Controller:
    return Controller(tmp_path)


def test_a_module_runs_from_the_installed_engine(controller: Controller) -> None:
    whole, sent = controller.play(TASK)
    assert sent == {"installed", "container_info"}
    assert whole["containers"] == []
    assert not any(MISSING in str(key) for key in whole)
    assert not Path(controller.paths.root).exists(), "reading wrote something"
    controller.install()
    files = {path: path.stat().st_mtime_ns for path in Path(controller.paths.root).rglob("*")}
    found, sent = controller.play(TASK)
    assert sent == {"installed"}
    assert found == whole, "it is the same module, and its invocation too"
    assert {path: path.stat().st_mtime_ns for path in Path(controller.paths.root).rglob("*")} == files
    [wrapper] = controller.sent
    names = zipfile.ZipFile(zip_of(wrapper, controller.folder)).namelist()
    ours = {name.partition("/engine/plugins/")[2] for name in names if "/engine/plugins/" in name}
    packages = {"__init__.py", "modules/__init__.py", "module_utils/__init__.py"}
    assert ours - packages == THIN


def test_without_a_pack_of_its_python_the_modules_beside_it_serve(controller: Controller) -> None:
    engine = controller.install()
    for pack in (engine / "app").glob("*.pack"):
        pack.rename(pack.with_name("cpython-27.pack"))
    found, sent = controller.play(TASK)
    assert (found["containers"], sent) == ([], {"installed"})
    engine.rename(engine.with_name("0123456789abcdef"))
    assert controller.play(TASK)[1] == {"installed", "container_info"}, "another engine served"


def test_what_is_made_installs_the_engine_and_the_next_task_uses_it(controller: Controller) -> None:
    task = {"stowage.engine.image": {"name": "test:1", "layers": [{"files": [{"path": "/x", "content": "x"}]}]}}
    made, sent = controller.play(task)
    assert (made["changed"], sent) == (True, {"installed", "image"})
    assert os.listdir(controller.paths.engines) == [engine_digest(engine_files())]
    again, sent = controller.play(task)
    assert (again["changed"], sent) == (False, {"installed"})


def test_check_mode_diff_and_failures_come_through(controller: Controller) -> None:
    controller.install()
    task = {"stowage.engine.image": {"name": "test:1", "layers": [{"files": [{"path": "/x", "content": "x"}]}]}}
    checked, sent = controller.play(task, "--check", "--diff")
    assert (checked["changed"], sent) == (True, {"installed"})
    assert "+image docker.io/library/test:1: " in controller.said
    assert not Path(controller.paths.images).exists()
    failed, sent = controller.play({"stowage.engine.container": {"name": "a b", "state": "absent"}})
    assert (failed["option"], sent) == ("name", {"installed"})


def test_environment_and_defaults_of_the_group_apply(controller: Controller) -> None:
    environment = {"environment": {"STOWAGE_ROOT": controller.paths.root}}
    controller.paths = Paths(str(controller.folder / "other"), controller.paths.run_root)
    controller.install()
    assert controller.play({**TASK, **environment})[1] == {"installed", "container_info"}
    defaults = {"module_defaults": {"group/stowage.engine.all": {"name": ["given"]}}}
    found, _sent = controller.play({"stowage.engine.container_info": {}}, **defaults)
    assert found["invocation"]["module_args"] == {"name": ["given"]}


def test_in_the_background_it_is_shipped_whole(controller: Controller) -> None:
    controller.install()
    _started, sent = controller.play({**TASK, "async": 30, "poll": 1})
    assert "container_info" in sent


def test_it_refuses_to_run_by_itself(controller: Controller) -> None:
    failed, _sent = controller.play({"stowage.engine.installed": {}})
    assert "others of its collection" in str(failed["msg"])


def test_all_modules_but_the_one_that_installs_run_so() -> None:
    routed = yaml.safe_load((ROOT / "meta/runtime.yml").read_text())["plugin_routing"]["modules"]
    modules = {file.stem for file in (ROOT / "plugins/modules").glob("[a-z]*.py")}
    modules -= {file.stem for file in (ROOT / "plugins/action").glob("[a-z]*.py")}  # whose actions do so themselves
    assert routed == {name: {"action_plugin": "stowage.engine.installed"} for name in modules - {"host"}}
    for name in {*routed, "image_transfer"}:
        assert find_module(name).__name__ == f"run_{name}"
