# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine reaches a host whole: the same bytes out of a directory and out of Ansible's zip, and they run alone."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._ansible.install import (
    COMMANDS,
    apply_install,
    apply_uninstall,
    build_engine,
    engine_command,
    install_engine,
    main,
    observe_engine,
)
from ansible_collections.stowage.engine.plugins.module_utils._ansible.sources import (
    PACKAGE,
    engine_digest,
    engine_files,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths

ROOT = Path(__file__).parents[2]
MODULE_UTILS = ROOT / "plugins/module_utils"
SYSTEM_PYTHON = "/usr/bin/python3"  # what a host has, whatever this test runs with
PRINT_DIGEST = """
import sys
sys.path.insert(0, sys.argv[1])
from ansible_collections.stowage.engine.plugins.module_utils._ansible.sources import engine_digest, engine_files
print(engine_digest(engine_files()))
"""
IMPORT_ALL = f"""
import importlib, sys, zipfile
sys.path.insert(0, sys.argv[1])
for name in sorted(zipfile.ZipFile(sys.argv[1]).namelist()):
    if name.startswith("{PACKAGE}/"):
        importlib.import_module(name[:-3].replace("/", ".").removesuffix(".__init__"))
"""


def read_sources() -> dict[str, bytes]:
    """All sources that are installed, found without the code under test."""
    return {
        f"{package}/{file.relative_to(MODULE_UTILS / folder)}": file.read_bytes()
        for folder, package in (("_ansible", "stowage_ansible"), ("_engine", "stowage_engine"))
        for file in sorted((MODULE_UTILS / folder).rglob("*.py"))
    }


def run(*argv: object, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], **more}
    words = [str(word) for word in argv]
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120, check=False)


def run_ansible(module: str, arguments: str, folder: Path) -> tuple[dict[str, object], Path]:
    """Run a module in check mode as Ansible does; (its result, the zip that it ran from)."""
    ansible = Path(sys.executable).with_name("ansible")
    environment = {
        "HOME": str(folder / "home"),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "build/collections"),
        "ANSIBLE_KEEP_REMOTE_FILES": "1",
        "ANSIBLE_LOCALHOST_WARNING": "0",
        "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1",
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.minimal",
        "ANSIBLE_REMOTE_TEMP": str(folder / "remote"),
        "STOWAGE_ROOT": str(folder / "root"),
        "STOWAGE_RUN_ROOT": str(folder / "run"),
    }
    python = f"ansible_python_interpreter={SYSTEM_PYTHON}"
    words = [ansible, "localhost", "-c", "local", "-m", f"stowage.engine.{module}", "-a", arguments, "-e", python]
    done = run(*words, "--check", **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    [wrapper] = (folder / "remote").glob(f"*/AnsiballZ_{module}.py")
    return json.loads(done.stdout.partition("=>")[2]), zip_of(wrapper, folder)


def zip_of(wrapper: Path, folder: Path) -> Path:
    """The zip that a module's file brings along."""
    [content] = re.findall(r"[A-Za-z0-9+/=]{1000,}", wrapper.read_text(encoding="utf-8"))
    archive = folder / f"{wrapper.stem.partition('_')[2]}.zip"
    archive.write_bytes(base64.b64decode(content))
    return archive


@pytest.fixture(scope="module", name="pyz")
def _pyz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("engine") / "engine.pyz"
    path.write_bytes(build_engine(engine_files()))
    return path


@pytest.fixture(name="paths")
def _paths(tmp_path: Path) -> Paths:
    paths = Paths(str(tmp_path / "root"), str(tmp_path / "run"))
    os.makedirs(paths.engines)
    return paths


# The sources -----------------------------------------------------------------------------------------


def test_the_engine_is_all_of_its_sources() -> None:
    files = engine_files()
    assert files.pop("__main__.py")
    assert files == read_sources()


@pytest.mark.parametrize(
    ("module", "arguments"), [("host", "directory=/opt/bin"), ("container", "name=stowage-test state=absent")]
)
def test_ansible_ships_the_same_engine(module: str, arguments: str, tmp_path: Path) -> None:
    result, archive = run_ansible(module, arguments, tmp_path)
    shipped = {name.partition("/engine/plugins/module_utils/_")[2] for name in zipfile.ZipFile(archive).namelist()}
    assert shipped - {"", "_init__.py"} == {name.removeprefix("stowage_") for name in read_sources()}
    done = run(SYSTEM_PYTHON, "-ISE", "-c", PRINT_DIGEST, archive)
    assert done.stdout.strip() == engine_digest(engine_files()), done.stderr
    if module == "host":
        assert result["changes"][0]["after"]["digest"] == engine_digest(engine_files())
    assert {path.name for path in tmp_path.iterdir()} == {"home", "remote", archive.name}, "check mode wrote something"


def test_the_digest_is_of_names_and_contents() -> None:
    files = engine_files()
    digest = engine_digest(files)
    assert re.fullmatch("[0-9a-f]{16}", digest)
    assert digest == engine_digest(engine_files())
    assert digest != engine_digest({**files, "__main__.py": b""})
    name = next(iter(files))
    content = files.pop(name)
    assert digest != engine_digest({"x" + name: content, **files})


def test_the_same_sources_give_the_same_file() -> None:
    files = engine_files()
    first = build_engine(files)
    time.sleep(2.1)  # zip keeps times to two seconds
    assert build_engine(files) == first
    assert {entry.date_time for entry in zipfile.ZipFile(io.BytesIO(first)).infolist()} == {(1980, 1, 1, 0, 0, 0)}


# The engine as one file ------------------------------------------------------------------------------


def test_every_part_imports_without_site_packages(pyz: Path) -> None:
    done = run(SYSTEM_PYTHON, "-ISE", "-c", IMPORT_ALL, pyz)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_file_runs_as_a_command(pyz: Path, tmp_path: Path) -> None:
    done = run(SYSTEM_PYTHON, "-ISE", pyz, "stowage", "--help")
    assert done.returncode == 0, done.stderr
    assert "ps" in done.stdout
    command = tmp_path / "stowage"
    shutil.copy(pyz, command)
    command.chmod(0o755)
    assert run(command, "--help").stdout == done.stdout


def test_the_file_without_a_command_says_how(pyz: Path) -> None:
    done = run(SYSTEM_PYTHON, "-ISE", pyz)
    assert done.returncode == 2
    assert "usage:" in done.stderr


def test_make_engine_writes_the_same_bytes_a_host_gets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["install", str(tmp_path / "bin")]) == 0
    assert sorted(path.name for path in (tmp_path / "bin").iterdir()) == sorted(COMMANDS)
    assert {path.read_bytes() for path in (tmp_path / "bin").iterdir()} == {build_engine(engine_files())}
    assert all(os.access(path, os.X_OK) for path in (tmp_path / "bin").iterdir())
    assert capsys.readouterr().out.count("bytes\n") == len(COMMANDS)


