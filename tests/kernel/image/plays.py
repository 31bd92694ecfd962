# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real runs of ansible-playbook, whose only host is this one, with a store of images of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths

ROOT = Path(__file__).parents[3]


class Play:
    """Runs tasks, and returns what ansible-playbook exits with and says. ``user`` owns the directory, if not root."""

    def __init__(self, directory: Path, paths: Paths, *, user: int = 0, python: str = "/usr/bin/python3") -> None:
        self._directory = directory
        self._user = user
        # A value of -e would be split where it has a space.
        (directory / "variables.yml").write_text(
            yaml.safe_dump({"ansible_connection": "local", "ansible_python_interpreter": python})
        )
        self._environment = {
            **os.environ,
            **paths.environment(),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "build/collections"),
            "ANSIBLE_HOME": str(directory / "ansible"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_REMOTE_TMP": str(directory / "ansible/tmp"),
            "COLUMNS": "10000",
            "HOME": str(directory),
        }

    def __call__(self, tasks: list[dict[str, Any]], *arguments: str) -> tuple[int, str]:
        path = self._directory / "play.yml"
        path.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
        argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,"]
        done = subprocess.run(
            [*argv, "-e", f"@{self._directory}/variables.yml", str(path), *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=100,
            env=self._environment,
            cwd=self._directory,
            user=self._user,
            group=self._user,
            extra_groups=[] if self._user else None,
        )
        return done.returncode, done.stdout + done.stderr
