# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images on every Python that a host may have: all of the engine, and `stowage` as one file with that Python alone.

Those of a version manager are looked for in its own place (pyenv), others on the way.
"""

from __future__ import annotations

import functools
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import ansible
import pytest

from ansible_collections.stowage.engine.plugins.module_utils._ansible import install
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.observe import observe_images
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.cgroupfs import remove_tree
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths

from .conftest import Registry, layer_of, member
from .test_windows import push, zstd

pytestmark = pytest.mark.root

COLLECTIONS = Path(install.__file__).parents[6]  # where the link to this collection is
VERSIONS = [f"3.{minor}" for minor in range(9, 15)]
# What a host takes besides, where modules are run: Ansible's own part, of which no more than that is shown.
IMPORT_ALL = """
import importlib, pkgutil, sys
sys.path[:0] = sys.argv[1:]
parts = [f"ansible_collections.stowage.engine.plugins.module_utils.{part}" for part in ("_engine", "_ansible")]
names = []
for part in parts:
    found = importlib.import_module(part)
    names += [module.name for module in pkgutil.walk_packages(found.__path__, part + ".")]
for name in names:
    importlib.import_module(name)
print(len(names))
"""
CONTAINERFILE = """\
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "sh", "-c", "busybox id -u > /id; busybox mkdir -p /d/e; busybox ln -s e /d/l"]
"""


@functools.cache
def find_python(version: str) -> str:
    """A Python of that version, by its real path; empty where there is none."""
    manager = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    paths = [*sorted(manager.glob(f"{version}.*/bin/python3")), shutil.which(f"python{version}"), "/usr/bin/python3"]
    for path in filter(None, paths):
        told = "import sys; print('%d.%d' % sys.version_info[:2], sys.executable)"
        done = subprocess.run([path, "-I", "-S", "-c", told], check=False, capture_output=True, text=True, timeout=30)
        if done.returncode == 0 and done.stdout.split()[0] == version:
            return done.stdout.split()[1]
    return ""


@pytest.fixture(params=VERSIONS)
def python(request: pytest.FixtureRequest) -> str:
    found = find_python(request.param)
    if not found:
        pytest.skip(f"no Python {request.param} is on this machine")
    return found


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`make engine`: the bytes that a host gets."""
    directory = tmp_path_factory.mktemp("engine")
    assert install.main(["install", str(directory)]) == 0
    return directory / "stowage"


def test_some_older_than_ours_and_some_later_are_tried() -> None:
    """A machine without any would try nothing, and nobody would know."""
    if not (Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions").is_dir():
        pytest.skip("this machine has no Pythons but its own")
    assert find_python("3.9") and find_python("3.13")


def test_everything_can_be_imported(python: str, tmp_path: Path) -> None:
    (tmp_path / "ansible").symlink_to(Path(ansible.__file__).parent)
    argv = [python, "-I", "-S", "-c", IMPORT_ALL, str(tmp_path), str(COLLECTIONS)]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 300


class Prompt:
    """`stowage` by one Python, on roots of its own."""

    def __init__(self, python: str, command: Path, directory: Path) -> None:
        self.paths = Paths(str(directory / "lib"), str(directory / "run"))
        self._words = [python, "-I", "-S", "-E", str(command)]
        self._environment = {"PATH": os.environ["PATH"], "HOME": str(directory), **self.paths.environment()}

    def __call__(self, *words: str) -> str:
        done = subprocess.run(
            [*self._words, *words], check=False, capture_output=True, text=True, timeout=60, env=self._environment
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr and "Warning" not in done.stderr, done.stderr
        return done.stdout


@pytest.fixture
def stowage(python: str, command: Path, tmp_path: Path) -> Iterator[Prompt]:
    prompt = Prompt(python, command, tmp_path)
    yield prompt
    for tree in Path("/sys/fs/cgroup").glob(f"*/{prompt.paths.instance}"):
        remove_tree(str(tree))


def test_images_are_built_pushed_pulled_saved_and_loaded(stowage: Prompt, registry: Registry, tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    shutil.copy("/bin/busybox", context / "busybox")
    (context / "Containerfile").write_text(CONTAINERFILE)
    name = f"{registry.host}/python/{os.path.basename(tmp_path).lower().replace('_', '-')}:1"
    stowage("build", "-t", name, str(context))
    stowage("push", "--insecure", name)
    stowage("save", "-o", str(tmp_path / "docker.tar.gz"), "--format", "docker-archive", "--gzip", name)
    stowage("save", "-o", str(tmp_path / "oci.tar"), name)
    stowage("rmi", name)
    for bring in (
        ("pull", "--insecure", name),
        ("load", "-i", str(tmp_path / "docker.tar.gz")),
        ("load", "-i", str(tmp_path / "oci.tar")),
    ):
        stowage(*bring)
        assert observe_images(stowage.paths)[name].missing == ()
        found = [path.read_text() for path in Path(stowage.paths.layers).glob("*/id")]
        assert found == ["0\n"]
        stowage("rmi", name)


def test_a_layer_in_zstd_comes_by_the_program(stowage: Prompt, registry: Registry, tmp_path: Path) -> None:
    name = push(registry, tmp_path, [layer_of(member("a"), content=random.randbytes(300_000))], zstd)
    stowage("pull", "--insecure", name)
    stowage("fsck")


@pytest.mark.parametrize("version", ["3.7", "3.8"])
def test_what_is_too_old_is_told_so(version: str, command: Path) -> None:
    found = find_python(version)
    if not found:
        pytest.skip(f"no Python {version} is on this machine")
    done = subprocess.run([found, str(command), "images"], check=False, capture_output=True, text=True, timeout=30)
    assert done.returncode != 0
    said = f"ImportError: Stowage needs Python 3.9 or later on the host, and {found} is {version}."
    assert said in done.stderr.splitlines()[-1]
    module = "ansible_collections.stowage.engine.plugins.module_utils._ansible.nouns.image"
    script = f"import sys; sys.path.insert(0, {str(COLLECTIONS)!r}); import {module}"
    done = subprocess.run([found, "-c", script], check=False, capture_output=True, text=True, timeout=30)
    assert said in done.stderr.splitlines()[-1], "modules say the same"


def test_this_very_python_is_among_them() -> None:
    assert f"{sys.version_info[0]}.{sys.version_info[1]}" in VERSIONS