# On a host -------------------------------------------------------------------------------------------


def whole(paths: Paths, digest: str) -> bool:
    """Whether the installed engine is complete: what it is unpacked has its digest, and so has the one file."""
    app = Path(paths.engines, digest, "app")
    unpacked = {str(file.relative_to(app)): file.read_bytes() for file in app.rglob("*.py")}
    with zipfile.ZipFile(Path(paths.engines, digest, "engine.pyz")) as archive:
        packed = {name: archive.read(name) for name in archive.namelist()}
    alone = {name: content for name, content in unpacked.items() if not name.startswith("stowage_ansible/")}
    return packed == alone and engine_digest(dict(sorted(unpacked.items()))) == digest


def test_an_installed_engine_is_whole_compiled_and_runs(paths: Paths) -> None:
    digest = install_engine(paths)
    assert os.listdir(paths.engines) == [digest]
    assert whole(paths, digest)
    app = Path(paths.engines, digest, "app")
    assert len(list(app.rglob("*.pyc"))) == len(list(app.rglob("*.py")))
    command = engine_command(paths, digest)
    assert command[1:] == ["-I", "-S", "-E", str(app / "__main__.py")]
    done = run(*command, "stowage", "--help")
    assert done.returncode == 0, done.stderr


def test_an_installed_engine_is_imported_from_its_pack(paths: Paths) -> None:
    """The sources are spoilt: whoever reads them fails. Without the pack, or with another Python's, they are read."""
    app = Path(paths.engines, install_engine(paths), "app")
    (pack,) = app.glob("*.pack")
    for source in (app / PACKAGE).rglob("*.py*"):
        source.unlink() if source.suffix == ".pyc" else source.write_text("raise RuntimeError('it was read')\n")
    command = [*engine_command(paths), "stowage-runtime"]
    assert json.loads(run(*command, "features").stdout)["ociVersionMax"]
    assert run(*command, "spec", "--bundle", "/nonexistent").stderr.startswith("stowage-runtime: ")
    pack.rename(app / "cpython-27.pack")
    assert "it was read" in run(*command, "features").stderr


def test_another_engine_stays_beside_it(paths: Paths) -> None:
    other = Path(paths.engines, "0123456789abcdef")
    other.mkdir()
    digest = install_engine(paths)
    assert {*os.listdir(paths.engines)} == {other.name, digest}


