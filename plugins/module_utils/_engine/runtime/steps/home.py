# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a process is given of the container's own files: HOME, and a directory to start in."""

from __future__ import annotations

from ..users import resolve_user
from .execution import Environment
from .operations import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ...linux.openat2 import Root


class FindHome(Operation):
    """HOME where the environment lacks it or has it empty, by the container's /etc/passwd; as runc, for all users."""

    def __init__(self, root: Root, process: Mapping[str, Any]) -> None:
        self.root = root
        self.process = process

    def __str__(self) -> str:
        return "find the home of the user"

    def execute(self) -> None:
        env = self.process.get("env") or []
        if not Environment(env).variables.get("HOME") and isinstance(self.process, dict):
            uid = (self.process.get("user") or {}).get("uid", 0)
            self.process["env"] = [*env, "HOME=" + resolve_user(str(uid), self.root).home]


class MakeWorkingDirectory(Operation):
    """The directory that the process starts in, where the image lacks it."""

    def __init__(self, root: Root, process: Mapping[str, Any]) -> None:
        self.root = root
        self.process = process

    def __str__(self) -> str:
        return f"make the working directory {self.process['cwd']}"

    def execute(self) -> None:
        try:
            self.root.make_directories(self.process["cwd"])
        except OSError:
            return  # ChangeDirectory tells what is wrong with it.
