# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runtimes that are held against the specification, each by its command line."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.mount import MS_PRIVATE, MS_REC, mount
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.namespaces import CLONE_NEWNS, unshare

MODULE_UTILS = Path(__file__).parents[2] / "plugins/module_utils"
MAIN = "import sys\nfrom _engine.cli.main import main\nsys.exit(main(sys.argv))\n"
UNIFIED = Path("/sys/fs/cgroup/unified")
NAMES = ("native", "runc", "crun")


@dataclass(frozen=True)
class Program:
    """``oci_version`` is the one that test bundles have, where a test does not say otherwise."""

    name: str
    command: str
    version: str
    oci_version: str


def find_program(name: str, directory: Path) -> Program:
    """One of NAMES; native is installed in ``directory`` as hosts have it. FileNotFoundError where it is not there."""
    if name == "native":
        command = install_native(directory)
    else:
        found = shutil.which(name)
        if found is None:
            raise FileNotFoundError(f"{name} is not installed")
        command = found
    told = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout
    # crun 1.8.1 refuses bundles of 1.1 and later, in which much of what it does was written down first.
    version = told.split()[2].rstrip(",")
    old = name == "crun" and tuple(map(int, version.split(".")[:2])) < (1, 9)
    return Program(name, command, version, "1.0.2" if old else "1.3.0")


def install_native(directory: Path) -> str:
    """The engine's files, compiled, and a `stowage-runtime` that runs them."""
    app = directory / "engine"
    shutil.copytree(MODULE_UTILS / "_engine", app / "_engine", ignore=shutil.ignore_patterns("__pycache__"))
    (app / "__main__.py").write_text(MAIN)
    subprocess.run(["/usr/bin/python3", "-m", "compileall", "-q", app], check=True)
    command = directory / "stowage-runtime"
    command.write_text(f'#!/bin/sh\nexec /usr/bin/python3 -I -S -E {app} stowage-runtime "$@"\n')
    command.chmod(0o755)
    return str(command)


def own_mounts() -> None:
    """Put this process in a mount namespace of its own: what runtimes leave mounted there ends with it."""
    unshare(CLONE_NEWNS)
    mount("none", "/", flags=MS_PRIVATE | MS_REC)


def hide_unified() -> None:
    """Put this process in a mount namespace without the v2 tree of a hybrid host, which crun refuses to work on.

    A tmpfs is in its place, because crun makes directories there as if it were a hierarchy of v1.
    """
    if UNIFIED.is_mount():
        own_mounts()
        mount("tmpfs", str(UNIFIED), "tmpfs")