def test_leftovers_of_a_killed_run_are_replaced(paths: Paths) -> None:
    digest = engine_digest(engine_files())
    left = Path(paths.engines, f".{digest}.new", "app", "stowage_engine")
    left.mkdir(parents=True)
    (left / "stale.py").write_text("import nowhere")
    assert install_engine(paths) == digest
    assert os.listdir(paths.engines) == [digest]
    assert whole(paths, digest)


@pytest.mark.parametrize("seconds", [0, 0.01, 0.05, 0.1, 0.2, None], ids=lambda s: "by its name" if s is None else s)
def test_a_killed_installation_is_finished_by_the_next(paths: Paths, seconds: float | None) -> None:
    """Killed so long after it began, or as soon as the engine stands under its name."""
    digest = engine_digest(engine_files())
    child = os.fork()
    if child == 0:
        try:
            install_engine(paths)
        finally:
            os._exit(0)
    aside, target = Path(paths.engines, f".{digest}.new"), Path(paths.engines, digest)
    deadline = time.monotonic() + 30
    while not target.exists() and time.monotonic() < deadline and (seconds is None or not aside.exists()):
        time.sleep(0.0005)
    time.sleep(seconds or 0)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert not target.exists() or whole(paths, digest), "half an engine stands under its name"
    assert install_engine(paths) == digest
    assert whole(paths, digest)
    assert os.listdir(paths.engines) == [digest]


def test_commands_come_are_seen_and_go(paths: Paths, tmp_path: Path) -> None:
    directory = str(tmp_path / "bin")
    assert observe_engine(paths, directory) == {}
    apply_install(paths, directory)
    found = {"digest": engine_digest(engine_files()), "directory": directory}
    assert observe_engine(paths, directory) == found
    assert observe_engine(paths, str(tmp_path / "elsewhere")) == {}
    for command in COMMANDS:
        done = run(tmp_path / "bin" / command, "--help")
        assert done.returncode == 0, done.stderr
    apply_install(paths, directory)
    assert observe_engine(paths, directory) == found
    apply_uninstall(paths, directory)
    assert observe_engine(paths, directory) == {}
    assert os.listdir(directory) == []
    assert not os.path.exists(paths.engines)


def test_a_command_has_the_paths_of_its_host(paths: Paths, tmp_path: Path) -> None:
    apply_install(paths, str(tmp_path / "bin"))
    script = (tmp_path / "bin/stowage").read_text(encoding="utf-8")
    assert f'export STOWAGE_ROOT="${{STOWAGE_ROOT:-{paths.root}}}"' in script
    assert f'export STOWAGE_RUN_ROOT="${{STOWAGE_RUN_ROOT:-{paths.run_root}}}"' in script


@pytest.mark.parametrize("damage", ["command", "source", "archive", "record"])
def test_damage_by_hand_is_seen_and_repaired(paths: Paths, tmp_path: Path, damage: str) -> None:
    directory = tmp_path / "bin"
    apply_install(paths, str(directory))
    before = observe_engine(paths, str(directory))
    engine = Path(paths.engines, before["digest"])
    if damage == "command":
        (directory / "stowage").write_text("#!/bin/sh\n")
    elif damage == "source":
        (engine / "app/stowage_engine/host.py").write_text("")
    elif damage == "archive":
        (engine / "engine.pyz").unlink()
    else:
        Path(paths.engines, "installed.json").unlink()
    assert observe_engine(paths, str(directory)) == {}
    apply_install(paths, str(directory))
    assert observe_engine(paths, str(directory)) == before
    assert whole(paths, before["digest"])


# Importing the installed engine ------------------------------------------------------------------------

PRINT_ORIGIN = """
import sys
sys.path.insert(0, sys.argv[1])
from ansible_collections.stowage.engine.plugins.module_utils._ansible import sources
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan import network
print(network.__file__)
"""


def origin(archive: Path, paths: Paths) -> str:
    """Where a process that Ansible's zip is the source of imports the engine from."""
    done = run(SYSTEM_PYTHON, "-IS", "-c", PRINT_ORIGIN, archive, **paths.environment())
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_same_engine_is_imported_from_where_it_is_installed(paths: Paths, tmp_path: Path) -> None:
    _result, archive = run_ansible("container", "name=stowage-test state=absent", tmp_path)
    assert origin(archive, paths).startswith(str(archive))
    app = Path(paths.engines, install_engine(paths), "app")
    assert origin(archive, paths).startswith(str(app))
    source = app / PACKAGE / "plan/network.py"
    source.write_bytes(source.read_bytes()[:-1])
    assert origin(archive, paths).startswith(str(archive)), "a damaged copy was imported"
    source.unlink()
    assert origin(archive, paths).startswith(str(archive)), "a copy that lacks a file was imported"
